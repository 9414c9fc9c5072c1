"""The player writes what it says, and says what is wrong in one line."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import algorithms
import envs
from benchmark.config import RunConfig, resolve
from envs.drawing import PALETTE, draw
from envs.play import LAST_FRAME_MILLISECONDS, gif_palette, main

TASK = "mpe/cooperative_navigation_3"


def returns(output: str) -> list[float]:
    """The returns in what the player prints."""
    return [float(number) for number in re.findall(r"return (-?[\d.]+)", output)]


def play(*arguments: Any) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The file of an untrained IQL policy for `TASK`, whose agents have their own neighbour setting."""
    config = resolve(TASK, "iql", 0, 1000, {"algorithm.hidden": 16, "environment.num_neighbours": 1}, "test")
    return save(config, tmp_path / "policy.pt")


def save(config: RunConfig, path: Path) -> Path:
    settings = {field.name: getattr(config.environment, field.name) for field in dataclasses.fields(config.environment)}
    torch.manual_seed(0)
    learner = algorithms.make(
        config.algorithm, envs.spec(config.task, **settings), config.algorithm_settings, config.device
    )
    torch.save({"config": config.identity(), "learner": learner.state_dict()}, path)
    return path


def test_the_gif_holds_every_state_of_every_episode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gif = tmp_path / "two.gif"
    assert play(TASK, "--policy", "stay", "--gif", gif, "--episodes", 2, "--size", 120, "--fps", 20, "--seed", 5) == 0
    environment = envs.make(TASK, num_envs=1)
    length, expected, durations = environment.spec.episode_length, [], []
    with Image.open(gif) as image:
        assert image.size == (120, 120)
        assert image.n_frames == 2 * (length + 1)  # type: ignore[attr-defined]
        for episode in range(2):
            environment.reset(5 if episode == 0 else None)
            for time in range(length + 1):
                image.seek(episode * (length + 1) + time)
                durations.append(image.info["duration"])
                if time:
                    environment.step(torch.zeros(1, 3, dtype=torch.int64))
                seen = np.asarray(image.convert("RGB")).astype(int)
                assert np.abs(seen - draw(environment, size=120)).mean() < 2
            expected.append(environment.scores()["return"].item())
    assert durations == ([50] * length + [LAST_FRAME_MILLISECONDS]) * 2
    output = capsys.readouterr().out
    assert returns(output) == pytest.approx(expected, abs=0.006)
    assert f"{gif}: 52 frames of 120 x 120 pixels" in output
    assert list(tmp_path.iterdir()) == [gif], "no temporary file stays"


@pytest.mark.parametrize(
    "task", ["mpe/cooperative_navigation_30", "mpe/cooperative_push_30", "mpe/prey_and_predator_30"]
)
def test_a_gif_of_thirty_agents_is_small(task: str, tmp_path: Path) -> None:
    gif = tmp_path / "thirty.gif"
    assert play(task, "--policy", "random", "--gif", gif, "--neighbours") == 0
    assert gif.stat().st_size < 1_000_000


