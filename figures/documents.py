"""Tables and findings of the documents, made from the published results: `python -m figures.documents [--check]`.

A generated part of a document stands between `<!-- NAME -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.errors import ResultsError
from results.files import write_output

if TYPE_CHECKING:
    from figures.analysis import Analysis

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "results" / "published"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a document."""

    file: str
    """Path relative to the root of the project."""
    name: str
    """Name in its marks; empty for a whole file."""
    text: Callable[[Analysis], str]


def parts() -> tuple[Part, ...]:
    """Every generated part."""
    from figures.paper import ablations  # here, so that help is quick
    from figures.report import findings, proof, transfer

    return (
        Part("algorithms/README.md", "proof table", proof.markdown),
        Part("algorithms/README.md", "ablations", lambda analysis: ablations.table(analysis).markdown()),
        Part("algorithms/README.md", "transfer", lambda analysis: transfer.sizes_table(analysis).markdown()),
        Part("algorithms/README.md", "lost messages", lambda analysis: transfer.losses_table(analysis).markdown()),
        Part("README.md", "findings", findings.summary),
        Part("results/FINDINGS.md", "", findings.page),
    )


def documents(analysis: Analysis, root: Path = ROOT) -> dict[Path, str]:
    """Every document that has a generated part, as it should be. Raises ResultsError where one lacks its marks."""
    found: dict[Path, str] = {}
    for part in parts():
        path = root / part.file
        text = part.text(analysis).strip() + "\n"
        if part.name:
            text = _replaced(path, found.get(path) or path.read_text(encoding="utf-8"), part.name, text)
        found[path] = text
    return found


def _replaced(path: Path, document: str, name: str, text: str) -> str:
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, mark, rest = document.partition(start)
    _, last, after = rest.partition(end)
    if not mark or not last:
        raise ResultsError(f"{path} has no part between {start.strip()} and {end}: put both lines where it belongs")
    return f"{before}{start}{text}{end}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 where every document is as it should be or was written, 1 where `--check` finds one that is not
    or something cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m figures.documents", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, and exit with 1 where something differs")
    options = parser.parse_args(arguments)
    from figures.analysis import Analysis
    from results.load import load_results

    try:
        made = documents(Analysis(load_results(PUBLISHED)))
        stale = {
            path: text for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text
        }
        for path, text in stale.items():
            if not options.check:
                write_output(path, text)
            print(f"{'differs from the results:' if options.check else 'wrote'} {path.relative_to(ROOT)}")
    except (OSError, ResultsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
