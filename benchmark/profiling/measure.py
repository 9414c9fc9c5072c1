"""Time and memory of one gradient step, for one algorithm and one number of agents.

    python -m benchmark.profiling.measure --algorithm ip --agents 15 --batch 1024 --device cpu

The result is printed as one line of JSON. Every measurement needs a new process, because memory left to the allocator
by an earlier one would hide the peak of the next. `benchmark.profiling.cost` makes a table of them.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from benchmark.config import OF_UPDATES
from benchmark.console import first_line
from benchmark.errors import report_errors
from results.arguments import Parser, within

WARM_UPS, TIMED = 1, 3
"""Numbers of untimed and timed updates; large ones take a minute each."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one gradient step, or the reason why it was not measured."""

    batch: int
    """Transitions in the batch."""
    seconds: float | None = None
    """Median time of an update."""
    bytes: int | None = None
    """Peak memory of batch, gradients, activations and optimiser state in bytes, without the networks themselves."""
    note: str = ""
    """Reason why there are no numbers."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of `python -m benchmark.profiling.measure`."""
    parser = Parser(prog="python -m benchmark.profiling.measure", description=first_line(__doc__))
    parser.add_argument("--algorithm", required=True)
    shape = parser.add_mutually_exclusive_group(required=True)
    shape.add_argument("--agents", type=within(2), default=0)
    shape.add_argument("--task", default="", help="a name, or the path of a CityFlow configuration")
    parser.add_argument("--batch", type=within(1), required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--acceleration", choices=OF_UPDATES, default="none")
    options = parser.parse_args(arguments)
    from benchmark.profiling.update_cost import measure

    cost = measure(options.algorithm, options.agents, options.batch, options.device, options.acceleration, options.task)
    print(json.dumps(dataclasses.asdict(cost)))
    return 0


if __name__ == "__main__":
    raise SystemExit(report_errors(main))
