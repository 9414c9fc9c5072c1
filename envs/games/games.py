"""The games: graph, initial states, payoffs, transitions and optimum of each.

All rules are pure functions of the state as each agent observes it, (env, agent, feature) float64. Agent i receives
r_i(s, a_i, a_Ni), as in the paper's equation (1); in games with one shared payoff, every agent receives that payoff.
The matrix games follow Claus and Boutilier (1998), the two-step game Rashid et al. (2018, QMIX).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from envs.games.names import parts
from envs.games.optimum import best_joint_action
from envs.shapes import Float, Int

Neighbours = tuple[tuple[int, ...], ...]
Payoff = tuple[tuple[float, ...], ...]

CLIMBING: Payoff = ((11, -30, 0), (-30, 7, 6), (0, 0, 5))
"""Miscoordination around the best pair of actions is costly, and the third action looks safe."""
PENALTY: Payoff = ((10, 0, -100), (0, 2, 0), (-100, 0, 10))
"""There are two best pairs of actions, and the agents must agree on one; the second action is safe."""
TWO_STEP: tuple[Payoff, Payoff] = (((7, 7), (7, 7)), ((0, 1), (1, 8)))
"""The matrices A and B of the second step."""
COUPLING: Payoff = ((0, 1, 1), (1, 0, 1), (1, 1, 0))
"""Payoff shared by two neighbours on a ring or chain: 1 for different actions."""
CELL_PAY = (0.6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""Reward of a step that ends in each cell of the corridor: a small one at one end as a lure, a larger one at the other
end."""
WALK_STEPS = 8
SYMBOLS = 3


class Game(ABC):
    """The rules of one game, of fixed size and stateless."""

    one_payoff = False
    """Whether all agents share one payoff, the team reward; otherwise the team reward is the sum of the r_i."""

    def __init__(
        self,
        neighbours: Neighbours,
        num_actions: int,
        num_features: int,
        episode_length: int = 1,
        draws: int = 0,
        sees_index: bool = False,
    ) -> None:
        self.neighbours, self.num_agents = neighbours, len(neighbours)
        """Neighbours of each agent."""
        self.num_actions, self.episode_length = num_actions, episode_length
        self.num_features = num_features
        """Number of state features that each agent observes, not counting its index."""
        self.draws = draws
        """Number of uniform random numbers that determine an episode."""
        self.sees_index = sees_index
        """Whether an agent also observes its index."""

    @abstractmethod
    def start(self, uniform: Float[Tensor, "env draw"]) -> Float[Tensor, "env agent feature"]:
        """The initial states determined by the given random numbers."""

    @abstractmethod
    def reward(
        self, state: Float[Tensor, "env agent feature"], action: Int[Tensor, "env agent"]
    ) -> Float[Tensor, "env agent"]:
        """r_i(s, a_i, a_Ni) of every agent."""

    def follow(
        self, state: Float[Tensor, "env agent feature"], action: Int[Tensor, "env agent"]
    ) -> Float[Tensor, "env agent feature"]:
        """The next state; unchanged in games of one step."""
        return state

    @abstractmethod
    def optimum(self, state: Float[Tensor, "env agent feature"]) -> Int[Tensor, "env agent"]:
        """A joint action that maximises the sum of future team rewards."""

    def team_reward(self, reward: Float[Tensor, "env agent"]) -> Float[Tensor, " env"]:
        """The sum of the r_i, or the shared payoff."""
        return reward[:, 0] if self.one_payoff else reward.sum(-1)


class MatrixGame(Game):
    """Two agents, one step, and one payoff that depends on both actions. Agents observe their index and are
    neighbours."""

    one_payoff = True

    def __init__(self, payoff: Payoff) -> None:
        super().__init__(((1,), (0,)), len(payoff), 0, sees_index=True)
        self.payoff = payoff

    def start(self, uniform: Tensor) -> Tensor:
        return uniform.new_zeros(len(uniform), 2, 0)

    def reward(self, state: Tensor, action: Tensor) -> Tensor:
        return _table(self.payoff, state.dtype, state.device)[action[:, 0], action[:, 1]][:, None].expand(-1, 2)

    def optimum(self, state: Tensor) -> Tensor:
        return _largest_entry(state.new_tensor(self.payoff)).expand(len(state), -1)


