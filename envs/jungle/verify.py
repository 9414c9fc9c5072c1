"""Equal episodes on one of the engines here and on magent2: `python -m envs.jungle.verify --episodes 2000`.

After every reset and every step, where agents are, what they are paid and see (float32), and who is nearest to them
must be equal on both, and at the end of every episode the scores: exactly, without any tolerance.

The play is made so that much happens. In every episode a share of the agents, drawn anew, heads for food and eats,
another hits whoever is nearest, a third is after one and the same agent, and the rest acts at random. Every fourth
batch of episodes starts with all units in a tight cluster. How often agents stood in each other's way, hit each other,
and so on, is counted: a comparison is worth as much as happened in it.

Exit code: 0 if all agree, 1 if something differs, 2 for wrong usage or if magent2 is not there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from envs.errors import EnvironmentNotAvailableError
from envs.jungle.rules import EPISODE_LENGTH, LARGEST, SMALLEST, exists


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m envs.jungle.verify", description="Compare Jungle with magent2.")
    parser.add_argument("--task", default="magent/jungle_20", help="magent/jungle_N (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=2000, help="how many to play (default: %(default)s)")
    parser.add_argument("--episode-length", type=int, default=EPISODE_LENGTH, help="steps (default: %(default)s)")
    parser.add_argument("--backend", choices=("numba", "torch"), default="numba", help="the engine to compare")
    parser.add_argument("--seed", type=int, default=0, help="of starts and play (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not exists(options.task):
        parser.error(f"--task: there is no {options.task!r}; expected magent/jungle_N, N from {SMALLEST} to {LARGEST}")
    for name in ("episodes", "episode_length"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: must be at least 1, not {getattr(options, name)}")
    if not 0 <= options.seed < 2**62:
        parser.error(f"--seed: must be between 0 and 2^62 - 1, not {options.seed}")
    from envs.jungle.comparison import verify

    try:
        result = verify(options.task, options.episodes, options.seed, options.backend, options.episode_length)
    except (EnvironmentNotAvailableError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(result)
    for failure in result.failures:
        print(failure, file=sys.stderr)
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