def test_policies_differ_as_they_should(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gif, scores = tmp_path / "out.gif", {}
    for policy in ("random", "stay", "greedy", "nearest", "assignment"):
        assert play("mpe/cooperative_navigation_6", "--policy", policy, "--gif", gif, "--size", 64) == 0
        scores[policy] = returns(capsys.readouterr().out)[0]
    assert scores["greedy"] == scores["nearest"]
    assert scores["assignment"] > max(scores["random"], scores["stay"])
    assert scores["random"] != scores["stay"]


def test_equal_seeds_play_equally(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.gif" for name in ("first", "second", "other")]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        assert play(TASK, "--policy", "random", "--gif", path, "--size", 64, "--seed", seed) == 0
    first, second, other = (path.read_bytes() for path in paths)
    assert first == second
    assert first != other


def test_a_trained_policy_plays_as_its_learner_acts(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gif = tmp_path / "trained.gif"
    assert play(TASK, "--policy", policy, "--gif", gif, "--size", 64, "--seed", 3) == 0
    played = returns(capsys.readouterr().out)
    from benchmark.policies import load_policy

    _, learner = load_policy(policy)
    environment = envs.make(TASK, num_envs=1, num_neighbours=1)
    step = environment.reset(3)
    with torch.no_grad():
        for _ in range(environment.spec.episode_length):
            step = environment.step(learner.act(step.observation, step.graph, torch.Generator(), greedy=True))
    assert played == pytest.approx(environment.scores()["return"].tolist(), abs=0.006)
    assert play(TASK, "--policy", policy, "--gif", gif, "--size", 64, "--seed", 3, "--sampled") == 0


def test_a_policy_of_another_task_names_its_own(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert play("mpe/cooperative_navigation_6", "--policy", policy, "--gif", policy.with_name("out.gif")) == 2
    assert f"python -m envs.play {TASK} --policy {policy}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mpe/cooperative_navigatoin_3"], "did you mean mpe/cooperative_navigation_3"),
        (["cityflow/hangzhou_16"], "not part of the project yet"),
        (["game/climbing_2"], "game/climbing_2 has no pictures: only particle tasks (mpe/...) can be watched"),
        (["game/ring_30"], "game/ring_30 has no pictures"),
        (
            [TASK, "--policy", "gredy"],
            "there is no policy 'gredy'; did you mean greedy? expected one of greedy, random",
        ),
        (["mpe/cooperative_push_3", "--policy", "assignment"], "assignment"),
        ([TASK, "--policy", "missing/policy.pt"], "missing/policy.pt: no such file"),
        ([TASK, "--policy", "."], "expected policy.pt"),
        ([TASK, "--sampled"], "--sampled is for trained policies"),
        ([TASK, "--episodes", "0"], "--episodes: expected a whole number from 1 to 10000, not '0'"),
        ([TASK, "--episodes", "some"], "not 'some'"),
        ([TASK, "--episodes", "900"], "choose at most 50"),
        ([TASK, "--size", "10"], "--size: expected a whole number from 64 to 2000"),
        ([TASK, "--fps", "51"], "--fps: expected"),
        ([TASK, "--seed", "-1"], "--seed: expected"),
        ([TASK, "--gif", "missing/out.gif"], "cannot write missing/out.gif: there is no folder missing"),
        ([TASK, "--gif", "folder.gif"], "it is a folder"),
        ([TASK, "--gif", "out.png"], "expected a name that ends in .gif"),
        ([TASK, "--colour", "red"], "unrecognized arguments"),
        ([], "required: TASK"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.gif").mkdir()
    assert play("--gif", "out.gif", *arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["folder.gif"], "nothing is left behind"


@pytest.mark.parametrize("damage", ["rubbish", "cut", "other"])
def test_a_damaged_policy_is_one_line(damage: str, policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = policy.read_bytes()
    if damage == "other":
        torch.save({"config": {}, "learner": {}}, policy)
    else:
        policy.write_bytes(b"rubbish" if damage == "rubbish" else content[: len(content) // 2])
    assert play(TASK, "--policy", policy, "--gif", policy.with_name("out.gif")) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {policy}")
    assert printed.count("\n") == 1
    assert [path.name for path in policy.parent.iterdir()] == ["policy.pt"]


def test_an_old_gif_survives_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gif = tmp_path / "old.gif"
    gif.write_bytes(b"old")

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("envs.play.write_gif", interrupt)
    assert play(TASK, "--gif", gif, "--size", 64) == 130
    assert gif.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [gif]
    assert "interrupted" in capsys.readouterr().err


def test_pure_colours_keep_themselves_in_the_gif() -> None:
    palette = gif_palette()
    image = Image.new("RGB", (len(PALETTE), 1))
    image.putdata(PALETTE)
    kept = image.quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB")
    assert np.array_equal(np.asarray(kept)[0], np.array(PALETTE))


def test_runs_as_a_command_without_the_benchmark(tmp_path: Path) -> None:
    """The command line as a user types it; playing a controller imports nothing from outside envs."""
    code = (
        "import sys; from envs.play import main; status = main(sys.argv[1:]); "
        "assert not {'benchmark', 'algorithms'} & set(sys.modules); sys.exit(status)"
    )
    arguments = [TASK, "--policy", "greedy", "--gif", str(tmp_path / "out.gif"), "--size", "64"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, timeout=120)
    wrong = subprocess.run(
        [sys.executable, "-m", "envs.play", "mpe/nothing", "--gif", str(tmp_path / "out.gif")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: there is no task 'mpe/nothing'")