class TwoStep(Game):
    """The first agent's first action selects the payoff matrix of the second step. The state is one of: first step, A,
    B."""

    one_payoff = True

    def __init__(self) -> None:
        super().__init__(((1,), (0,)), 2, 3, episode_length=2, sees_index=True)

    def start(self, uniform: Tensor) -> Tensor:
        return _show(torch.zeros(len(uniform), 2, dtype=torch.int64, device=uniform.device), 3)

    def reward(self, state: Tensor, action: Tensor) -> Tensor:
        nothing = ((0.0, 0.0), (0.0, 0.0))
        matrices = _table((nothing, *TWO_STEP), state.dtype, state.device)
        return matrices[state[:, 0].argmax(-1), action[:, 0], action[:, 1]][:, None].expand(-1, 2)

    def follow(self, state: Tensor, action: Tensor) -> Tensor:
        place = state[:, 0].argmax(-1)
        chosen = torch.where(place == 0, 1 + action[:, 0], place)
        return _show(chosen[:, None].expand(-1, 2), 3)

    def optimum(self, state: Tensor) -> Tensor:
        matrices = state.new_tensor(TWO_STEP)
        first = matrices.amax((1, 2)).argmax().repeat(2)  # towards the matrix with the largest entry
        return torch.stack([first, *map(_largest_entry, matrices)])[state[:, 0].argmax(-1)]


class Coordination(Game):
    """Agents on a ring or chain, each with private preferences psi_i(a), uniform in [-1, 1].

    r_i = psi_i(a_i) + 1/2 sum over neighbours j of w(a_i, a_j), so that the team reward counts every edge once.
    """

    def __init__(self, num_agents: int, closed: bool) -> None:
        line, num_actions = range(num_agents), len(COUPLING)
        beside: Neighbours = tuple(tuple(j for j in (i - 1, i + 1) if j in line) for i in line)
        if closed:
            beside = tuple(((i - 1) % num_agents, (i + 1) % num_agents) for i in line)
        super().__init__(beside, num_actions, num_actions, draws=num_agents * num_actions)
        self.closed = closed

    def start(self, uniform: Tensor) -> Tensor:
        return (2 * uniform - 1).view(-1, self.num_agents, self.num_actions)

    def reward(self, state: Tensor, action: Tensor) -> Tensor:
        paid = state.gather(-1, action[..., None]).squeeze(-1)
        edge = _table(COUPLING, state.dtype, state.device)[action, action.roll(-1, 1)]  # between agents i and i + 1
        if not self.closed:
            edge[:, -1] = 0
        return paid + (edge + edge.roll(1, 1)) / 2

    def optimum(self, state: Tensor) -> Tensor:
        return best_joint_action(state, state.new_tensor(COUPLING), self.closed)


class Echo(Game):
    """Agents on a directed ring: agent i earns 1 for naming the symbol observed by agent i - 1, its only neighbour."""

    def __init__(self, num_agents: int) -> None:
        before = tuple(((i - 1) % num_agents,) for i in range(num_agents))
        super().__init__(before, SYMBOLS, SYMBOLS, draws=num_agents)

    def start(self, uniform: Tensor) -> Tensor:
        return _show((uniform * SYMBOLS).long(), SYMBOLS)

    def reward(self, state: Tensor, action: Tensor) -> Tensor:
        return (action == self.optimum(state)).to(state.dtype)

    def optimum(self, state: Tensor) -> Tensor:
        return state.argmax(-1).roll(1, 1)


class TabularModel(NamedTuple):
    """A single-agent game as tables. The state with index S, the number of rows, is terminal."""

    observation: Float[Tensor, "state feature"]
    next_state: Int[Tensor, "state action"]
    """Next state; transitions are deterministic."""
    reward: Float[Tensor, "state action"]
    start: Float[Tensor, " state"]
    """Probability that an episode starts in each state."""


