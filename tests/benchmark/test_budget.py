"""A run that would take no gradient step, or exceed its budget in its first block, is rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark import train
from benchmark.budget import require_learning, rounds_of
from benchmark.config import resolve
from benchmark.errors import UserError
from benchmark.plan import plan_runs
from benchmark.requests import RunRequest
from benchmark.suites import SUITES
from benchmark.training import Training
from results.keys import RunKey
from tests.benchmark.conftest import SMALL

TASK = "mpe/cooperative_navigation_3"


@pytest.mark.parametrize(
    ("steps", "settings", "message"),
    [
        (1000, {}, "--total-steps 1000: no gradient step would be made, as training.learning_starts waits for 1024"),
        (20_000, {"replay_capacity": 500}, "training.replay_capacity = 500 never holds the 1024 transitions"),
        (300, {"update_interval": 2_000}, "a block of training is 2000 environment steps"),
        (300, {"num_envs": 5_000}, "give at least 5000 steps, or lower these settings"),
    ],
)
def test_what_would_not_learn_is_refused_before_anything_is_written(
    steps: int, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    overrides = {f"training.{name}": value for name, value in settings.items()}
    with pytest.raises(UserError) as caught:
        train.run(resolve(TASK, "iql", 0, steps, overrides, "v"), tmp_path, quiet=True)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    (item,) = plan_runs([RunRequest(RunKey(TASK, "iql", "v", 0), steps, overrides)], tmp_path, "cpu")
    assert (item.state, item.reason) == ("refused", str(caught.value))


@pytest.mark.parametrize("starts", [16, 99, 100, 101, 150, 200, 201, 240, 241, 300, 400])
@pytest.mark.parametrize("capacity", [60, 200, 1_000])
@pytest.mark.parametrize(("num_envs", "interval", "gradient_steps"), [(4, 100, 1), (8, 60, 1), (3, 40, 2), (20, 25, 1)])
def test_refused_is_exactly_what_makes_no_gradient_step(
    starts: int, capacity: int, num_envs: int, interval: int, gradient_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in a training whose environment and learner stand still."""
    overrides = {
        "training.learning_starts": starts,
        "training.replay_capacity": capacity,
        "training.num_envs": num_envs,
        "training.update_interval": interval,
        "training.gradient_steps": gradient_steps,
        "training.evaluation_episodes": 1,
    }
    config = resolve(TASK, "iql", 0, 300, SMALL | overrides, "v")
    training = Training(config)
    step = training.environment.step(training.learner.act(*training.current[:2], training.generators["actions"], True))

    def stand_still() -> None:
        training.replay.add(step.reward.new_zeros(step.reward.shape, dtype=int), step)

    monkeypatch.setattr(training, "_play", stand_still)
    monkeypatch.setattr(training, "_begin_episode", lambda: training.replay.begin_episode(step))
    monkeypatch.setattr(training, "_gradient_step", lambda: setattr(training, "updates", training.updates + 1))
    monkeypatch.setattr(training.environment, "scores", lambda: {"return": step.reward})
    while training.environment_step < config.total_steps:
        training.advance()
    try:
        require_learning(config, training.spec)
        refused = False
    except UserError:
        refused = True
    assert refused == (training.updates == 0)


def test_no_learning_may_be_asked_for() -> None:
    config = resolve(TASK, "iql", 0, 300, {"training.gradient_steps": 0})
    require_learning(config, config.spec())


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_every_run_of_a_suite_learns(suite: str) -> None:
    kinds = {(request.key.task, request.key.algorithm, request.key.variant): request for request in SUITES[suite]()}
    for request in kinds.values():
        config = resolve(
            request.key.task, request.key.algorithm, 0, request.total_steps, request.overrides, request.key.variant
        )
        block = rounds_of(config.training) * config.training.num_envs
        assert block <= config.total_steps
        assert config.training.learning_starts <= config.training.replay_capacity
        assert config.training.learning_starts + block <= config.total_steps
