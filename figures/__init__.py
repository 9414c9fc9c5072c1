"""Learning curves, score tables and one report, drawn from results files alone. Trains nothing, imports no learner."""

LEVEL = 0.95
"""Level of all confidence and bootstrap intervals."""
HEADLINE = "headline"
"""Instead of a policy: the one by which an algorithm is judged (figures/analysis/policies.py)."""
