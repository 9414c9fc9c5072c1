"""Draw all figures and tables, and the report: `python -m figures [--results DIR] [--output DIR]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import results
from results.arguments import Parser
from results.commands import report_errors
from results.errors import UserError

PUBLISHED = Path(results.__file__).parent / "published"
"""The published sets, which are part of the project."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 when everything was written, 1 with one line on standard error otherwise."""
    options = _parse(arguments)
    from figures.all_figures import draw_all, draw_some  # imported late, so that help is quick
    from figures.analysis import Analysis
    from results.load import load_results

    try:
        analysis = Analysis(load_results(options.results))
        lines = (
            draw_some(analysis, options.output, options.only) if options.only else draw_all(analysis, options.output)
        )
        for line in lines:
            print(line, flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
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
        metavar="NAME",
        help="draw only these figures and tables, without the report: figure_6 ranks ... (figures/registry.py)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(report_errors(main))
