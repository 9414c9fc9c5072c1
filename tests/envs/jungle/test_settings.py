"""Which jungles there are, and what can be set."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

import envs
from envs.errors import UnknownTaskError
from envs.jungle.rules import TASKS, jungle
from envs.jungle.settings import Settings
from tests.envs.jungle.hand import make, random_actions, same


def test_sizes() -> None:
    """Three foods for five agents; cells enough for the units to stand as loosely as in the published task."""
    sizes = {n: jungle(f"magent/jungle_{n}") for n in range(2, 1001)}
    assert (sizes[20].num_foods, sizes[20].side) == (12, 30)
    assert (sizes[6].num_foods, sizes[6].side) == (4, 18)
    for agents, size in sizes.items():
        assert size.num_agents == agents
        assert abs(size.num_foods - 0.6 * agents) <= 0.5
        assert size.num_foods >= 1
        crowd = (agents + size.num_foods) / (size.side - 2) ** 2
        assert crowd == pytest.approx(32 / 784, rel=0.12)
        spec = envs.spec(f"magent/jungle_{agents}")
        assert spec.num_agents == agents
        assert spec.max_neighbours == min(agents - 1, 4 if agents < 30 else 8)
    assert all(one.side <= two.side for one, two in zip(sizes.values(), list(sizes.values())[1:], strict=False))


@pytest.mark.parametrize("agents", [2, 3, 33, 1000])
def test_any_size_can_be_played(agents: int, generator: torch.Generator) -> None:
    both = [make(f"magent/jungle_{agents}", 1, backend) for backend in ("numba", "torch")]
    assert same(*(environment.reset(0) for environment in both))
    for _ in range(2):
        actions = random_actions(both[0], generator)
        assert same(*(environment.step(actions) for environment in both))


@pytest.mark.parametrize("name", ["1", "1001", "0", "-3", "020", "20 ", "x", "", "20.0", "2e2"])
def test_unknown_sizes(name: str) -> None:
    with pytest.raises(UnknownTaskError, match=f"there is no task 'magent/jungle_{name}'"):
        envs.make(f"magent/jungle_{name}", 1)
    with pytest.raises(UnknownTaskError):
        envs.spec(f"magent/jungle_{name}")


def test_unknown_tasks_get_a_hint() -> None:
    assert set(TASKS) <= set(envs.tasks())
    with pytest.raises(UnknownTaskError, match=r"did you mean.*magent/jungle_20"):
        envs.make("magent/jungel_20", 1)


def test_settings() -> None:
    assert envs.settings("magent/jungle_20") is Settings
    assert next(field.name for field in dataclasses.fields(Settings)) == "reward"
    bad: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"reward": "team"}, ValueError, "reward = 'team': expected one of local, shared"),
        ({"backend": "jax"}, ValueError, "backend = 'jax': expected one of auto, numba, torch, magent2"),
        ({"episode_length": 0}, ValueError, "episode_length = 0: expected a positive whole number"),
        ({"episode_length": True}, ValueError, "episode_length = True: expected a positive whole number"),
        ({"episode_length": 25.0}, ValueError, "episode_length = 25.0: expected a positive whole number"),
        ({"num_neighbours": 0}, ValueError, "num_neighbours = 0: expected none or a positive whole number"),
        ({"num_neighbours": 6}, ValueError, "each of the 6 agents has only 5 others"),
        ({"rewards": "local"}, TypeError, "has no setting rewards; it has reward, episode_length"),
    ]
    for settings, error, message in bad:
        with pytest.raises(error, match=message):
            envs.make("magent/jungle_6", 1, **settings)
    for backend in ("numba", "magent2"):
        with pytest.raises(ValueError, match=f"backend='{backend}' runs on the device cpu, not meta"):
            Settings(backend=backend).engine(torch.device("meta"))
    with pytest.raises(ValueError, match="num_envs must be at least 1, not 0"):
        envs.make("magent/jungle_6", 0)
    for seed in (-1, 2**63):
        with pytest.raises(ValueError, match="seed must be between 0 and"):
            envs.make("magent/jungle_6", 1).reset(seed)


def test_the_fastest_engine_is_chosen() -> None:
    assert Settings().engine(torch.device("cpu")) == "numba"
    assert Settings().engine(torch.device("cuda")) == "torch"
    assert Settings(backend="torch").engine(torch.device("cpu")) == "torch"
    assert Settings(backend="magent2").engine(torch.device("cpu")) == "magent2"
