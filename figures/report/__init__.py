"""The report and what it shows beyond the paper: ranks, comparisons, curves of everything, cost, every run."""
