"""Replay recorded traces of the published environments: `python -m envs.verify PATH ...`.

A path is a file `TASK.npz` of a particle task (`envs.mpe.verify` documents the comparison and its tolerances) or the
folder of a case of the traffic engine (`envs.traffic.recordings.verify`). Jungle is compared with magent2 itself:
`envs.jungle.verify`.

Exit code: 0 if all agree, 1 if something differs or a file is damaged, 2 for wrong usage.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from envs.commands import Parser, run
from envs.errors import TraceError
from envs.mpe.settings import Backend


def check(path: Path, backends: Iterable[Backend] = ("numba", "torch")) -> tuple[list[str], list[str]]:
    """The report on a path, and its differences. Raises TraceError if nothing can be compared."""
    if not path.exists():
        raise TraceError(f"{path}: no such file or folder")
    if path.is_dir():
        from envs.traffic.recordings.traces import load_case
        from envs.traffic.recordings.verify import verify as verify_traffic

        comparison = verify_traffic(load_case(path))
        return [f"{path}: {comparison}"], comparison.failures
    from envs.mpe.traces import load_trace
    from envs.mpe.verify import verify as verify_particles

    results = verify_particles(load_trace(path), backends)
    lines = [f"{path}: largest errors", *(f"  {result}" for result in results)]
    return lines, [failure for result in results for failure in result.failures]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = Parser(prog="python -m envs.verify", description="Replay recorded traces.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a .npz file, or a traffic case's folder")
    parser.add_argument("--backend", choices=("both", "numba", "torch"), default="both", help="of particle tasks")
    parser.add_argument("--quiet", action="store_true", help="print only what differs and the summary")
    options = parser.parse_args(arguments)
    backends = cast("tuple[Backend, ...]", ("numba", "torch") if options.backend == "both" else (options.backend,))
    bad = 0
    for path in options.paths:
        try:
            lines, failures = check(path, backends)
        except TraceError as error:
            print(error, file=sys.stderr)
            bad += 1
            continue
        bad += bool(failures)
        if not options.quiet:
            print(*lines, sep="\n", flush=True)
        for failure in failures:
            print(f"{path}: {failure}", file=sys.stderr)
    print(f"{len(options.paths) - bad} of {len(options.paths)} files agree")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(run(main))
