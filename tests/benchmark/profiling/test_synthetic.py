"""Made-up transitions have the shapes and the graphs they promise."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import envs
from benchmark.profiling.synthetic import (
    ROAD_GRID_AGENTS,
    navigation_spec,
    problem,
    random_batch,
    random_graph,
    road_grid_spec,
)


@pytest.mark.parametrize("agents", [15, 30, 200])
def test_navigation_has_the_shape_of_the_task(agents: int) -> None:
    assert problem(agents) == envs.spec(f"mpe/cooperative_navigation_{agents}")


def test_random_graphs_are_uniform_and_without_oneself(generator: torch.Generator) -> None:
    """Every other agent is a neighbour equally often, and none twice."""
    spec = dataclasses.replace(navigation_spec(6), max_neighbours=2)
    graph = random_graph(spec, 4000, generator)
    assert graph.mask.all()
    assert (graph.neighbours.sort(-1).values.diff(dim=-1) > 0).all()
    counts = torch.stack([graph.neighbours[:, agent].flatten().bincount(minlength=6) for agent in range(6)])
    expected = torch.full((6, 6), 4000 * 2 / 5).fill_diagonal_(0.0)
    torch.testing.assert_close(counts.float(), expected, atol=150.0, rtol=0)
    everyone = random_graph(dataclasses.replace(spec, max_neighbours=5), 3, generator).neighbours
    assert torch.equal(everyone.sort(-1).values[0, 2], torch.tensor([0, 1, 3, 4, 5]))


def test_the_road_grid_is_masked_at_its_border(generator: torch.Generator) -> None:
    spec = problem(ROAD_GRID_AGENTS)
    assert (spec.observation_dim, spec.num_actions, spec.static_graph, spec.relaxed_actions) == (24, 8, True, False)
    batch = random_batch(spec, 3, 0, generator)
    neighbours, mask = batch.graph
    assert mask[0].sum(-1).bincount().tolist() == [0, 0, 4, 4 * 33, 33 * 33]
    assert not neighbours[~mask].any()
    assert neighbours[2, 36].tolist() == [1, 71, 35, 37], "above, below, left, right"
    assert mask[0, 0].tolist() == [False, True, False, True]
    assert neighbours.stride(0) == 0, "held once, as the replay holds it"
    both = {(i, j) for i in range(ROAD_GRID_AGENTS) for j in neighbours[0, i][mask[0, i]].tolist()}
    assert both == {(j, i) for i, j in both}


def test_actions_are_what_the_learner_stores(generator: torch.Generator) -> None:
    spec = navigation_spec(5)
    indices = random_batch(spec, 200, 0, generator).action
    assert (indices.dtype, indices.min().item(), indices.max().item()) == (torch.int64, 0, 4)
    rows = random_batch(spec, 7, 5, generator).action
    assert rows.shape == (7, 5, 5)
    torch.testing.assert_close(rows.sum(-1), torch.ones(7, 5))
    assert rows.min() > 0
    continuous = dataclasses.replace(spec, num_actions=0, action_dim=2, relaxed_actions=False)
    forces = random_batch(continuous, 200, 2, generator).action
    assert forces.shape == (200, 5, 2)
    assert -1 <= forces.min() < -0.9 < 0.9 < forces.max() <= 1


def test_impossible_problems_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="expected at least 2"):
        problem(1)
    with pytest.raises(ValueError, match="10 agents with 4 neighbours are no square grid"):
        random_batch(road_grid_spec(10), 1, 0, generator)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
