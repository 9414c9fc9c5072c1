"""Comparison of the built-in engines with magent2: `python -m envs.jungle.verify --episodes 2000`.

Both engines play the same episodes. After every reset and every step, positions, rewards and observations (float32) and
nearest neighbours must be equal, and so must the scores at the end of every episode: exactly, without tolerance.

The play is designed to exercise the rules. In every episode a random share of the agents heads for food and eats,
another attacks the nearest agent, a third pursues a single agent, and the rest act at random. Every fourth batch of
episodes starts with all units in a tight cluster. Collisions, attacks and other events on which the order of a step
depends are counted, because a comparison proves only as much as happened in it.

Exit code: 0 if everything agrees, 1 if something differs, 2 for wrong usage or if magent2 is not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from envs.commands import Parser, run
from envs.errors import EnvironmentNotAvailableError
from envs.jungle.rules import EPISODE_LENGTH, LARGEST, SMALLEST, exists


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = Parser(prog="python -m envs.jungle.verify", description="Compare Jungle with magent2.")
    parser.add_argument("--task", default="magent/jungle_20", help="magent/jungle_N (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=2000, help="episodes to play (default: %(default)s)")
    parser.add_argument("--episode-length", type=int, default=EPISODE_LENGTH, help="its steps (default: %(default)s)")
    parser.add_argument("--backend", choices=("numba", "torch"), default="numba", help="the engine to compare")
    parser.add_argument("--seed", type=int, default=0, help="of initial cells and actions (default: %(default)s)")
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
    sys.exit(run(main))
