"""The player writes what it says, and says what is wrong in one line."""

from __future__ import annotations

import dataclasses
import json
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
import results
from benchmark.config import RunConfig, resolve
from benchmark.errors import report_errors
from benchmark.gif import LAST_FRAME_MILLISECONDS, gif_palette
from benchmark.play import main
from envs.canvas import Colour
from envs.drawing import draw
from envs.jungle.drawing import PALETTE as JUNGLE_PALETTE
from envs.mpe.drawing import PALETTE as PARTICLE_PALETTE
from envs.traffic.drawing import PALETTE as TRAFFIC_PALETTE
from envs.traffic.tasks import listed_city
from tests.patience import PATIENCE

TASK = "mpe/cooperative_navigation_3"
CITY = "cityflow/synthetic_4"
JUNGLE = "magent/jungle_6"


def returns(output: str) -> list[float]:
    """The returns in what the player prints."""
    return [float(number) for number in re.findall(r"return (-?[\d.]+)", output)]


def play(*arguments: Any) -> int:
    return report_errors(lambda: main([str(argument) for argument in arguments]))


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
    "task",
    ["mpe/cooperative_navigation_30", "mpe/cooperative_push_30", "mpe/prey_and_predator_30", "magent/jungle_30"],
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

    learner = load_policy(policy).learner
    environment = envs.make(TASK, num_envs=1, num_neighbours=1)
    step = environment.reset(3)
    with torch.no_grad():
        for _ in range(environment.spec.episode_length):
            step = environment.step(learner.act(step.observation, step.graph, torch.Generator(), greedy=True))
    assert played == pytest.approx(environment.scores()["return"].tolist(), abs=0.006)
    assert play(TASK, "--policy", policy, "--gif", gif, "--size", 64, "--seed", 3, "--sampled") == 0


