"""Generated tables, findings and the figure of the documents, from published results: `python -m figures.documents`.

A generated part of a document stands between `<!-- NAME -->` and `<!-- end of NAME -->`. The PNG of the figure also
holds its numbers as text, so that machines that render text differently can tell whether it is up to date.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.arguments import Parser
from results.commands import report_errors
from results.errors import ResultsError, UserError
from results.files import write_output

if TYPE_CHECKING:
    from figures.analysis import Analysis
    from figures.report.findings import Topic

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "results" / "published"
PICTURE = Path("docs") / "results.png"
"""Path of the README's figure from the root of the project: the comparison over all tasks."""
NUMBERS = "Description"
"""Keyword of the PNG text that holds the numbers of a figure."""
DOTS = 120
"""Resolution of the figure in dots per inch."""
MOST_DIFFERENCE = 2.0
"""Largest mean difference (0 to 255) of two pictures of the same numbers, since machines render text differently."""


@dataclass(frozen=True, slots=True)
class Part:
    """A generated part of a document."""

    file: str
    """Path of the document from the root of the project."""
    name: str
    """Name in the markers around the part; empty for a whole file."""
    text: Callable[[Analysis], str]


def parts() -> tuple[Part, ...]:
    """All generated parts."""
    from figures.pages import jungle, learning, traffic  # imported late, so that help is quick
    from figures.paper import ablations
    from figures.report import findings, proof, transfer

    return (
        Part("algorithms/README.md", "proof table", proof.markdown),
        Part("algorithms/README.md", "small navigation", learning.small_navigation),
        Part("algorithms/README.md", "pic program", learning.pic_program),
        Part("algorithms/README.md", "messages", learning.messages),
        Part("algorithms/README.md", "numbers of rounds", learning.numbers_of_rounds),
        Part("algorithms/README.md", "ablations", lambda analysis: ablations.table(analysis).markdown()),
        Part("algorithms/README.md", "rounds of critics", learning.critic_rounds),
        Part("algorithms/README.md", "temperatures", learning.temperatures),
        Part("algorithms/README.md", "critics of maddpg", learning.critic_targets),
        Part("algorithms/README.md", "copies in lockstep", learning.lockstep),
        Part("benchmark/POLICIES.md", "transfer", transfer.sizes_page),
        Part("benchmark/POLICIES.md", "lost messages", transfer.losses_page),
        Part("envs/jungle/README.md", "jungle table", jungle.learning),
        Part("envs/traffic/README.md", "protocols", traffic.protocols),
        Part("envs/traffic/README.md", "signals table", traffic.small_cities),
        Part("envs/traffic/README.md", "49 signals", traffic.forty_nine),
        Part("README.md", "findings", findings.summary),
        Part("README.md", "speed", findings.speed_summary),
        Part("results/FINDINGS.md", "", findings.page),
    )


def documents(analysis: Analysis, root: Path = ROOT) -> dict[Path, str]:
    """The up-to-date text of every document with a generated part. Raises ResultsError where one lacks its markers."""
    found: dict[Path, str] = {}
    for part in parts():
        path = root / part.file
        text = part.text(analysis).strip() + "\n"
        if part.name:
            text = _replaced(path, found.get(path) or path.read_text(encoding="utf-8"), part.name, text)
        found[path] = text
    return found


def picture(analysis: Analysis) -> bytes:
    """The figure as PNG. Raises ResultsError where the results have too few tasks to compare."""
    from figures.report import comparison, findings
    from figures.style import figure_style

    topic = findings.over_tasks(analysis)
    with figure_style():
        figure = comparison.draw(analysis)
        if figure is None or topic is None:
            raise ResultsError(f"{PICTURE}: the results have fewer than two tasks that every algorithm finished")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DOTS, metadata={"Software": None, NUMBERS: _numbers(topic)})
    return buffer.getvalue()


def _numbers(topic: Topic) -> str:
    """The numbers shown in the figure, as text."""
    return "\n".join([topic.short, *topic.lines])


def is_current(path: Path, made: bytes) -> bool:
    """Whether a picture shows the same numbers as a newly drawn one, and looks like it."""
    import numpy as np
    from PIL import Image

    if not path.exists():
        return False
    with Image.open(path) as old, Image.open(io.BytesIO(made)) as new:
        if old.size != new.size or old.info.get(NUMBERS) != new.info.get(NUMBERS):
            return False
        difference = np.asarray(old.convert("RGB"), np.float64) - np.asarray(new.convert("RGB"), np.float64)
    return bool(np.abs(difference).mean() < MOST_DIFFERENCE)


def _replaced(path: Path, document: str, name: str, text: str) -> str:
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, mark, rest = document.partition(start)
    _, last, after = rest.partition(end)
    if not mark or not last:
        raise ResultsError(f"{path} has no part between {start.strip()} and {end}: put both lines where it belongs")
    return f"{before}{start}{text}{end}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 where every document is up to date or was written, 1 where `--check` finds an outdated one or
    something cannot be read."""
    parser = Parser(prog="python -m figures.documents", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, and exit with 1 where something differs")
    options = parser.parse_args(arguments)
    from figures.analysis import Analysis
    from results.load import load_results

    try:
        analysis = Analysis(load_results(PUBLISHED))
        stale: dict[Path, str | bytes] = {
            path: text
            for path, text in documents(analysis).items()
            if not path.exists() or path.read_text(encoding="utf-8") != text
        }
        if not is_current(ROOT / PICTURE, drawn := picture(analysis)):
            stale[ROOT / PICTURE] = drawn
        for path, content in stale.items():
            if not options.check:
                write_output(path, content)
            print(f"{'differs from the results:' if options.check else 'wrote'} {path.relative_to(ROOT)}")
    except (OSError, UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(report_errors(main))
