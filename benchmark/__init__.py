"""The shared runner: tasks, suites, one training loop, evaluation, run folders, sweeps."""
