"""Cities that are made: grids with their vehicles, and Manhattan's 96 signals from its street network."""
