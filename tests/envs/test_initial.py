"""Where episodes start."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from envs.mpe.initial import prey_noise, starting_positions
from envs.mpe.scenarios import SCENARIOS, Start, scenario, task_of_recording
from tests.envs.conftest import DATA

RECORDED = json.loads((DATA / "initial_statistics.json").read_text())


def statistics(agents: np.ndarray, landmarks: np.ndarray) -> dict[str, float]:
    """The recorded statistics of one starting state; `agents` with prey, `landmarks` with ball and target."""
    between = cdist(landmarks, landmarks)
    nearest = np.where(np.eye(len(landmarks), dtype=bool), np.inf, between).min(1)
    return {
        "landmark_nn_mean": float(nearest.mean()),
        "landmark_pair_mean": float(between[np.triu_indices(len(landmarks), 1)].mean()),
        "landmark_abs_mean": float(np.abs(landmarks).mean()),
        "agent_abs_mean": float(np.abs(agents).mean()),
    }


@pytest.mark.parametrize("name", RECORDED)
def test_distribution_is_the_published_one(name: str) -> None:
    """Means over many starts lie within 4 standard errors (of both samples) of the recorded means."""
    task, recorded = scenario(task_of_recording(name)), RECORDED[name]
    count = 600 if task.num_agents < 50 else 150
    mobile = task.num_agents + task.num_prey
    rows = [statistics(p[:mobile], p[mobile:]) for p in starting_positions(task, 3, range(count))]
    for quantity in rows[0]:
        values = np.array([row[quantity] for row in rows])
        error = values.std() * np.sqrt(1 / count + 1 / recorded["resets"])
        assert abs(values.mean() - recorded[quantity]) < 4 * error, quantity


@pytest.mark.parametrize("name", [name for name in RECORDED if "push" not in name])
def test_agents_are_independent_of_landmarks(name: str) -> None:
    """The distance from a landmark to the nearest learning agent is as recorded."""
    task, recorded = scenario(task_of_recording(name)), RECORDED[name]
    count = 600 if task.num_agents < 50 else 150
    first = task.num_agents + task.num_prey
    values = np.array(
        [cdist(p[first:], p[: task.num_agents]).min(1).mean() for p in starting_positions(task, 4, range(count))]
    )
    error = values.std() * np.sqrt(1 / count + 1 / recorded["resets"])
    assert abs(values.mean() - recorded["landmark_to_nearest_agent_mean"]) < 4 * error


@pytest.mark.parametrize("task", SCENARIOS)
def test_every_group_is_where_it_should_be(task: str) -> None:
    data = scenario(task)
    positions = starting_positions(data, 0, range(40))
    for placement in data.placements:
        group = positions[:, placement.entities.start : placement.entities.stop]
        assert np.abs(group).max() <= placement.half_width
        if placement.start == Start.POISSON:
            for points in group:
                between = cdist(points, points) + 10 * np.eye(len(points))
                assert between.min() > placement.minimum_distance


def test_targets_keep_their_distance() -> None:
    """The small push tasks draw until the target is far enough, the large ones at most twice."""
    small = starting_positions(scenario("mpe/cooperative_push_3"), 0, range(500))
    assert np.linalg.norm(small[:, 3] - small[:, 4], axis=1).min() > 0.8
    large = starting_positions(scenario("mpe/cooperative_push_15"), 0, range(4000))
    near = np.linalg.norm(large[:, 15] - large[:, 16], axis=1) < 1.0
    rng = np.random.default_rng(0)  # the chance that one uniform draw is too near, squared
    apart = np.linalg.norm(rng.uniform(-1.8, 1.8, (200_000, 2)) - rng.uniform(-1.8, 1.8, (200_000, 2)), axis=1)
    once = (apart < 1.0).mean()
    assert 0.6 * once**2 < near.mean() < 1.7 * once**2 + 0.02


def test_episodes_do_not_depend_on_their_company() -> None:
    """Episode e of a seed is the same whether it is played alone or among others."""
    for task in ("mpe/cooperative_navigation_15", "mpe/prey_and_predator_6"):
        data = scenario(task)
        together = starting_positions(data, 9, range(10))
        for first, last in ((0, 1), (3, 7), (9, 10)):
            assert np.array_equal(starting_positions(data, 9, range(first, last)), together[first:last])
        noise = prey_noise(data, 9, range(10))
        assert np.array_equal(prey_noise(data, 9, range(4, 6)), noise[4:6])


def test_seeds_and_episodes_differ() -> None:
    data = scenario("mpe/prey_and_predator_6")
    starts = np.concatenate([starting_positions(data, seed, range(50)) for seed in (0, 1, 2**40)])
    assert len(np.unique(starts[:, 0, 0])) == 150
    noise = np.concatenate([prey_noise(data, seed, range(50)) for seed in (0, 1, 2**40)])
    assert len(np.unique(noise)) == noise.size


def test_noise_is_uniform() -> None:
    noise = np.sort(prey_noise(scenario("mpe/prey_and_predator_15"), 0, range(40)).ravel())
    assert 0 < noise[0] < noise[-1] < 1
    assert np.abs(noise - np.linspace(0, 1, noise.size)).max() < 1.63 / np.sqrt(noise.size)  # Kolmogorov, 1 %
