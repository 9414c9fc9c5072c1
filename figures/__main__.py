"""Draw every figure and table, and the report: `python -m figures [--results DIR] [--output DIR]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import results
from figures import PAPER, STATISTICS
from results.errors import UserError

NAMES = PAPER + STATISTICS
PUBLISHED = Path(results.__file__).parent / "published"
"""The published sets, which come with the project."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 when everything was written, 1 with one line on standard error otherwise."""
    options = _parse(arguments)
    from figures.all_figures import draw_all, draw_some
    from figures.drawing import Content
    from results.load import load_results

    content = Content()
    try:
        found = load_results(options.results)
        written = draw_some(found, options.output, content, options.only) if options.only else None
        for path in written or draw_all(found, options.output, content):
            print(f"wrote {path}", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for heading in content.absent:
        print(f"nothing to draw for {heading}")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m figures", description="Draw learning curves, score tables and one HTML report from results."
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=PUBLISHED,
        metavar="DIR",
        help="a published set (a folder with manifest.json), a folder of such, or of run folders; default: %(default)s",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("figures/output"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=NAMES,
        metavar="NAME",
        help=f"draw nothing but these, without the report: {', '.join(NAMES)}",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
