"""What TensorBoard shows of a run is what its logs hold, once."""

from __future__ import annotations

import importlib.util
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from benchmark.config import RunConfig
from benchmark.errors import UserError
from benchmark.runs import Stop, blocks_of, run
from results.layout import run_folder
from tests.benchmark.conftest import small_config

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)


def configured(steps: int = 900, **changes: Any) -> RunConfig:
    return small_config(steps=steps, training_tensorboard=True, **changes)


def shown(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag, from all event files of a run."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = defaultdict(list)
    for file in sorted((path / "tensorboard").iterdir()):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                found[value.tag].append((event.step, value.tensor.float_val[0]))
    return found


def logged(path: Path) -> dict[str, list[tuple[int, Any]]]:
    """The same from the logs."""
    found = defaultdict(list)
    for line in (path / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        for name in row.keys() - {"step"}:
            found[name].append((row["step"], pytest.approx(row[name], rel=1e-6)))
    for line in (path / "evaluation.jsonl").read_text().splitlines():
        row = json.loads(line)
        mean = sum(row["returns"]) / len(row["returns"])
        found[f"evaluation/{row['policy']}"].append((row["step"], pytest.approx(mean, rel=1e-6)))
    return found


@needs_tensorboard
def test_it_shows_the_logs(tmp_path: Path) -> None:
    path = run(configured(), tmp_path, quiet=True)
    found = shown(path)
    assert found == logged(path)
    assert {"update", "train/return", "loss/q", "evaluation/greedy", "evaluation/sampled"} <= found.keys()


@needs_tensorboard
def test_nothing_is_there_twice_after_a_resume(tmp_path: Path) -> None:
    """The run is left behind a checkpoint, with more in the event file than that knows of."""
    config = configured(training_checkpoint_seconds=1e6)
    blocks = blocks_of(config, tmp_path, Stop(), quiet=True)
    for _ in range(6):
        next(blocks)
    blocks.close()
    path = run_folder(tmp_path, config.key)
    assert shown(path)["update"], "it had begun"
    run(config, tmp_path, quiet=True)
    assert shown(path) == logged(path)


@needs_tensorboard
def test_numbers_and_identity_stay(tmp_path: Path) -> None:
    path = run(configured(300), tmp_path / "with", quiet=True)
    other = run(small_config(steps=300), tmp_path / "without", quiet=True)
    assert not (other / "tensorboard").exists()
    for name in ("metrics.jsonl", "evaluation.jsonl"):
        assert (path / name).read_bytes() == (other / name).read_bytes()
    hashes = [json.loads((folder / "config.json").read_text())["config_hash"] for folder in (path, other)]
    assert hashes[0] == hashes[1]


def test_without_the_package_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    with pytest.raises(UserError, match="needs the package tensorboard, which is not installed: pip install"):
        run(configured(), tmp_path, quiet=True)
    assert not list(tmp_path.iterdir()), "refused before anything is written"
