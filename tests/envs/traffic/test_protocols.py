"""Named protocols, their settings, and what observations contain besides vehicle counts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch

import envs
from benchmark.config import resolve
from envs.traffic.environment import TrafficEnvironment
from envs.traffic.settings import Settings
from results.identity import identity_of
from tests.beside import needs_map
from tests.envs.traffic.hand import city, random_actions

TASK = "cityflow/synthetic_4"


def test_what_protocols_set() -> None:
    paper, libsignal = Settings(), Settings(protocol="libsignal")
    assert (paper.decision_seconds, paper.yellow_seconds, paper.episode_seconds) == (10, 5, 1000)
    assert (libsignal.decision_seconds, libsignal.yellow_seconds, libsignal.episode_seconds) == (10, 5, 3600)
    assert (paper.begins_green, libsignal.begins_green) == (False, True)
    assert Settings(protocol="libsignal", episode_seconds=600).episode_length == 60, "what is given has precedence"
    assert Settings(**asdict(libsignal)) == libsignal
    assert envs.spec(TASK, protocol="libsignal").episode_length == 360
    with pytest.raises(ValueError, match="protocol = 'colight': expected one of paper, libsignal"):
        envs.make(TASK, 1, protocol="colight")


def test_runs_by_the_papers_protocol_are_the_runs_they_were() -> None:
    """Their records do not name what was not there, and their hashes are those of records without it."""
    run = resolve(TASK, "iql", 0, 400, {})
    assert not {"protocol", "observation"} & run.record()["environment"].keys()
    named = resolve(TASK, "iql", 0, 400, {"environment.protocol": "paper", "environment.observation": "counts"})
    assert named.digest() == run.digest()
    assert (named.variant, run.variant) == ("default", "default")
    other = resolve(TASK, "iql", 0, 400, {"environment.protocol": "libsignal"})
    assert other.variant == "protocol=libsignal"
    assert other.digest() != run.digest()
    assert identity_of(other.record())["environment"]["protocol"] == "libsignal"
    assert other.record()["environment"]["episode_seconds"] == 3600


def first_reward(protocol: str, action: int) -> tuple[np.ndarray, np.ndarray]:
    """Phases shown after a reset and during the first seconds of a first decision."""
    environment = city(TASK, 1, protocol=protocol)
    environment.reset(0)
    traffic, agents = environment.batch.simulations[0].state.traffic, environment.signals.agents  # type: ignore[union-attr]
    before = traffic.phase[agents].copy()
    shown: list[np.ndarray] = []
    environment.batch.after_step = lambda: shown.append(traffic.phase[agents].copy())  # type: ignore[union-attr]
    environment.step(torch.full((1, 4), action))
    return before, np.array(shown)


@pytest.mark.parametrize(("protocol", "begins"), [("paper", 0), ("libsignal", 1)])
def test_the_first_decision(protocol: str, begins: int) -> None:
    """Yellow comes first, but for the phase that is shown already: by LibSignal's rules the first green one."""
    before, shown = first_reward(protocol, 0)
    assert before.tolist() == [begins] * 4
    assert shown[:5].tolist() == [[begins] * 4] * 5
    assert shown[5:].tolist() == [[1] * 4] * 5
    _, shown = first_reward(protocol, 3)
    assert shown.tolist() == [[0] * 4] * 5 + [[4] * 4] * 5


@needs_map("cityflow/hangzhou_16")
def test_max_pressure_by_libsignals_rules() -> None:
    """LibSignal gives 365.06 s for it (Mei et al. 2024, table of CityFlow 4 x 4)."""
    environment = city("cityflow/hangzhou_16", protocol="libsignal")
    reference = envs.reference_policies(environment.task)["max_pressure"](environment)
    environment.reset(0)
    for _ in range(360):
        environment.step(reference.act(torch.Generator()))
    assert environment.scores()["average_travel_time"].item() == pytest.approx(365.06, abs=0.005)


def table(environment: TrafficEnvironment, lanes: np.ndarray, by_lane: np.ndarray) -> np.ndarray:
    """(agent, lane) numbers of a table of lanes, in tens, 0 where there is none."""
    return (np.where(lanes >= 0, by_lane[lanes], 0) / 10).astype(np.float32)


@pytest.mark.parametrize("kind", ["counts", "waiting", "segments"])
def test_what_is_observed(kind: Any, generator: torch.Generator) -> None:
    """Everything is counted here vehicle by vehicle."""
    environment = city(TASK, 1, observation=kind)
    assert environment.spec == envs.spec(TASK, observation=kind)
    step = environment.reset(0)
    simulation, signals = environment.batch.simulations[0], environment.signals
    arrays = environment.city.network.arrays
    standing_seen = near_seen = 0
    for decision in range(1, 61):
        actions = random_actions(environment, generator)
        step = environment.step(actions)
        vehicles = simulation.state.traffic.vehicles[
            simulation.state.pool.members
        ][  # type: ignore[union-attr]
            : simulation.running + simulation.waiting
        ]
        counts, standing, near = (np.zeros(len(arrays.lane_road)) for _ in range(3))
        for vehicle in vehicles:
            lane = vehicle["drivable"]
            if vehicle["running"] and lane < len(counts):
                counts[lane] += 1
                standing[lane] += vehicle["speed"] < 0.1
                near[lane] += arrays.length[lane] - vehicle["distance"] <= 10 * arrays.max_speed[lane]
        expected = [table(environment, signals.lanes, counts)]
        if kind != "counts":
            expected.append(table(environment, signals.lanes, standing))
        if kind == "segments":
            expected += [table(environment, signals.lanes, near), table(environment, signals.leaving_lanes, counts)]
        expected.append(np.eye(8, dtype=np.float32)[actions[0]])
        if kind != "counts":
            expected.append(np.full((4, 1), 1 - decision / 100, dtype=np.float32))
        assert np.array_equal(step.observation[0].numpy(), np.concatenate(expected, axis=1))
        standing_seen, near_seen = standing_seen + standing.sum(), near_seen + (counts - near).sum()
    assert standing_seen > 0 < near_seen


def test_lanes_that_leave_lie_clockwise_from_the_north() -> None:
    environment = city(TASK)
    network, signals = environment.city.network, environment.signals
    agent = int(np.flatnonzero(signals.agents == network.intersection_index["intersection_1_1"])[0])
    names = [network.lane_ids[lane] for lane in signals.leaving_lanes[agent]]
    assert names == [f"road_1_1_{heading}_{lane}" for heading in (1, 0, 3, 2) for lane in range(3)]
