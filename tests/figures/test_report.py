"""The command line and the report: complete, self-contained, the same each time, and clear about what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from figures.__main__ import main
from results.publish import publish
from results.runs import load_runs
from tests.figures.synthetic import TASK, write_study

TABLES = {"scores.csv", "scores.md", "scores.html", "references.csv"}


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
    announced = {line.removeprefix("wrote ") for line in capsys.readouterr().out.splitlines()}
    assert announced == {str(path) for path in tmp_path.iterdir()}
    names = {path.name for path in tmp_path.iterdir()}
    assert TABLES | {"report.html", "curves-mpe-greedy.svg", "curves-mpe-sampled.png"} <= names
    for path in tmp_path.iterdir():  # a second run, elsewhere: the same bytes
        assert path.read_bytes() == (drawn / path.name).read_bytes(), path.name


def test_published_results_draw_the_same_report(study: Path, drawn: Path, tmp_path: Path) -> None:
    publish(load_runs(study), tmp_path / "published")
    assert main(["--results", str(tmp_path / "published"), "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").read_bytes() == (drawn / "report.html").read_bytes()


def test_report_asks_for_nothing_from_outside(drawn: Path) -> None:
    text = (drawn / "report.html").read_text()
    assert not re.search(r"https?://", text)
    assert set(re.findall(r'(?:src|srcset|href)="([a-z]+:|#|.)', text)) == {"data:", "#"}
    assert not re.search(r"@import|url\(|<link|<iframe|fetch\(", text)


def test_report_links_lead_somewhere(drawn: Path) -> None:
    text = (drawn / "report.html").read_text()
    targets = re.findall(r'href="#([^"]+)"', text)
    assert len(targets) >= 5
    assert all(f'id="{target}"' in text for target in targets)


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
    assert text.count("<summary>") == 5 + 2  # five configs (ip has two variants), two tasks' diagnostics
    assert "&quot;learning_rate&quot;: 0.01" in text


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
    assert re.fullmatch(r"error: cannot write .*scores\.csv: .*; choose another --output\n", error)


def test_corrupt_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "raw")
    path = tmp_path / "raw" / TASK / "ip" / "default" / "seed_0" / "metrics.jsonl"
    path.write_text("nonsense\n" + path.read_text())
    assert main(["--results", str(tmp_path / "raw"), "--output", str(tmp_path / "out")]) == 1
    assert "metrics.jsonl, line 1: is not JSON" in capsys.readouterr().err


def test_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--colour", "blue"])
    assert stopped.value.code == 2
    assert "unrecognized arguments: --colour" in capsys.readouterr().err


def test_drawing_needs_no_learner() -> None:
    """A reader of results installs neither torch nor the environments."""
    code = (
        "import sys, figures.__main__; "
        "print([name for name in ('torch', 'algorithms', 'benchmark', 'envs') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
