"""Train the shipped prey: `python -m envs.mpe.train_prey` (under three minutes on one core); see `prey_training`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from envs.commands import Parser, run


def main() -> int:
    """Train both networks and write the weights file of the package."""
    parser = Parser(prog="python -m envs.mpe.train_prey", description="Train the shipped prey.")
    parser.add_argument("--output", type=Path, help="weights file to write; default: the package's file")
    parser.add_argument("--iterations", type=int, help="gradient steps; default: as for the shipped weights")
    options = parser.parse_args()
    if options.iterations is not None and options.iterations < 1:
        parser.error(f"--iterations {options.iterations}: expected a positive number of gradient steps")
    import numpy as np
    import torch

    from envs.mpe.prey import SHIPPED
    from envs.mpe.prey_training import BATCH, ITERATIONS, SEED, TASKS, save, train
    from envs.mpe.scenarios import scenario

    output, iterations = options.output or SHIPPED, options.iterations or ITERATIONS
    torch.set_num_threads(1)
    policies, notes = {}, []
    for name in TASKS:
        task, begin = scenario(name), time.perf_counter()
        policy, costs = train(task, iterations)
        policies[task.prey_observation_dim] = policy
        notes.append(f"{name}: cost {np.mean(costs[:5]):.3f} -> {np.mean(costs[-20:]):.3f}")
        print(f"{notes[-1]} in {time.perf_counter() - begin:.0f} s")
    how = f"envs.mpe.train_prey, {iterations} iterations of {BATCH} episodes, seed {SEED}; " + "; ".join(notes)
    save(policies, output, how)
    print(f"wrote {output}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
