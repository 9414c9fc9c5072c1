"""Scripted policies score what they score in the published environments.

The numbers are means and standard deviations of the printed return over 20 episodes of the published environments. The
20 episodes are few and returns have heavy tails (rare collisions cost much), so the larger of the two standard
deviations, theirs and ours, gives the error of their mean.
"""

from __future__ import annotations

import math

import pytest
import torch

import envs
from envs.mpe.scenarios import SCENARIOS
from tests.beside import needs_prey
from tests.envs.conftest import particles

PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "mpe/cooperative_navigation_3": {
        "random": (-407, 118),
        "stay": (-406, 126),
        "nearest": (-341, 175),
        "assignment": (-147, 63),
    },
    "mpe/cooperative_navigation_6": {
        "random": (-4532, 770),
        "stay": (-4529, 872),
        "nearest": (-3478, 891),
        "assignment": (-1838, 343),
    },
    "mpe/cooperative_navigation_15": {
        "random": (-3840, 474),
        "stay": (-3552, 623),
        "nearest": (-6350, 1729),
        "assignment": (-994, 288),
    },
    "mpe/cooperative_navigation_30": {
        "random": (-14632, 1007),
        "stay": (-13266, 1278),
        "nearest": (-25399, 5816),
        "assignment": (-3789, 888),
    },
    "mpe/heterogeneous_navigation_4": {
        "random": (-223, 47),
        "stay": (-196, 27),
        "nearest": (-136, 92),
        "assignment": (-51, 15),
    },
    "mpe/heterogeneous_navigation_8": {
        "random": (-1018, 234),
        "stay": (-962, 232),
        "nearest": (-885, 392),
        "assignment": (-309, 115),
    },
    "mpe/heterogeneous_navigation_16": {
        "random": (-4146, 601),
        "stay": (-3845, 549),
        "nearest": (-3701, 1198),
        "assignment": (-1413, 432),
    },
    "mpe/cooperative_push_3": {"random": (-180, 36), "stay": (-178, 37), "nearest": (-175, 41)},
    "mpe/cooperative_push_6": {"random": (-339, 68), "stay": (-339, 69), "nearest": (-283, 74)},
    "mpe/cooperative_push_15": {"random": (-1671, 709), "stay": (-1672, 707), "nearest": (-1363, 724)},
    "mpe/cooperative_push_30": {"random": (-2802, 1117), "stay": (-2823, 1132), "nearest": (-1500, 1197)},
    "mpe/prey_and_predator_3": {"random": (-24, 15), "stay": (-24, 14), "nearest": (-12, 13)},
    "mpe/prey_and_predator_6": {"random": (-42, 95), "stay": (-55, 67), "nearest": (237, 223)},
    "mpe/prey_and_predator_15": {"random": (-177, 151), "stay": (-140, 184), "nearest": (-19, 186)},
    "mpe/prey_and_predator_30": {"random": (-547, 394), "stay": (-544, 322), "nearest": (-246, 397)},
}
CASES = [
    pytest.param(task, policy, marks=[needs_prey] if "prey" in task else [])
    for task, policies in PUBLISHED.items()
    for policy in policies
]
EPISODES, PUBLISHED_EPISODES = 200, 20


def returns(task: str, policy: str, seed: int = 17) -> torch.Tensor:
    """Printed returns (episode,) of a policy."""
    environment = particles(task, EPISODES, prey_weights="original")
    reference = envs.reference_policies(task)[policy](environment)
    generator = torch.Generator().manual_seed(seed)
    environment.reset(seed)
    for _ in range(environment.spec.episode_length):
        environment.step(reference.act(generator))
    return environment.scores()["return"]


@pytest.mark.parametrize(("task", "policy"), CASES)
def test_policies_score_as_published(task: str, policy: str) -> None:
    ours = returns(task, policy)
    mean, deviation = PUBLISHED[task][policy]
    spread = ours.std().item()
    error = math.sqrt(max(deviation, spread) ** 2 / PUBLISHED_EPISODES + spread**2 / EPISODES)
    assert abs(ours.mean().item() - mean) < 4 * error


def test_every_task_has_its_reference_policies() -> None:
    for task in SCENARIOS:
        navigation = "navigation" in task
        assert list(envs.reference_policies(task)) == ["random", "stay", "nearest"] + ["assignment"] * navigation
    assignment = envs.reference_policies("mpe/cooperative_navigation_3")["assignment"]
    with pytest.raises(ValueError, match="no landmarks to assign"):
        assignment(envs.make("mpe/cooperative_push_3", 1))


def test_assignment_is_chosen_anew_in_every_episode() -> None:
    environment = particles("mpe/cooperative_navigation_6", 3, dtype="float64")
    reference = envs.reference_policies("mpe/cooperative_navigation_6")["assignment"](environment)
    generator = torch.Generator()
    distances = []
    for seed in (1, None):
        environment.reset(seed)
        for _ in range(25):
            environment.step(reference.act(generator))
        position = environment.position
        distances.append((position[:, :6, None] - position[:, None, 6:]).norm(dim=-1).amin(1).mean())
    assert max(distances) < 0.15
