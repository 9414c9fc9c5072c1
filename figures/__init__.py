"""Learning curves, score tables and one report, drawn from results files alone. Trains nothing, imports no learner."""
