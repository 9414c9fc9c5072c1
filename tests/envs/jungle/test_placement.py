"""Starting cells: uniform, each unit its own, and unrelated from seed to seed and from episode to episode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from envs.jungle.placement import starting_cells
from envs.jungle.rules import jungle
from tests.envs.jungle.hand import ENGINES, make

TASKS = ("magent/jungle_2", "magent/jungle_6", "magent/jungle_20", "magent/jungle_100", "magent/jungle_1000")
JUNGLE = jungle("magent/jungle_20")


def numbers(cells: torch.Tensor, side: int) -> torch.Tensor:
    """Cells (env, unit, xy) as numbers from 0 to the number of free cells less 1."""
    return (cells[..., 1] - 1) * (side - 2) + cells[..., 0] - 1


@pytest.mark.parametrize("task", TASKS)
def test_units_stand_on_cells_of_their_own_inside_the_wall(task: str) -> None:
    size = jungle(task)
    cells = starting_cells(size, 3, range(50))
    assert cells.dtype == torch.int64
    assert cells.shape == (50, size.num_agents + size.num_foods, 2)
    assert 1 <= cells.min() <= cells.max() <= size.side - 2
    assert (numbers(cells, size.side).sort(-1).values.diff(dim=-1) > 0).all()


def test_every_cell_is_equally_likely_for_every_unit() -> None:
    """32 units in 20,000 episodes, 25.5 of each unit on each of 784 cells; 32 tests, none of them below 0.1%."""
    drawn = numbers(starting_cells(JUNGLE, 0, range(20_000)), 30).numpy()
    chances = [chisquare(np.bincount(unit, minlength=784)).pvalue for unit in drawn.T]
    assert min(chances) > 0.001
    assert max(chances) < 0.999
    assert chisquare(np.bincount(drawn.ravel(), minlength=784)).pvalue > 0.001


def test_pairs_of_units_are_unrelated() -> None:
    """Where a unit stands says nothing of another: columns of the first two agents, and of an agent and a food."""
    cells = starting_cells(JUNGLE, 1, range(20_000)).numpy()
    for one, two in ((0, 1), (0, 20), (19, 31)):
        pairs = (cells[:, one, 0] - 1) * 28 + cells[:, two, 0] - 1
        # units that share a column have 27 rows left of 28: within the noise of so many draws
        assert chisquare(np.bincount(pairs, minlength=784)).pvalue > 0.001


@pytest.mark.parametrize("unit", [0, 20])
@pytest.mark.parametrize("axis", [0, 1])
def test_neighbouring_seeds_and_episodes_are_unrelated(unit: int, axis: int) -> None:
    by_seed = np.array([int(starting_cells(JUNGLE, seed, range(1))[0, unit, axis]) for seed in range(2000)])
    by_episode = starting_cells(JUNGLE, 7, range(2000))[:, unit, axis].numpy()
    for series in (by_seed, by_episode):
        assert abs(np.corrcoef(series[:-1], series[1:])[0, 1]) < 0.07  # three standard deviations
        jumps = np.bincount(np.diff(series) % 28, minlength=28)
        assert jumps.max() < 2000 / 28 + 5 * np.sqrt(2000 / 28)


def test_batches_are_episodes_one_after_the_other() -> None:
    together = starting_cells(JUNGLE, 5, range(10, 16))
    apart = torch.cat([starting_cells(JUNGLE, 5, range(episode, episode + 1)) for episode in range(10, 16)])
    assert torch.equal(together, apart)
    assert not torch.equal(together, starting_cells(JUNGLE, 6, range(10, 16)))


@pytest.mark.parametrize("backend", ENGINES)
def test_environments_start_there(backend: str) -> None:
    environment = make("magent/jungle_6", 3, backend)
    for seed, episodes in ((4, range(3)), (None, range(3, 6)), (2**63 - 1, range(3))):
        environment.reset(seed)
        cells = starting_cells(environment.jungle, 4 if seed is None else seed, episodes)
        assert torch.equal(environment.position, cells[:, :6])
        assert torch.equal(environment.food, cells[:, 6:])


def test_starts_of_a_seed_never_change() -> None:
    """Runs of different versions of this project stay comparable."""
    cells = starting_cells(JUNGLE, 0, range(1))[0]
    assert cells[[0, 1, 19, 20, 31]].tolist() == [[8, 19], [19, 20], [26, 3], [13, 28], [6, 9]]
