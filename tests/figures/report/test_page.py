"""The command line and the report: complete, self-contained, the same each time, and clear about what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from figures.__main__ import main
from figures.report.provenance import settings_of
from results.checks import group_runs
from results.errors import UserError
from results.publish import publish
from results.records import POLICIES
from results.runs import load_runs
from tests.figures.synthetic import TASK, rising, write_run, write_study

TABLES = {"scores.csv", "scores.md", "scores.html", "references.csv", "files.txt"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    write_study(root)
    return root


@pytest.fixture(scope="module")
def drawn(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("drawn")
    assert main(["--results", str(study), "--output", str(output)]) == 0
    return output


def test_everything_is_written_and_announced(
    study: Path, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--results", str(study), "--output", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    announced = {line.removeprefix("wrote ") for line in lines if line.startswith("wrote ")}
    assert announced == {str(path) for path in tmp_path.iterdir()}
    names = {path.name for path in tmp_path.iterdir()}
    assert TABLES | {"report.html", "curves-mpe.png"} <= names
    for path in tmp_path.iterdir():  # a second run, elsewhere: the same bytes
        assert path.read_bytes() == (drawn / path.name).read_bytes(), path.name


def test_named_figures_alone_are_drawn(
    study: Path, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["--only", "ranks", "table_2", "figure_3", "curves-mpe"]
    assert main(["--results", str(study), "--output", str(tmp_path), *wanted]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"ranks.md", "table_2.md", "curves-mpe.png"}
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (drawn / path.name).read_bytes()
    assert "nothing to draw for Figure 3" in capsys.readouterr().out
    assert main(["--results", str(study), "--output", str(tmp_path), "--only", "figure_9"]) == 1
    assert "figure_9: no such figure or table; there are ranks, " in capsys.readouterr().err


def test_what_is_drawn_no_longer_is_taken_away(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only files of an earlier call: other files remain, and drawing a few figures removes nothing."""
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["--results", str(study), "--output", str(tmp_path)]) == 0
    listing = tmp_path / "files.txt"
    listing.write_text(f"{listing.read_text()}old.png\n../outside.txt\n")
    (tmp_path / "old.png").write_text("old")
    (tmp_path.parent / "outside.txt").write_text("mine")
    assert main(["--results", str(study), "--output", str(tmp_path), "--only", "ranks"]) == 0
    assert (tmp_path / "old.png").exists()
    assert main(["--results", str(study), "--output", str(tmp_path)]) == 0
    assert f"removed {tmp_path / 'old.png'}, which is no longer drawn" in capsys.readouterr().out
    assert not (tmp_path / "old.png").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine" == (tmp_path.parent / "outside.txt").read_text()
    names = {path.name for path in tmp_path.iterdir()}
    assert set(listing.read_text().split()) == names - {"notes.txt"}


