"""What agents see of one another can be left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.envs.conftest import FAMILIES, crowd, particles

BACKENDS = ("numba", "torch")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", FAMILIES)
def test_observations_without_agents_are_the_other_columns(task: str, backend: str) -> None:
    whole, without = (particles(task, 4, observe_agents=shown, backend=backend) for shown in (True, False))
    crowd(whole, 3, width=1.0)
    seen = whole.set_state(whole.position, whole.velocity).observation
    left = without.set_state(whole.position, whole.velocity)
    kept, column = list(range(4)), 4
    for section in whole.scenario.sections:
        if section.entities.start >= whole.spec.num_agents:
            kept += range(column, column + section.width)
        column += section.width
    assert len(kept) < column == whole.spec.observation_dim
    assert without.spec.observation_dim == len(kept)
    np.testing.assert_array_equal(left.observation.numpy(), seen[..., kept].numpy())


@pytest.mark.parametrize("task", FAMILIES)
def test_without_agents_nobody_sees_where_another_is(task: str) -> None:
    environment = particles(task, 1, observe_agents=False)
    crowd(environment, 3, width=1.0)
    before = environment.set_state(environment.position, environment.velocity).observation
    moved = environment.position
    moved[:, 1] += 0.3
    after = environment.set_state(moved, environment.velocity).observation
    others = [0, *range(2, environment.spec.num_agents)]
    assert torch.equal(before[:, others], after[:, others])
    assert not torch.equal(before[:, 1], after[:, 1])
