"""Whole hours with the numbers that CityFlow gives: average travel time to two decimals and vehicles that have not
arrived, by the policies of this project. One more anchor, of synthetic roads, is our own."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import envs
from envs.traffic.environment import TrafficEnvironment
from envs.traffic.reference_policies import FixedTime
from tests.beside import needs_map
from tests.envs.traffic import crooked
from tests.envs.traffic.hand import city

HANGZHOU, NARROW, IRREGULAR = "cityflow/hangzhou_16", "cityflow/manhattan_48", "cityflow/manhattan_96"


class Hour(NamedTuple):
    """How an hour ended."""

    average_travel_time: float
    unfinished: int


class AllPhases(FixedTime):
    """The eight phases in turn instead of four."""

    def __init__(self, environment: TrafficEnvironment) -> None:
        super().__init__(environment)
        self._cycle = np.tile(np.arange(8), (environment.spec.num_agents, 1))
        self._ends = np.tile(30.0 * np.arange(1, 9), (environment.spec.num_agents, 1))


class Quick(FixedTime):
    """Phases of a quarter of a minute."""

    green_seconds = 15


def hour(task: str, policy: Any, seed: int = 0, all_phases: bool = False, **settings: int) -> Hour:
    """One hour with a seed of the engine. With `all_phases` policies may show phases that open nothing, too."""
    environment = city(task, episode_seconds=3600, **settings)
    if all_phases:
        signals = environment.signals
        environment.signals = dataclasses.replace(signals, action_mask=np.ones_like(signals.action_mask))
    environment.reset(0)
    environment.batch.seed([seed])
    policies = envs.reference_policies(task)
    acting = (policies[policy] if isinstance(policy, str) else policy)(environment)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(environment.spec.episode_length):
        environment.step(acting.act(generator))
    simulation = environment.batch.simulations[0]
    return Hour(simulation.average_travel_time(), simulation.running + simulation.waiting)


@needs_map(HANGZHOU)
@pytest.mark.parametrize(
    ("policy", "settings", "seconds", "unfinished"),
    [
        ("max_pressure", {}, 365.06, 276),
        ("max_pressure", {"yellow_seconds": 0}, 347.49, 263),
        ("max_pressure", {"decision_seconds": 15}, 360.85, 274),
        ("fixed_time", {}, 568.87, 544),
        ("fixed_time", {"yellow_seconds": 0}, 506.24, 453),
        (AllPhases, {}, 575.56, 561),
        (Quick, {"decision_seconds": 15}, 614.98, 664),
    ],
)
def test_hangzhou(policy: Any, settings: dict[str, int], seconds: float, unfinished: int) -> None:
    reached = hour(HANGZHOU, policy, **settings)
    assert (round(reached.average_travel_time, 2), reached.unfinished) == (seconds, unfinished)


@needs_map(NARROW)
@pytest.mark.parametrize(("policy", "seconds"), [("max_pressure", 203.08), ("fixed_time", 1120.40)])
def test_manhattan_16_by_3(policy: str, seconds: float) -> None:
    assert round(hour(NARROW, policy).average_travel_time, 2) == seconds


@needs_map(IRREGULAR)
@pytest.mark.parametrize(("policy", "seconds"), [("max_pressure", 228.03), ("fixed_time", 786.70)])
def test_irregular_manhattan(policy: str, seconds: float) -> None:
    """The recorded policies also show phases that open nothing at an intersection; ours are not allowed to."""
    assert round(hour(IRREGULAR, policy, all_phases=True).average_travel_time, 2) == seconds


OTHERS = {
    "hangzhou_5816_16": (559.53, 446.91),
    "jinan_12": (506.96, 374.56),
    "jinan_2000_12": (412.10, 328.96),
    "jinan_2500_12": (447.36, 332.94),
    "newyork_16": (1008.63, 546.49),
    "los_angeles_4": (64.58, 18.59),
    "cologne_1": (91.50, 76.18),
}
"""Seconds with fixed time and with max pressure."""


@pytest.mark.filterwarnings("ignore:.*no route and .* switched off:RuntimeWarning")
@pytest.mark.parametrize("name", [pytest.param(name, marks=needs_map(f"cityflow/{name}")) for name in OTHERS])
def test_anchors_on_other_maps(name: str) -> None:
    """Numbers of this project itself."""
    reached = [hour(f"cityflow/{name}", policy) for policy in ("fixed_time", "max_pressure")]
    assert tuple(round(reached_hour.average_travel_time, 2) for reached_hour in reached) == OTHERS[name]


@needs_map(HANGZHOU)
def test_random_control_in_distribution() -> None:
    """The recorded run had random numbers of its own: it must be one of those that happen here."""
    times = np.array([hour(HANGZHOU, "random", seed, yellow_seconds=0).average_travel_time for seed in range(12)])
    assert abs(488.8 - times.mean()) < 3 * times.std(ddof=1)
    assert times.std(ddof=1) < 30


@pytest.mark.parametrize(
    ("task", "policy", "seconds", "unfinished"),
    [
        ("cityflow/synthetic_9", "max_pressure", 219.05, 514),
        ("cityflow/synthetic_9", "fixed_time", 451.73, 1332),
        (crooked.TASK, "max_pressure", 120.84, 40),
        (crooked.TASK, "fixed_time", 251.97, 76),
    ],
)
def test_anchors_of_this_project(task: str, policy: str, seconds: float, unfinished: int) -> None:
    """Numbers of this project itself, for those who do not have the maps."""
    reached = hour(task, policy)
    assert (round(reached.average_travel_time, 2), reached.unfinished) == (seconds, unfinished)
