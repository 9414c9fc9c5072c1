"""Estimates of the duration of runs, with costs that are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark.config import resolve
from benchmark.profiling import timing


@pytest.mark.parametrize(("task", "of_the_hour"), [("cityflow/synthetic_4", 360), ("mpe/cooperative_navigation_6", 0)])
def test_steps_updates_and_evaluations_are_added_up(
    task: str, of_the_hour: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {
        "training.num_envs": 4,
        "training.batch_size": 8,
        "training.evaluation_interval": 250,
        "training.evaluation_episodes": 2,
        "algorithm.hidden": 8,
    }
    config = resolve(task, "iql", 0, 1000, settings, "test")
    monkeypatch.setattr(timing, "_act_seconds", lambda learner, step: 1.0)
    monkeypatch.setattr(timing, "_environment_seconds", lambda config, copies, **changed: 10.0 * copies)
    monkeypatch.setattr(timing, "_update_seconds", lambda config, learner, step: 0.5)
    episode = config.make_environment(1).spec.episode_length
    training = 250 * (1 + 40)  # 250 steps of four copies
    updates = 80 * 0.5  # eight for every 100 environment steps
    evaluations = 5 * 2 * episode * (1 + 20)  # before training and four times during it, two policies, two copies
    the_hour = 2 * of_the_hour * (1 + 20)
    assert timing.estimate_seconds(config) == training + updates + evaluations + the_hour


@pytest.mark.parametrize(("first", "steps"), [(0.01, 10), (1.0, 3), (9.0, 1)])
def test_an_episode_is_played_to_its_end_or_for_four_seconds(first: float, steps: int) -> None:
    """Every step takes longer than the one before, as in a city that fills, by as much as the first one takes."""
    now, taken = [0.0], [0]

    def step(actions: torch.Tensor) -> None:
        taken[0] += 1
        now[0] += taken[0] * first

    environment = SimpleNamespace(
        device=torch.device("cpu"),
        spec=SimpleNamespace(episode_length=10),
        reset=lambda seed: taken.__setitem__(0, 0),
        step=step,
    )
    policy = SimpleNamespace(act=lambda generator: torch.zeros(1))
    seconds = timing._step_seconds(environment, policy, lambda: now[0])  # type: ignore[arg-type]
    assert taken == [steps]
    assert seconds == pytest.approx(first * (steps + 1) / 2)