def test_published_results_draw_the_same_report(study: Path, drawn: Path, tmp_path: Path) -> None:
    publish(load_runs(study), tmp_path / "published")
    assert main(["--results", str(tmp_path / "published"), "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").read_bytes() == (drawn / "report.html").read_bytes()


def test_report_asks_for_nothing_from_outside(drawn: Path) -> None:
    text = re.sub(r"/\*!.*?\*/", "", (drawn / "report.html").read_text())  # without the library's own notice
    assert not re.search(r"https?://", text)
    assert set(re.findall(r'(?:src|srcset|href)="([a-z]+:|#|.)', text)) == {"#", "data:"}
    assert "url(" not in text
    assert not re.search(r"@import|<link|<iframe|fetch\(|XMLHttpRequest", text)


def test_report_links_lead_somewhere_and_names_are_given_once(drawn: Path) -> None:
    text = (drawn / "report.html").read_text()
    targets = set(re.findall(r'href="#([^"]+)"', text))
    names = re.findall(r' id="([^"]+)"', text)
    assert {"headline", "runs", "cost", "deviations", "coverage", f"runs-{TASK.replace('/', '-')}-default"} <= targets
    assert targets <= set(names)
    assert len(names) == len(set(names))


def test_chapters_come_in_the_order_of_interest(drawn: Path) -> None:
    text = (drawn / "report.html").read_text()
    expected = ["headline", "figures", "paper", "scores", "curves", "runs", "cost", "deviations", "coverage", "method"]
    assert [name for name in re.findall(r'<section id="([^"]+)"', text) if name in expected] == expected
    assert re.findall(r"<nav.*?</nav>", text, re.DOTALL)[0].count("<li>") == text.count("<section ")


def test_report_says_first_what_is_missing(drawn: Path) -> None:
    """The study has one task, which the paper does not have."""
    text = (drawn / "report.html").read_text()
    opening = text[text.index('<section id="headline"') : text.index('<section id="figures"')]
    assert "These results cover none of the paper\u2019s 13 tasks." in opening
    assert "Prey and predator, N = 100" in opening
    assert "No runs: MADDPG, MADDPGS, DGN." in opening


def test_report_lists_what_failed_stopped_or_is_missing(drawn: Path) -> None:
    text = (drawn / "report.html").read_text()
    assert "at step 500 of 4,000: loss is &lt;not&gt; finite" in text
    assert f"{TASK}/qmix/default" in text
    assert "no run of maddpg, maddpgs, dgn" in text
    assert "no run of qmix, maddpg, maddpgs, pic, dgn, iql" not in text  # a variant of one algorithm alone
    assert '<span class="failed">1 failed</span>' in text
    assert '<span class="unfinished">1 unfinished</span>' in text


def test_report_says_what_was_run(drawn: Path) -> None:
    text = (drawn / "report.html").read_text()
    assert "0123456789" in text
    assert "Example CPU" in text
    assert "secret-host-name" not in text


def test_every_run_is_in_the_block_of_its_task(study: Path, drawn: Path) -> None:
    text = (drawn / "report.html").read_text()
    chapter = text[text.index('<section id="runs"') : text.index('<section id="cost"')]
    blocks = chapter.split('<details class="block"')[1:]
    assert len(blocks) == 2  # the variants default and difference
    default = next(block for block in blocks if block.startswith(f' id="runs-{TASK.replace("/", "-")}-default"'))
    runs = [run for run in load_runs(study).runs if run.key.variant == "default"]
    assert len(runs) == 8
    assert all(default.count(f">{run.config_hash[:12]}</td>") == 1 for run in runs)
    table = default[: default.index("</table>")]
    assert table.count("<tr>") == 1 + len(runs)
    ip = runs[0]
    finals = {p: np.mean([np.mean(e.returns) for e in ip.evaluations if e.policy == p][-3:]) for p in POLICIES}
    for value in finals.values():
        assert f"{value:,.1f}".replace("-", "\u2212") in table
    assert "500 of 4,000" in table  # the run that failed
    assert "loss is &lt;not&gt; finite" in default
    assert '<th scope="row">algorithm_settings.learning_rate</th><td colspan="4">0.01</td>' in default
    assert "loss/q" in default
    assert "0.5" not in default[default.index("<summary>Settings") :]


def test_settings_that_differ_between_seeds_are_listed(tmp_path: Path) -> None:
    for seed, rate in ((0, 0.5), (1, 0.25), (2, 0.25)):
        write_run(tmp_path, {"greedy": rising(-1, 0, 4000, 1000)}, seed=seed, learning_rate=rate)
    write_run(tmp_path, {"greedy": rising(-1, 0, 4000, 1000)}, algorithm="iql", width=3)
    settings = settings_of(group_runs(load_runs(tmp_path))[TASK, "default"])
    rows = dict(settings.rows)
    assert settings.labels == ["IP", "IQL"]
    assert rows["algorithm_settings.learning_rate"] == ["0.5 (seed 0), 0.25 (seeds 1, 2)", "0.01"]
    assert rows["algorithm_settings.width"] == ["\u2013", "3"]
    assert rows["total_steps"] == ["4000"]


def test_no_runs_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--results", str(tmp_path / "nothing"), "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no runs found in ")
    assert "python -m benchmark.sweep --suite smoke --results" in error
    assert error.count("\n") == 1


def test_output_that_cannot_be_written_is_one_clear_line(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["--results", str(study), "--output", str(tmp_path / "file")]) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: cannot write .*scores\.csv: .*: choose another --output folder\n", error)


def test_corrupt_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "raw")
    path = tmp_path / "raw" / TASK / "ip" / "default" / "seed_0" / "metrics.jsonl"
    path.write_text("nonsense\n" + path.read_text())
    assert main(["--results", str(tmp_path / "raw"), "--output", str(tmp_path / "out")]) == 1
    assert "metrics.jsonl, line 1: is not JSON" in capsys.readouterr().err


def test_unknown_option_is_refused() -> None:
    with pytest.raises(UserError, match="unrecognized arguments: --colour"):
        main(["--colour", "blue"])


def test_drawing_needs_no_learner() -> None:
    """A reader of results installs neither torch nor the environments."""
    code = (
        "import sys, figures.__main__, figures.all_figures; "
        "print([name for name in ('torch', 'algorithms', 'benchmark', 'envs') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
