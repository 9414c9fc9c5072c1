"""Building blocks shared by the algorithms: settings of Table 2, networks, aggregation, exploration, the learner."""
