"""Learning curves, score tables and one report, drawn from results files alone, without training or importing a
learner."""

from results.commands import end_quietly

LEVEL = 0.95
"""Level of all confidence and bootstrap intervals."""
HEADLINE = "headline"
"""Name that stands for the policy by which an algorithm is judged (figures/analysis/policies.py)."""

end_quietly()
