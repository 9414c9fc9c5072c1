"""A folder to share plays as its card says: weights alone, settings, scores, curve and episode."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import benchmark
from benchmark import evaluate, export
from benchmark.config import resolve
from benchmark.errors import MENDABLE, report_errors
from benchmark.machine import machine_facts
from benchmark.record import Recording, record_episode
from benchmark.runs import run
from results.files import read_json
from tests.benchmark.conftest import SMALL

TASK = "mpe/cooperative_navigation_6"
SHIPPED = sorted((Path(__file__).resolve().parents[2] / "results" / "policies").glob("*/"))
MOST_BYTES = 300_000
"""Of a policy that ships."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs of a learner with a mixer, and of one with messages."""
    results = tmp_path_factory.mktemp("exported")
    for algorithm in ("qmix", "ip"):
        run(resolve(TASK, algorithm, 0, 300, SMALL, "test"), results, quiet=True)
    return results / TASK


@pytest.mark.parametrize("algorithm", ["qmix", "ip"])
def test_what_is_written_plays_as_the_run(
    trained: Path, algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = trained / algorithm / "test" / "seed_0"
    assert export.main([str(folder), "--size", "64"]) == 0
    written = tmp_path / f"{algorithm}_cooperative_navigation_6"
    files = {"weights.pt", "config.json", "scores.json", "card.md", "curve.png", "episode.gif"}
    assert {file.name for file in written.iterdir()} == files
    weights = torch.load(written / "weights.pt", weights_only=True)["acting"]
    assert set(weights) == set(benchmark.load_policy(folder).acting_weights())
    assert not any("mixer" in name or "optimiser" in name for name in weights)
    scores = read_json(written / "scores.json")
    policy, original = benchmark.load_policy(written), benchmark.load_policy(folder)
    for name, played in scores["evaluation"]["policies"].items():
        assert policy.evaluate(policy=name).returns == original.evaluate(policy=name).returns
        assert list(policy.evaluate(policy=name).returns) == pytest.approx(played["returns"], abs=1e-3)
    assert policy.evaluate(agents=9, episodes=2) == original.evaluate(agents=9, episodes=2)
    gif = (written / "episode.gif").read_bytes()
    assert hashlib.sha256(gif).hexdigest() == scores["episode"]["sha256"]
    card = (written / "card.md").read_text()
    assert f"| trained, greedy | {scores['evaluation']['policies']['greedy']['mean']:,.2f} |" in card
    assert scores["made_by"]["commit"] in card
    assert "| reference: assignment |" in card
    with Image.open(written / "curve.png") as curve:
        assert curve.size == (480, 300)
    capsys.readouterr()
    assert report_errors(lambda: export.main([str(folder)])) == 2
    assert "already exists: remove it" in capsys.readouterr().err
    assert report_errors(lambda: export.main([str(written), "--output", "again"])) == 2
    assert "is not a run folder" in capsys.readouterr().err
    assert evaluate.main([str(written), "--episodes", "2"]) == 0


def test_what_does_not_play_as_the_run_is_refused(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.parents[1], tmp_path / "runs")) / TASK / "ip" / "test" / "seed_0"
    lines = (folder / "evaluation.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    last["returns"][0] += 1.0
    (folder / "evaluation.jsonl").write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")
    with pytest.raises(MENDABLE, match="export it with the code, packages and processor that made it"):
        export.export(folder, tmp_path / "out")


def test_an_export_is_whole_or_not_there(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What has failed, or was interrupted, can be tried again."""
    folder, output = str(trained / "ip" / "test" / "seed_0"), str(tmp_path / "out")
    assert report_errors(lambda: export.main([folder, "--output", output, "--size", "0"])) == 2
    assert capsys.readouterr().err.startswith("error: argument --size: expected a whole number from 64 to 640, not '0'")

    def interrupt(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export, "learning_curve", interrupt)
        assert report_errors(lambda: export.main([folder, "--output", output])) == 130
    assert not any(tmp_path.iterdir())
    assert export.main([folder, "--output", output, "--size", "64"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_damaged_and_missing_parts_are_one_line(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trained / "ip" / "test" / "seed_0"
    written = export.export(folder, tmp_path / "out", Recording(size=64))
    (written / "weights.pt").write_bytes(b"rubbish")
    with pytest.raises(MENDABLE, match=r"weights.pt is damaged"):
        benchmark.load_policy(written)
    (written / "weights.pt").unlink()
    with pytest.raises(MENDABLE, match="status: absent"):
        benchmark.load_policy(written)
    with pytest.raises(MENDABLE, match="holds no trained policy"):
        export.export(tmp_path, tmp_path / "other")
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(MENDABLE, match="the curve of a card needs"):
        export.export(folder, tmp_path / "third", Recording(size=64))


def test_some_policy_ships() -> None:
    assert SHIPPED


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_policies_play_as_their_cards_say(folder: Path) -> None:
    """Score and GIF equal those of the card: to the last bit on the processor that made it, else as near as another
    order of sums allows."""
    scores = read_json(folder / "scores.json")
    assert scores["made_by"]["dirty"] is False
    assert sum(file.stat().st_size for file in folder.iterdir()) <= MOST_BYTES
    policy = benchmark.load_policy(folder)
    played = scores["evaluation"]["policies"]["greedy"]
    returns = list(policy.evaluate().returns)
    facts = scores["episode"]
    gif, again = record_episode(folder, Recording(**facts["take"]))
    if machine_facts("cpu")["cpu"] == scores["made_by"]["cpu"]:
        assert returns == pytest.approx(played["returns"], abs=1e-3)
        assert again == facts
        assert gif == (folder / "episode.gif").read_bytes()
    else:
        assert returns == pytest.approx(played["returns"], rel=0.05)
        assert again["frames"] == facts["frames"]
    card = (folder / "card.md").read_text()
    assert f"| trained, greedy | {played['mean']:,.2f} |" in card
    assert f"return {facts['return']:,.2f}." in card
    assert os.sep + "tmp" not in card + json.dumps(scores), "no path of a machine"
