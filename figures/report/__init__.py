"""The report, with its contents beyond the paper: ranks, comparisons, all learning curves, cost, all runs."""
