"""How fast the engines of Jungle step, and that they do not grow. `pytest tests/benchmarks --benchmark-enable`.

Rates are env steps per second of all copies together on one CPU thread, with observations and neighbours, episodes and
their starts included. Beside them stands magent2 driven bare, in a loop over its worlds: actions, step, rewards, the
dead, and the 123 numbers that every agent sees, but neither neighbours, nor positions, nor checks. Slowness does not
fail.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from envs.jungle.environment import JungleEnvironment
from envs.jungle.rules import EPISODE_LENGTH, NUM_ACTIONS, jungle
from tests.envs.jungle.hand import ENGINES, make, needs_magent2

TASK = "magent/jungle_20"
COPIES = (1, 64)
SECONDS = 0.5
"""Time for which each rate is measured, three times; the best counts."""


def drawn_actions(copies: int) -> torch.Tensor:
    """Actions (step, env, agent) of an episode."""
    agents = jungle(TASK).num_agents
    generator = torch.Generator().manual_seed(0)
    return torch.randint(NUM_ACTIONS, (EPISODE_LENGTH, copies, agents), generator=generator)


def play_episode(environment: JungleEnvironment, actions: torch.Tensor) -> None:
    """One episode of every copy."""
    environment.reset()
    for action in actions:
        environment.step(action)


def play_bare_episode(worlds: list[Any], actions: np.ndarray) -> None:
    """The same on magent2 alone, with starts of its own; actions are int32."""
    size = jungle(TASK)
    for world in worlds:
        world.reset()
        for handle, units in zip(world.get_handles(), (size.num_agents, size.num_foods), strict=True):
            world.add_agents(handle, method="random", n=units)
        observe_bare(world)
    for chosen in actions:
        for world, action in zip(worlds, chosen, strict=True):
            agents = world.get_handles()[0]
            world.set_action(agents, action)
            world.step()
            world.get_reward(agents)
            world.clear_dead()
            observe_bare(world)


def observe_bare(world: Any) -> np.ndarray:
    """What the agents of one world see (agent, 123)."""
    view, features = world.get_observation(world.get_handles()[0])
    return np.concatenate(((view[..., 1] - view[..., 4]).reshape(len(view), -1), features[:, :-3:-1]), axis=1)


def player(engine: str, copies: int) -> Callable[[], None]:
    """What plays an episode of all copies; everything is compiled."""
    torch.set_num_threads(1)
    actions = drawn_actions(copies)
    if engine == "bare":
        from envs.jungle.original import _world

        worlds = [_world(jungle(TASK), 0) for _ in range(copies)]
        return partial(play_bare_episode, worlds, actions.numpy().astype(np.int32))
    environment = make(TASK, copies, engine)
    environment.reset(0)
    play_episode(environment, actions)
    return partial(play_episode, environment, actions)


def steps_per_second(engine: str, copies: int) -> float:
    """The best of three rates, env steps of all copies."""
    play, rates = player(engine, copies), []
    for _ in range(3):
        episodes, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < SECONDS:
            play()
            episodes += 1
        rates.append(episodes * EPISODE_LENGTH * copies / (time.perf_counter() - begin))
    return max(rates)


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize("engine", ENGINES)
def test_episode(benchmark: Any, engine: str, copies: int) -> None:
    benchmark(player(engine, copies))


@pytest.mark.bench
def test_speed_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Print the table."""
    needs_magent2()
    rows = []
    for copies in COPIES:
        bare = steps_per_second("bare", copies)
        rows.append(f"{copies:>6}{'magent2 alone':>16}{bare:>14.0f}{1:>12.2f}")
        for engine in reversed(ENGINES):
            rate = steps_per_second(engine, copies)
            rows.append(f"{copies:>6}{engine:>16}{rate:>14.0f}{rate / bare:>12.2f}")
    with capsys.disabled():
        print(f"\nenv steps/s of {TASK}, observations included, one thread")
        print(f"{'copies':>6}{'engine':>16}{'env steps/s':>14}{'x alone':>12}")
        print(*rows, sep="\n")


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "steps"), [("numba", 1_000_000), ("torch", 300_000), ("magent2", 200_000)])
def test_memory_is_flat(engine: str, steps: int) -> None:
    """So many env steps do not raise the memory of the process by more than 5 MB after a warm-up."""
    play = player(engine, 64)
    for _ in range(5):
        play()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB on Linux
    for _ in range(steps // (64 * EPISODE_LENGTH)):
        play()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5_000
