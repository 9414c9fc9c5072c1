"""Comparison of two result sets, such as those of two versions of the code: did any score get worse?

    python -m figures.compare A B [--policy headline] [--level 0.95] [--output FILE.csv] [--fail-on-regression]

Runs are matched by task, variant and algorithm. The difference is that of final scores, B minus A: a seed's mean over
its last 3 evaluations. Where both sets have the same seeds, scores are paired, since a seed determines the initial
weights and the episodes; otherwise the interval is Welch's. Only finished runs count.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from figures import HEADLINE, LEVEL
from results.arguments import Parser
from results.commands import report_errors
from results.errors import ResultsError, UserError
from results.records import POLICIES


class _Parser(Parser):
    """Argument parser that exits with 1 for invalid options, since 2 is reserved for regressions."""

    def error(self, message: str) -> NoReturn:
        try:
            super().error(message)
        except UserError as error:
            self.exit(1, f"error: {error}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: returns 0 when the comparison was made, 1 with one line on standard error otherwise, and 2 with
    `--fail-on-regression` where a score got worse after correction for the number of comparisons."""
    options = _parse(arguments)
    from figures.differences import compare, report_frame, report_text  # imported late, so that help is quick
    from results.files import write_output
    from results.load import load_results

    try:
        if not 0 < options.level < 1:
            raise ResultsError(f"--level is {options.level:g}: expected a number between 0 and 1, such as 0.95")
        a, b = load_results(options.a), load_results(options.b)
        report = compare(a, b, options.policy, options.level, options.ignore)
        if options.output is not None:
            write_output(options.output, report_frame(report).to_csv(index=False, lineterminator="\n"))
        print(report_text(report), end="")
        if options.fail_on_regression and not report.compared:
            raise ResultsError("nothing was compared, so a regression cannot be ruled out; the table says why")
    except (UserError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 2 if options.fail_on_regression and report.regressions else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m figures.compare", description="Compare the final scores of two result sets.")
    kinds = "a published set, a folder of such, or of run folders"
    parser.add_argument("a", type=Path, metavar="A", help=f"the results to compare with: {kinds}")
    parser.add_argument("b", type=Path, metavar="B", help="the results in question, of any of these kinds")
    parser.add_argument(
        "--policy",
        choices=(HEADLINE, *POLICIES),
        default=HEADLINE,
        help="headline: sampled for algorithms that learn a stochastic policy, greedy for others; default: %(default)s",
    )
    parser.add_argument("--level", type=float, default=LEVEL, help="level of the intervals; default: %(default)s")
    parser.add_argument(
        "--ignore",
        nargs="+",
        default=(),
        metavar="KEY",
        help="settings that may differ, in dotted form: training.threads; unequal total_steps are never compared",
    )
    parser.add_argument("--output", type=Path, metavar="FILE.csv", help="also write plain numbers to this file")
    parser.add_argument(
        "--fail-on-regression", action="store_true", help="exit with 2 where a score is worse after Holm's correction"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(report_errors(main))
