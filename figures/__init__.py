"""Learning curves, score tables and one report, drawn from results files alone. Trains nothing, imports no learner."""

PAPER = (
    "figure_3",
    "figure_4",
    "figure_5",
    "figure_6",
    "figure_7",
    "figure_8",
    "table_1",
    "table_2",
    "paper_values",
)
"""The paper's figures and tables, and what it says beside what was measured: each a module here, and a file written."""
STATISTICS = ("comparison", "ranks")
"""Statistics over tasks, likewise."""
LEVEL = 0.95
"""Of all intervals: how much of a bootstrap distribution they hold, or their confidence."""
