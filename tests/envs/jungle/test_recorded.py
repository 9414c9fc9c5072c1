"""A recording of magent2 itself, played with the engines here: exact, and alive where magent2 is not installed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.jungle.comparison import happenings
from envs.jungle.rules import jungle
from tests.envs.jungle.hand import ENGINES, make

PATH = Path(__file__).with_name("data") / "jungle_20.npz"
Recording = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Its arrays; cells and actions as int64."""
    with np.load(PATH) as arrays:
        return {
            name: torch.from_numpy(array.astype(np.int64) if array.dtype == np.uint8 else array)
            for name, array in arrays.items()
        }


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("at_once", [True, False])
def test_recorded_episodes(backend: str, at_once: bool, recording: Recording) -> None:
    """Where everyone is, what it sees and what it is paid, in every step; all episodes at once, or one by one."""
    episodes, steps, agents = recording["actions"].shape
    assert (episodes, steps, agents) == (6, 25, 20)
    for rows in [slice(None)] if at_once else [slice(episode, episode + 1) for episode in range(episodes)]:
        part = {name: array[rows] for name, array in recording.items()}
        environment = make("magent/jungle_20", len(part["agents"]), backend)
        step = environment.place(part["agents"], part["foods"])
        for time in range(steps + 1):
            assert torch.equal(environment.position, part["position"][:, time])
            assert torch.equal(step.observation[..., :121], part["view"][:, time].float())
            assert torch.equal(step.observation[..., 121:], part["place"][:, time])
            if time < steps:
                step = environment.step(part["actions"][:, time])
                assert torch.equal(step.reward, part["reward"][:, time])
        assert torch.equal(environment.scores()["return"], part["reward"].double().sum((1, 2)))


def test_much_happens_in_the_recording(recording: Recording) -> None:
    """All on which the order of a step depends, so that no other rules could pass."""
    counts: Counter[str] = Counter()
    side, position = jungle("magent/jungle_20").side, recording["position"]
    for time, actions in enumerate(recording["actions"].unbind(1)):
        counts.update(happenings(position[:, time], recording["foods"], actions, position[:, time + 1], side))
    assert all(counts.values()), counts
    assert PATH.stat().st_size < 60_000