def test_a_policy_plays_other_tasks_where_it_fits(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `Policy.evaluate` does there; where it does not fit, the message says why."""
    from benchmark.policies import load_policy

    shipped, gif = Path(results.__file__).parent / "policies" / "iql_synthetic_49", tmp_path / "out.gif"
    assert play("cityflow/synthetic_4", "--policy", shipped, "--gif", gif, "--size", 64, "--seed", 7) == 0
    (played,) = returns(capsys.readouterr().out)
    (expected,) = load_policy(shipped).evaluate("cityflow/synthetic_4", episodes=1, seed=7).returns
    assert played == pytest.approx(expected, abs=0.006)
    assert play("mpe/cooperative_navigation_6", "--policy", policy, "--gif", gif) == 2
    assert f"this policy was trained on {TASK} with observations of 14 numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mpe/cooperative_navigatoin_3"], "did you mean mpe/cooperative_navigation_3"),
        (["magent/jungle_1"], "there is no task 'magent/jungle_1'; did you mean magent/jungle_6"),
        (["cityflow/synthetic_5"], "there is no task 'cityflow/synthetic_5'"),
        (
            ["game/climbing_2"],
            "game/climbing_2 cannot be rendered: only particle tasks (mpe/...), traffic tasks (cityflow/...) and "
            "jungle tasks (magent/...) can be watched",
        ),
        (["game/ring_30"], "game/ring_30 cannot be rendered"),
        (
            [TASK, "--policy", "gredy"],
            "there is no policy 'gredy'; did you mean greedy? expected one of greedy, random",
        ),
        (["mpe/cooperative_push_3", "--policy", "assignment"], "assignment"),
        ([TASK, "--policy", "missing/policy.pt"], "missing/policy.pt: no such file"),
        ([TASK, "--policy", "."], "expected policy.pt"),
        ([CITY, "--policy", "nearest"], "expected one of greedy, random, fixed_time, sotl, max_pressure"),
        ([JUNGLE, "--policy", "agressor"], "did you mean aggressor? expected one of greedy, random, stay, greedy_in"),
        ([CITY, "--sampled"], "--sampled is for trained policies"),
        ([CITY, "--seconds", "15"], "episode_seconds = 15: expected a multiple of decision_seconds = 10"),
        ([CITY, "--seconds", "0"], "--seconds: expected a whole number from 1 to 86400, not '0'"),
        ([CITY, "--set", "environment.engine=sumo"], "environment.engine=sumo: expected one of builtin, cityflow"),
        ([CITY, "--set", "environment.engine=cityflow", "--replay", "new"], "--replay records the builtin engine"),
        ([CITY, "--engine", "cityflow"], "a setting: use --set environment.engine=cityflow"),
        ([CITY, "--replay", "missing/replay"], "cannot write missing/replay: No such file or directory"),
        ([CITY, "--replay", "file"], "cannot write file: File exists"),
        ([CITY, "--episodes", "100", "--seconds", "3600"], "choose at most 3, or a smaller --size"),
        ([CITY, "--size", "2000", "--seconds", "3600"], "--size 2000: choose a smaller --size"),
        ([TASK, "--seconds", "100"], "--seconds is for traffic tasks (cityflow/...), not for mpe/"),
        ([TASK, "--set", "environment.engine=builtin"], "--set environment.engine: no such setting here; "),
        ([TASK, "--replay", "new"], "--replay is for traffic tasks"),
        ([JUNGLE, "--seconds", "100"], "--seconds is for traffic tasks (cityflow/...), not for magent/jungle_6"),
        ([JUNGLE, "--set", "environment.backend=cuda"], "expected one of auto, numba, torch, magent2"),
        ([JUNGLE, "--set", "training.num_envs=2"], "--set training.num_envs: no such setting here; "),
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
    (tmp_path / "file").touch()
    assert play("--gif", "out.gif", *arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.gif"], "nothing is left behind"


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

    monkeypatch.setattr("benchmark.play.write_gif", interrupt)
    assert play(TASK, "--gif", gif, "--size", 64) == 130
    assert gif.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [gif]
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("pure", [PARTICLE_PALETTE, TRAFFIC_PALETTE, JUNGLE_PALETTE])
def test_pure_colours_keep_themselves_in_the_gif(pure: tuple[Colour, ...]) -> None:
    palette = gif_palette(pure)
    image = Image.new("RGB", (len(pure), 1))
    image.putdata(pure)
    kept = image.quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB")
    assert np.array_equal(np.asarray(kept)[0], np.array(pure))


def test_a_city_is_watched_decision_by_decision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gif = tmp_path / "city.gif"
    assert play(CITY, "--gif", gif, "--seconds", 120, "--seed", 3, "--size", 200, "--episodes", 2) == 0
    environment = envs.make(CITY, num_envs=1, episode_seconds=120)
    reference = envs.reference_policies(CITY)["max_pressure"](environment)
    expected = []
    with Image.open(gif) as image:
        assert image.n_frames == 2 * 13  # type: ignore[attr-defined]
        for episode in range(2):
            environment.reset(3 if episode == 0 else None)
            for decision in range(13):
                if decision:
                    environment.step(reference.act(torch.Generator()))
                image.seek(13 * episode + decision)
                seen = np.asarray(image.convert("RGB")).astype(int)
                assert np.abs(seen - draw(environment, size=200)).mean() < 2
            expected.append(-environment.scores()["average_travel_time"].item())
    assert returns(capsys.readouterr().out) == pytest.approx(expected, abs=0.006)
    assert expected[0] < -1


def test_policies_of_a_city(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {}
    for policy in ("greedy", "max_pressure", "fixed_time", "sotl", "random"):
        arguments = ("--policy", policy, "--gif", tmp_path / "out.gif", "--size", 64, "--seconds", 500)
        assert play(CITY, *arguments) == 0
        scores[policy] = returns(capsys.readouterr().out)[0]
    assert scores["greedy"] == scores["max_pressure"] > max(scores["fixed_time"], scores["random"])
    assert len(set(scores.values())) == 4


def test_a_jungle_is_watched_step_by_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gif = tmp_path / "jungle.gif"
    assert play(JUNGLE, "--policy", "aggressor", "--gif", gif, "--seed", 3, "--size", 200, "--neighbours") == 0
    environment = envs.make(JUNGLE, num_envs=1)
    reference = envs.reference_policies(JUNGLE)["aggressor"](environment)
    environment.reset(3)
    with Image.open(gif) as image:
        assert image.n_frames == 26  # type: ignore[attr-defined]
        for time in range(26):
            if time:
                environment.step(reference.act(torch.Generator()))
            image.seek(time)
            seen = np.asarray(image.convert("RGB")).astype(int)
            assert np.abs(seen - draw(environment, size=200, neighbours=True)).mean() < 2
    expected = environment.scores()["return"].item()
    assert returns(capsys.readouterr().out) == pytest.approx([expected], abs=0.006)


def test_policies_of_a_jungle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {}
    for policy in ("greedy", "greedy_in_sight", "aggressor", "random", "stay"):
        arguments = ("--policy", policy, "--gif", tmp_path / "out.gif", "--size", 64, "--episodes", 4)
        assert play("magent/jungle_20", *arguments) == 0
        scores[policy] = sum(returns(capsys.readouterr().out))
    assert scores["greedy"] > scores["greedy_in_sight"] > scores["stay"] == 0 > scores["aggressor"]
    assert scores["greedy_in_sight"] > scores["random"] != 0


def test_engines_of_a_jungle_play_the_same_game(tmp_path: Path) -> None:
    pytest.importorskip("magent2", reason="the original engine is not installed")
    gifs = []
    for backend in ("auto", "numba", "torch", "magent2"):
        gifs.append(tmp_path / f"{backend}.gif")
        arguments = ("--policy", "random", "--gif", gifs[-1], "--size", 120, "--set", f"environment.backend={backend}")
        assert play(JUNGLE, *arguments) == 0
    assert len({gif.read_bytes() for gif in gifs}) == 1


def test_an_engine_that_is_not_here_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "magent2.gridworld", None)
    assert play(JUNGLE, "--set", "environment.backend=magent2", "--gif", tmp_path / "out.gif") == 2
    printed = capsys.readouterr().err
    assert "pip install magent2" in printed
    assert printed.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_policy_trained_on_a_jungle_plays_with_another_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"algorithm.hidden": 16, "environment.reward": "shared", "environment.episode_length": 7}
    policy = save(resolve(JUNGLE, "iql", 0, 1000, settings, "test"), tmp_path / "policy.pt")
    scores = []
    for backend in ("numba", "torch"):
        gif = tmp_path / "out.gif"
        chosen = ("--set", f"environment.backend={backend}")
        assert play(JUNGLE, "--policy", policy, "--sampled", "--gif", gif, "--size", 64, *chosen) == 0
        output = capsys.readouterr().out
        scores.append(returns(output))
        assert "8 frames" in output, "of the episode length with which it was trained"
    assert scores[0] == scores[1]


def test_a_replay_has_a_line_for_every_second_of_the_first_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, gif = tmp_path / "replay", tmp_path / "out.gif"
    arguments = (CITY, "--policy", "random", "--seconds", 60, "--episodes", 2)
    assert play(*arguments, "--replay", folder) == 0
    recorded = capsys.readouterr().out
    assert play(*arguments, "--gif", gif, "--size", 64) == 0
    assert returns(recorded) == returns(capsys.readouterr().out), "recording changes nothing"
    assert f"{folder}: roadnet.json and replay.txt" in recorded
    assert sorted(path.name for path in folder.iterdir()) == ["replay.txt", "roadnet.json"], "no temporary file stays"
    lines = (folder / "replay.txt").read_text().splitlines()
    assert len(lines) == 60
    vehicles = [line.split(";")[0].count(",") for line in lines]
    assert vehicles[0] < vehicles[20] < vehicles[59]
    assert len(json.loads((folder / "roadnet.json").read_text())["static"]["nodes"]) == 12


def test_an_interrupted_replay_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "replay.txt").write_text("old")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("envs.traffic.cityflow.replay.ReplayWriter.write", interrupt)
    assert play(CITY, "--seconds", 60, "--replay", tmp_path) == 130
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_map_that_is_not_here_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IPB_DATA", str(tmp_path))
    listed_city.cache_clear()
    assert play("cityflow/manhattan_48", "--gif", tmp_path / "out.gif") == 2
    printed = capsys.readouterr().err
    assert "get it with python -m envs.traffic.data fetch --source manhattan_48" in printed
    assert printed.count("\n") == 1


def test_something_must_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert play(TASK) == 2
    assert "nothing to write: give --gif OUT.gif" in capsys.readouterr().err


def test_runs_as_a_command_that_loads_no_learner(tmp_path: Path) -> None:
    """The command line as a user types it; playing a reference policy loads no learner."""
    code = (
        "import sys; from benchmark.play import main; status = main(sys.argv[1:]); "
        "assert not {'benchmark.policies', 'algorithms.common'} & set(sys.modules); sys.exit(status)"
    )
    arguments = [TASK, "--policy", "greedy", "--gif", str(tmp_path / "out.gif"), "--size", "64"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, timeout=PATIENCE)
    wrong = subprocess.run(
        [sys.executable, "-m", "benchmark.play", "mpe/nothing", "--gif", str(tmp_path / "out.gif")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: there is no task 'mpe/nothing'")
