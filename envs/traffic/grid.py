"""Command that writes a synthetic city (`envs.traffic.synthetic.grid`).

`python -m envs.traffic.grid --rows 7 --columns 7 --output DIR` writes roadnet.json, flow.json and config.json, which
CityFlow can read as well. Equal arguments give equal roads and vehicles on every machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from envs.commands import run
from envs.errors import TrafficFileError
from envs.traffic.synthetic.grid import write_grid
from envs.traffic.synthetic.trips import GridFlow


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (python -m envs.traffic.grid --help explains all options)")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    default = GridFlow()
    parser = _Parser(prog="python -m envs.traffic.grid", description="Write a synthetic city.")
    parser.add_argument("--rows", type=int, required=True, metavar="N", help="intersections from south to north")
    parser.add_argument("--columns", type=int, required=True, metavar="N", help="intersections from west to east")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the three files")
    parser.add_argument("--road-length", type=float, default=300.0, metavar="METRES", help="300")
    parser.add_argument(
        "--rate", type=float, default=default.rate, metavar="N", help="vehicles/hour on each road in; %(default)g"
    )
    parser.add_argument("--amplitude", type=float, default=default.amplitude, help="of the rate; %(default)g")
    parser.add_argument("--left", type=float, default=default.left, help="share of left turns; %(default)g")
    parser.add_argument("--right", type=float, default=default.right, help="share of right turns; %(default)g")
    parser.add_argument(
        "--horizon", type=int, default=default.horizon, metavar="SECONDS", help="while vehicles enter; %(default)d"
    )
    parser.add_argument("--seed", type=int, default=default.seed, metavar="N", help="seed of the vehicles; %(default)d")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 after one line on stderr that says what is wrong."""
    try:
        options = _parse(arguments)
        flow = GridFlow(
            rate=options.rate,
            amplitude=options.amplitude,
            left=options.left,
            right=options.right,
            horizon=options.horizon,
            seed=options.seed,
        )
        config = write_grid(options.output, options.rows, options.columns, flow, options.road_length)
    except (ValueError, TrafficFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {config} and the roads and vehicles of {options.rows} x {options.columns} intersections")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
