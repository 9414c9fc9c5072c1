"""A recorded episode is the one that was evaluated, and what cannot be recorded is named."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark import record
from benchmark.errors import UserError
from benchmark.evaluation import play_episodes
from benchmark.policies import load_policy
from benchmark.record import MOST_FRAMES, Recording, is_recorded, record_episode, shown_steps
from benchmark.runs import run
from envs.drawing import draw
from results.episodes import read_gif
from results.runs import load_runs
from tests.benchmark.conftest import small_config

RUN = Path("mpe/cooperative_navigation_3/iql/test")
LENGTH = 25


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs that differ in the seed."""
    results = tmp_path_factory.mktemp("trained")
    for seed in (0, 1):
        run(small_config(seed=seed, steps=300), results, quiet=True)
    return results


@pytest.fixture
def results(trained: Path, tmp_path: Path) -> Path:
    """The two runs, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "results"))


def command(*arguments: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["record", *map(str, arguments)])
    return record.main()


def facts_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "episode.json").read_text()))


def change_status(folder: Path, **changes: Any) -> None:
    file = folder / "status.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("policy", ["greedy", "sampled"])
def test_the_episode_is_the_first_of_the_evaluation(
    results: Path, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its return is that of an independent replay; a greedy one is also in evaluation.jsonl. The GIF shows it."""
    sampled = ["--sampled"] if policy == "sampled" else []
    assert command("--results", results, "--size", 120, *sampled, monkeypatch=monkeypatch) == 0
    folder = results / RUN / "seed_0"
    facts = facts_of(folder)
    policy_loaded = load_policy(folder / "policy.pt")
    config, learner = policy_loaded.config, policy_loaded.learner
    environment = config.make_environment(1)
    seed = config.training.evaluation_seed
    replayed = play_episodes(environment, learner, seed, policy == "greedy")["return"].item()
    assert facts["return"] == round(replayed, 4)
    assert (facts["policy"], facts["seed"], facts["steps"], facts["episode_steps"]) == (policy, seed, LENGTH, LENGTH)
    if policy == "greedy":
        lines = [json.loads(line) for line in (folder / "evaluation.jsonl").read_text().splitlines()]
        last = [line for line in lines if line["policy"] == "greedy"][-1]
        assert last["step"] == config.total_steps
        assert facts["return"] == pytest.approx(last["returns"][0], abs=1e-3)
    content = (folder / "episode.gif").read_bytes()
    assert (facts["bytes"], facts["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    with Image.open(folder / "episode.gif") as image:
        assert image.size == (120, 120) == (facts["pixels"],) * 2
        assert image.n_frames == facts["frames"] == LENGTH + 1  # type: ignore[attr-defined]
        image.seek(LENGTH)
        last_frame = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(last_frame - draw(environment, size=120)).mean() < 2
    assert not (results / RUN / "seed_1" / "episode.gif").exists(), "one seed is enough"


def test_greedy_and_sampled_episodes_differ(results: Path) -> None:
    """Otherwise the test above could not distinguish them."""
    folder = results / RUN / "seed_0"
    (greedy, one), (sampled, two) = (
        record_episode(folder, Recording(policy, size=64)) for policy in ("greedy", "sampled")
    )
    assert greedy != sampled
    assert one["return"] != two["return"]


def test_equal_runs_give_equal_files(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in another process, and again by force."""
    folder = results / RUN / "seed_0"
    files = [folder / name for name in ("episode.gif", "episode.json")]
    arguments = ["-m", "benchmark.record", "--results", str(results), "--size", "64"]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    assert f"{folder / 'episode.gif'}: 26 frames, " in done.stderr
    assert done.stdout.startswith("1 episode recorded (")
    contents, written = [file.read_bytes() for file in files], files[0].stat().st_mtime_ns
    assert command("--results", results, "--size", 64, monkeypatch=monkeypatch) == 0
    assert files[0].stat().st_mtime_ns == written, "it was there already"
    assert command("--results", results, "--size", 64, "--force", monkeypatch=monkeypatch) == 0
    assert files[0].stat().st_mtime_ns != written
    assert [file.read_bytes() for file in files] == contents


def test_what_was_recorded_otherwise_or_is_damaged_is_recorded_again(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, recording = results / RUN / "seed_0", Recording(size=64)
    again = ("--results", results, "--size", 64)
    assert command(*again, monkeypatch=monkeypatch) == 0
    whole = (folder / "episode.gif").read_bytes()
    assert is_recorded(folder, recording)
    assert not is_recorded(folder, Recording(size=80))
    assert not is_recorded(folder, Recording("sampled", size=64))
    for damage in (lambda: (folder / "episode.gif").write_bytes(whole[:-9]), (folder / "episode.json").unlink):
        damage()
        assert not is_recorded(folder, recording)
        assert command(*again, monkeypatch=monkeypatch) == 0
        assert is_recorded(folder, recording)
        assert (folder / "episode.gif").read_bytes() == whole


def test_a_part_of_an_episode_says_so(results: Path) -> None:
    _, facts = record_episode(results / RUN / "seed_0", Recording(size=64, steps=7))
    assert (facts["steps"], facts["episode_steps"], facts["frames"]) == (7, LENGTH, 8)
    _, whole = record_episode(results / RUN / "seed_0", Recording(size=64, steps=1000))
    assert whole["steps"] == LENGTH
    assert 0 > facts["return"] > whole["return"], "distances to landmarks add up"


def test_long_episodes_skip_frames_but_never_the_last() -> None:
    for steps in (1, 2, 25, 59, 60, 100, 118, 119, 360):
        shown = sorted(shown_steps(steps))
        assert shown[0] == 0
        assert shown[-1] == steps
        assert len(shown) <= MOST_FRAMES
        gaps = np.diff(shown)
        assert len(set(gaps[:-1])) <= 1
        assert gaps[-1] <= gaps[0]
    assert shown_steps(59) == set(range(60))
    assert sorted(shown_steps(100)) == list(range(0, 101, 2))


def test_every_seed_or_some(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def recorded() -> list[str]:
        return sorted(path.parent.name for path in results.rglob("episode.gif"))

    assert command("--results", results, "--size", 64, "--seeds", 1, monkeypatch=monkeypatch) == 0
    assert recorded() == ["seed_1"]
    assert command("--results", results, "--size", 64, "--seeds", "all", monkeypatch=monkeypatch) == 0
    assert recorded() == ["seed_0", "seed_1"]


def test_unfinished_runs_are_skipped_and_the_next_seed_is_taken(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change_status(results / RUN / "seed_0", state="running")
    assert command("--results", results, "--size", 64, monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr()
    assert f"skipped {' '.join(RUN.as_posix().rsplit('/', 2))} seed 0: the run is not finished" in printed.err
    assert "(its status: running)" in printed.err
    assert [path.parent.name for path in results.rglob("episode.gif")] == ["seed_1"]
    assert "1 episode recorded" in printed.out
    assert "1 run skipped, 0 failed" in printed.out


def test_runs_without_a_policy_are_skipped(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs that cannot be recorded for the same reason share a line."""
    for seed in (0, 1):
        (results / RUN / f"seed_{seed}" / "policy.pt").unlink()
    assert command("--results", results, monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr()
    assert "seed 0, 1: it has no policy.pt" in printed.err
    assert printed.out == "0 episodes recorded (0 kB), 0 were there, 2 runs skipped, 0 failed\n"


def test_a_damaged_policy_fails_alone(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / RUN / "seed_0" / "policy.pt").write_bytes(b"rubbish")
    assert command("--results", results, "--size", 64, "--seeds", "all", monkeypatch=monkeypatch) == 1
    printed = capsys.readouterr()
    assert "failed mpe/cooperative_navigation_3 iql test seed 0: " in printed.err
    assert "policy.pt is damaged" in printed.err
    assert [path.parent.name for path in results.rglob("episode.gif")] == ["seed_1"]


def test_games_have_no_pictures(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = results / "game/ring_8/ip/default/seed_0"
    folder.mkdir(parents=True)
    config = {"task": "game/ring_8", "algorithm": "ip", "variant": "default", "seed": 0, "total_steps": 1}
    (folder / "config.json").write_text(json.dumps(config))
    assert command("--results", results, "--algorithms", "ip", monkeypatch=monkeypatch) == 0
    assert "skipped game/ring_8 ip default seed 0: game tasks cannot be rendered" in capsys.readouterr().err


def test_a_suite_is_recorded_wherever_its_runs_lie(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of other suites are left alone."""
    target = results / "sweep" / "mpe/cooperative_navigation_3/iql/smoke/seed_0"
    shutil.copytree(results / RUN / "seed_0", target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | {"variant": "smoke"}))
    assert command("--results", results, "--suite", "smoke", "--size", 64, monkeypatch=monkeypatch) == 0
    assert [path.parent for path in results.rglob("episode.gif")] == [target]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --results DIR, or --suite SUITE"),
        (["--results", "empty"], "no runs found in empty"),
        (["--results", "results", "--tasks", "mpe/none"], "--tasks mpe/none: no run in results has it; there are mpe/"),
        (["--results", "results", "--algorithms", "ip"], "there are iql"),
        (["--results", "results", "--variants", "default"], "there are test"),
        (["--results", "results", "--seeds", "7"], "no run in results is of these tasks"),
        (["--results", "results", "--seeds", "some"], "--seeds some: expected first, all, or whole numbers"),
        (["--results", "results", "--suite", "quick"], "--suite quick: results has none of its runs"),
        (["--results", "results", "--size", "9"], "--size 9: expected a whole number of pixels from 64"),
        (["--results", "results", "--steps", "0"], "--steps 0: expected a positive number"),
    ],
)
def test_mistakes_are_told(arguments: list[str], message: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results.parent)
    with pytest.raises(UserError) as error:
        command(*arguments, monkeypatch=monkeypatch)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(results.rglob("episode.*"))


def test_results_have_the_episode(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded here is what `results` reads."""
    assert command("--results", results, "--size", 64, monkeypatch=monkeypatch) == 0
    folder = results / RUN / "seed_0"
    ((cell, episode),) = load_runs(results).episodes.items()
    assert str(cell) == f"{RUN.as_posix()}/seed_0"
    assert episode.episode_return == facts_of(folder)["return"]
    assert episode.whole
    assert read_gif(episode) == (folder / "episode.gif").read_bytes()
    assert torch.get_num_threads() == 1
