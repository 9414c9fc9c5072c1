"""Training on environments of other packages: the page's recipe, the run's record, resumption, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import envs
from benchmark import train
from benchmark.config import resolve
from benchmark.errors import UserError, report_errors
from benchmark.plan import with_maps
from benchmark.policies import load_policy
from benchmark.suites import SUITES
from benchmark.training import Training
from tests.pages import recipe

pytest.importorskip("pettingzoo", reason="these environments are PettingZoo's")

PAGE = "envs/YOUR_ENVIRONMENT.md"
LINE = "pettingzoo:tests.envs.line_world:LineWorld"
SMALL = {
    "training.num_envs": 2,
    "training.update_interval": 20,
    "training.batch_size": 16,
    "training.learning_starts": 16,
    "training.evaluation_episodes": 2,
    "algorithm.hidden": 8,
}


def test_page_trains_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ten lines of the page, verbatim, on an environment in a file that is not installed."""
    code = recipe(PAGE, "your environment")
    assert len(list(filter(None, code.splitlines()))) <= 10
    (tmp_path / "my_world.py").write_text(
        "from tests.envs.line_world import LineWorld\n\n\ndef make(agents=2):\n    return LineWorld(agents)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, PAGE, "exec"), {})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    table = {line[0]: float(line[1]) for line in lines if line[:1] in (["random"], ["iql"])}
    assert table["iql"] > table["random"] + 10
    (folder,) = (tmp_path / "results").glob("pettingzoo/my_world_make_4/iql/*/seed_0")
    record = json.loads((folder / "config.json").read_text())["environment"]
    assert record["source"] == "my_world:make"
    assert record["arguments"] == "agents=4"
    assert record["package"].startswith("sha256:")
    assert record["package"] in (folder / "machine.json").read_text()
    policy = load_policy(folder / "policy.pt")
    step = policy.config.make_environment(1).reset(0)
    assert policy.act(step.observation, step.graph).shape == (1, 4)
    (tmp_path / "my_world.py").write_text((tmp_path / "my_world.py").read_text() + "# changed\n")
    with pytest.raises(ValueError, match="that of the run sha256"):
        load_policy(folder / "policy.pt")


def test_names_of_variants_are_the_arguments() -> None:
    settings = SMALL | {"environment.agents": "4", "environment.continuous": "false"}
    config = resolve(LINE, "iql", 0, 100, {"environment.agents": "4"})
    assert config.variant == "agents=4"
    assert config.task == "pettingzoo/tests.envs.line_world_LineWorld_4"
    again = resolve(LINE, "iql", 0, 100, settings | {"environment.workers": 2})
    assert again.digest() == resolve(LINE, "iql", 0, 100, settings).digest(), "workers change no number"


@pytest.mark.parametrize("algorithm", ["ip", "iql", "qmix", "maddpg", "pic", "dgn"])
def test_every_algorithm_trains(algorithm: str) -> None:
    training = Training(resolve(LINE, algorithm, 0, 80, SMALL | {"environment.graph": "infos"}))
    for _ in range(3):
        training.advance()
    assert training.take_metrics()["update"] > 0


def advance(training: Training, blocks: int) -> dict[str, Any]:
    for _ in range(blocks):
        training.advance()
    return training.take_metrics()


@pytest.mark.parametrize("algorithm", ["ip", "pic"])
def test_a_run_goes_on_with_equal_numbers(algorithm: str) -> None:
    """Blocks of ten rounds end in the middle of episodes of eight steps."""
    config = resolve(LINE, algorithm, 0, 400, SMALL | {"environment.continuous": True})
    whole, parts = Training(config), Training(config)
    advance(whole, 3)
    assert parts.load_state_dict(whole.state_dict())
    assert not parts.episode_restarted
    assert advance(whole, 3) == advance(parts, 3)


def test_a_run_that_cannot_go_on_begins_a_new_episode() -> None:
    config = resolve(LINE, "iql", 0, 400, SMALL | {"environment.fault": "late noise", "training.update_interval": 14})
    whole, parts = Training(config), Training(config)
    whole.advance()
    assert whole.replay.time == 7
    parts.load_state_dict(whole.state_dict())
    assert parts.episode_restarted
    assert parts.replay.time == 0
    parts.advance()
    assert parts.environment_step == 28


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--algorithm", "iql", "--set", "environment.continuous=true"], "iql needs discrete actions"),
        (["--algorithm", "iql", "--set", "environment.speed=3"], "--set environment.speed: "),
        (["--algorithm", "iql", "--set", "environment.graph=nearest"], "needs columns"),
        (["--algorithm", "iql", "--set", "environment.fault=unlike actions"], "differ"),
        (["--algorithm", "iql", "--set", "training.batch=3"], "--set training.batch: no such setting"),
    ],
)
def test_refusals_on_the_command_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line, status 2, and nothing written."""
    fixed = ["--task", LINE, "--total-steps", "100", "--results", str(tmp_path / "results"), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["train", *fixed, *arguments])
    assert report_errors(train.main) == UserError.exit_status
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_a_length_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["train", "--task", LINE, "--algorithm", "iql"])
    assert report_errors(train.main) == UserError.exit_status
    assert "has no default length: give --total-steps" in capsys.readouterr().err


def test_suites_do_not_take_them() -> None:
    with pytest.raises(UserError, match="suites have no settings for other packages"):
        with_maps(SUITES["quick"](), [LINE])


@pytest.mark.parametrize(
    ("source", "arguments", "agents"),
    [
        ("mpe2.simple_spread_v3:parallel_env", {"N": 3, "max_cycles": 10}, 3),
        ("pettingzoo.sisl.pursuit_v5:parallel_env", {"n_pursuers": 4, "n_evaders": 4, "max_cycles": 10}, 4),
    ],
)
def test_public_environments(source: str, arguments: dict[str, Any], agents: int) -> None:
    """Where they are installed: a few steps, saved and restored."""
    package = source.partition(".")[0]
    pytest.importorskip(source.partition(":")[0], reason=f"{package} or what it needs is not installed")
    first, second = (envs.make(f"pettingzoo:{source}", 2, **arguments) for _ in range(2))
    assert first.spec.num_agents == agents
    assert first.spec.episode_length == 10
    first.reset(3)
    first.step(torch.ones(2, agents, dtype=torch.int64))
    second.load_state_dict(first.state_dict())
    steps = [environment.step(torch.zeros(2, agents, dtype=torch.int64)) for environment in (first, second)]
    assert torch.equal(steps[0].observation, steps[1].observation)
    assert torch.equal(steps[0].reward, steps[1].reward)