class Walk(Game):
    """One agent in a corridor for a fixed number of steps: left, stay or right. The reward of a step depends on the
    cell where it ends.

    The agent observes its cell and the time, both one-hot, and starts in a uniformly drawn cell. From the first three
    cells it is optimal to go to the lure, from all others to walk to the far end. Without neighbours, Intention
    Propagation reduces to soft actor-critic.
    """

    def __init__(self) -> None:
        self.num_cells = len(CELL_PAY)
        super().__init__(((),), 3, self.num_cells + WALK_STEPS, episode_length=WALK_STEPS, draws=1)

    def start(self, uniform: Tensor) -> Tensor:
        cell = (uniform * self.num_cells).long()
        return self._see(torch.zeros_like(cell), cell)

    def reward(self, state: Tensor, action: Tensor) -> Tensor:
        return state.new_tensor(CELL_PAY)[self._move(state, action)]

    def follow(self, state: Tensor, action: Tensor) -> Tensor:
        return self._see(state[..., self.num_cells :].argmax(-1) + 1, self._move(state, action))

    def optimum(self, state: Tensor) -> Tensor:
        cell, time = state[..., : self.num_cells].argmax(-1), state[..., self.num_cells :].argmax(-1)
        return self.action_values().argmax(-1).to(state.device)[time * self.num_cells + cell]

    def model(self) -> TabularModel:
        """The game as tables; the index of a state is time * num_cells + cell."""
        number = torch.arange(WALK_STEPS * self.num_cells)
        observation = self._see(number // self.num_cells, number % self.num_cells)
        states, actions = observation[:, None].expand(-1, 3, -1), torch.arange(3).expand(len(number), -1)
        reached = (number // self.num_cells + 1)[:, None] * self.num_cells + self._move(states, actions)
        start = (number < self.num_cells).double() / self.num_cells
        return TabularModel(observation, reached.clamp(max=len(number)), self.reward(states, actions), start)

    def action_values(self, gamma: float = 1.0) -> Float[Tensor, "state action"]:
        """The optimal action values in each state of `model`, by dynamic programming."""
        model = self.model()
        value = torch.zeros(len(model.start) + 1, dtype=torch.float64)
        for _ in range(WALK_STEPS):
            action_value = model.reward + gamma * value[model.next_state]
            value[:-1] = action_value.amax(-1)
        return action_value

    def _move(self, state: Tensor, action: Tensor) -> Tensor:
        """The index of the cell reached by an action."""
        return (state[..., : self.num_cells].argmax(-1) + action - 1).clamp(0, self.num_cells - 1)

    def _see(self, time: Tensor, cell: Tensor) -> Tensor:
        """The observation at a time in a cell; after the last step, no time is marked."""
        return torch.cat([_show(cell, self.num_cells), _show(time, WALK_STEPS + 1)[..., :-1]], dim=-1)


FAMILIES: dict[str, Callable[[int], Game]] = {
    "climbing": lambda _: MatrixGame(CLIMBING),
    "penalty": lambda _: MatrixGame(PENALTY),
    "two_step": lambda _: TwoStep(),
    "chain": lambda num_agents: Coordination(num_agents, closed=False),
    "ring": lambda num_agents: Coordination(num_agents, closed=True),
    "echo": Echo,
    "walk": lambda _: Walk(),
}
"""Constructors of the games, given a number of agents that `names.SIZES` allows."""


def game(task: str) -> Game:
    """The game with a name such as `game/ring_8`. Raises KeyError if there is none."""
    found = parts(task)
    if found is None:
        raise KeyError(f"there is no game {task!r}; the families are {', '.join(FAMILIES)}")
    family, num_agents = found
    return FAMILIES[family](num_agents)


def _show(index: Int[Tensor, "*batch"], size: int) -> Float[Tensor, "*batch feature"]:
    return one_hot(index, size).double()


@lru_cache(maxsize=64)
def _table(entries: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of nested tuples of numbers, cached because creating one synchronises with the device; not to be
    modified."""
    return torch.tensor(entries, dtype=dtype, device=device)


def _largest_entry(matrix: Float[Tensor, "action other"]) -> Int[Tensor, "2"]:
    """Row and column of the largest entry; ties go to the first."""
    index = matrix.argmax()
    return torch.stack([index // matrix.shape[1], index % matrix.shape[1]])
