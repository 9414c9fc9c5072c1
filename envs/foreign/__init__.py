"""Environments of other packages, and of your own, as tasks: any PettingZoo parallel environment with fixed agents and
equal spaces. See envs/YOUR_ENVIRONMENT.md."""
