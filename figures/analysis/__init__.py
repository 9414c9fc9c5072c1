"""Facts: scores, ranks, comparisons, interpretation and statistics, computed once here and drawn elsewhere."""

from figures.analysis.analysis import Analysis

__all__ = ["Analysis"]
