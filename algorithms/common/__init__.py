"""What several algorithms share: settings of Table 2, networks, graph aggregation, exploration, targets."""
