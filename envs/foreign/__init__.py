"""Third-party and user environments as tasks: any PettingZoo parallel environment with fixed agents and equal spaces.
See envs/YOUR_ENVIRONMENT.md."""
