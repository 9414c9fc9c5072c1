"""Comparison of the same episodes on two engines, number by number; for the command and the play see
`envs.jungle.verify`.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from envs.jungle.environment import JungleEnvironment
from envs.jungle.rules import (
    DOWN,
    EPISODE_LENGTH,
    LEFT,
    NUM_ACTIONS,
    NUM_MOVES,
    OFFSETS,
    RIGHT,
    STAY,
    UP,
    Jungle,
    jungle,
)
from envs.jungle.settings import Backend, Settings
from envs.protocols import Step
from envs.shapes import Bool, Int

GREEDY, AGGRESSIVE, MOBBING, RANDOM = range(4)
"""Behaviours of agents, fixed for an episode."""
NOISE = 0.1
"""Fraction of steps in which an agent acts at random whatever its mood."""
CROWDED_EVERY = 4
"""One in this many batches starts with all units in a cluster."""
ROOM = 1.5
"""Cells per unit in a cluster."""
MOST_COPIES, MOST_PAIRS = 64, 1_000_000
"""Maximum number of copies in a batch and of pairs of agents in all copies, which bound the memory used."""
_CPU = torch.device("cpu")


@dataclass
class Comparison:
    """Counts of compared numbers, events and differences."""

    name: str
    episodes: int = 0
    steps: int = 0
    """Steps played, summed over copies."""
    compared: Counter[str] = field(default_factory=Counter)
    """Count of numbers compared, by quantity."""
    happenings: Counter[str] = field(default_factory=Counter)
    """Counts of events that depend on the order of operations in a step."""
    differing: Counter[str] = field(default_factory=Counter)
    """Count of numbers that differ, by quantity."""
    first: dict[str, str] = field(default_factory=dict)
    """The first difference of each quantity that differs."""

    def equal(self, quantity: str, when: str, expected: Tensor, given: Tensor) -> None:
        """Compare two tensors (env, ...) of the current episodes, which must have the same dtype, shape and values."""
        self.compared[quantity] += expected.numel()
        if expected.dtype != given.dtype or expected.shape != given.shape:
            kinds = [f"{tensor.dtype} of shape {tuple(tensor.shape)}" for tensor in (expected, given)]
            self.differing[quantity] += expected.numel()
            self.first.setdefault(quantity, f"{when}: {kinds[1]} instead of {kinds[0]}")
        elif not torch.equal(expected, given):
            wrong = ~((expected == given) | ((expected != expected) & (given != given)))  # NaN equals NaN
            self.differing[quantity] += int(wrong.sum())
            if wrong.any():
                copy, *place = at = tuple(wrong.nonzero()[0].tolist())
                text = f"{when} of episode {self.episodes + copy}, at {place}"
                self.first.setdefault(quantity, f"{text}: {given[at].item()!r} instead of {expected[at].item()!r}")

    @property
    def failures(self) -> list[str]:
        """One message for each quantity that differs."""
        return [
            f"{self.name}: {self.differing[quantity]} of {self.compared[quantity]} {quantity} differ, first {text}"
            for quantity, text in self.first.items()
        ]

    def __str__(self) -> str:
        verdict = "differ" if self.first else "equal"
        lines = [f"{self.name}: {self.episodes} episodes, {self.steps} steps: {verdict}"]
        lines.append("  compared: " + ", ".join(f"{count:,} {name}" for name, count in self.compared.items()))
        lines += [f"  {name:<42}{count:>12,}" for name, count in self.happenings.items()]
        return "\n".join(lines)


def verify(
    task: str,
    episodes: int,
    seed: int = 0,
    backend: Backend = "numba",
    episode_length: int = EPISODE_LENGTH,
    reference: Backend = "magent2",
) -> Comparison:
    """Play the same episodes on two engines and compare everything they return.

    Differences are listed in the result's `failures`. Raises EnvironmentNotAvailableError if magent2 is requested but
    not installed, and ValueError for settings out of range.
    """
    result = Comparison(f"{task}, {backend} and {reference}")
    size, generator = jungle(task), torch.Generator().manual_seed(seed)
    most = max(1, min(MOST_COPIES, MOST_PAIRS // size.num_agents**2, episodes // CROWDED_EVERY))
    rounds = [(most, episodes // most), (episodes % most, 1)]
    with tqdm(total=episodes, desc=result.name, unit="episode", disable=None, leave=False) as bar:
        for copies, batches in rounds[: 2 if episodes % most else 1]:
            pair = [
                JungleEnvironment(size, Settings(backend=name, episode_length=episode_length), copies, _CPU)
                for name in (reference, backend)
            ]
            for batch in range(batches):
                _play(result, pair, _start(pair, seed + result.episodes, batch, generator), generator)
                bar.update(copies)
    return result


def _start(pair: list[JungleEnvironment], seed: int, batch: int, generator: torch.Generator) -> list[Step]:
    """Begin the same episodes in both: the first or next ones of a seed or, at intervals, crowded ones."""
    if (batch + 1) % CROWDED_EVERY:
        return [environment.reset(None if batch else seed) for environment in pair]
    cells = crowded_cells(pair[0].jungle, pair[0].num_envs, generator)
    agents = pair[0].spec.num_agents
    return [environment.place(cells[:, :agents], cells[:, agents:]) for environment in pair]


def _play(result: Comparison, pair: list[JungleEnvironment], starts: list[Step], generator: torch.Generator) -> None:
    """Play one episode of every copy to its end, with actions based on the reference, the first of the pair."""
    reference, _ = pair
    copies, agents = reference.num_envs, reference.spec.num_agents
    mood, food = draw_moods(copies, agents, generator), reference.food
    _compare(result, "step 0", pair, starts)
    for time in range(1, reference.spec.episode_length + 1):
        before = reference.position
        actions = mixed_actions(before, food, mood, generator)
        steps = [environment.step(actions) for environment in pair]
        _compare(result, f"step {time}", pair, steps)
        result.happenings.update(happenings(before, food, actions, reference.position, reference.jungle.side))
    scores = [environment.scores() for environment in pair]
    for name, score in scores[0].items():
        result.equal("scores", name, score, scores[1][name])
    result.episodes += copies
    result.steps += copies * reference.spec.episode_length


def _compare(result: Comparison, when: str, pair: list[JungleEnvironment], steps: list[Step]) -> None:
    """Compare everything that a step returns, and the positions."""
    positions = [environment.position for environment in pair]
    for quantity, tensors in (
        ("positions", positions),
        ("rewards", [step.reward for step in steps]),
        ("observations", [step.observation for step in steps]),
        ("neighbours", [step.graph.neighbours for step in steps]),
        ("ends", [step.truncated for step in steps]),
    ):
        result.equal(quantity, when, *tensors)


def crowded_cells(size: Jungle, copies: int, generator: torch.Generator) -> Int[Tensor, "env unit xy"]:
    """Cells of agents, then foods, all in one small square at a random place on the map, possibly at the wall."""
    units, inner = size.num_agents + size.num_foods, size.side - 2
    width = min(inner, math.ceil(math.sqrt(ROOM * units)))
    cells = torch.rand(copies, width**2, generator=generator).argsort(-1)[:, :units]
    corner = torch.randint(inner - width + 1, (copies, 1, 2), generator=generator) + 1
    return torch.stack((cells % width, cells // width), dim=-1) + corner


def draw_moods(copies: int, agents: int, generator: torch.Generator) -> Int[Tensor, "env agent"]:
    """A mood for every agent, with frequencies that vary between copies."""
    shares = torch.rand(copies, 4, generator=generator)
    return torch.multinomial(shares, agents, replacement=True, generator=generator)


def mixed_actions(
    position: Int[Tensor, "env agent xy"],
    food: Int[Tensor, "env food xy"],
    mood: Int[Tensor, "env agent"],
    generator: torch.Generator,
) -> Int[Tensor, "env agent"]:
    """Actions of agents in the given moods: head for the nearest food, the nearest agent or the first agent and attack
    it once adjacent, or act at random."""
    at_random = torch.randint(NUM_ACTIONS, mood.shape, generator=generator)
    noisy = torch.rand(mood.shape, generator=generator) < NOISE
    to_food = _approach(position, food, generator, alone=False)
    to_agent = _approach(position, position, generator, alone=True)
    to_first = _approach(position, position[:, :1], generator, alone=False)
    chosen = torch.where(mood == GREEDY, to_food, torch.where(mood == AGGRESSIVE, to_agent, at_random))
    return torch.where(noisy, at_random, torch.where(mood == MOBBING, to_first, chosen))


def _approach(
    position: Int[Tensor, "env agent xy"], target: Int[Tensor, "env target xy"], generator: torch.Generator, alone: bool
) -> Int[Tensor, "env agent"]:
    """Attack the nearest target if it is adjacent, otherwise approach it. Ties and the axis of approach are drawn. Set
    `alone` if the targets are the agents themselves, so that none targets itself."""
    away = target[:, None] - position[:, :, None]
    apart = away.abs().sum(-1).float()
    if alone:
        apart.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    nearest = (apart + 0.5 * torch.rand(apart.shape, generator=generator)).argmin(-1)
    dx, dy = away.gather(2, nearest[..., None, None].expand(-1, -1, 1, 2)).squeeze(2).unbind(-1)
    steps = dx.abs() + dy.abs()
    sideways = torch.rand(steps.shape, generator=generator) * steps < dx.abs()
    move = torch.where(sideways, torch.where(dx > 0, RIGHT, LEFT), torch.where(dy > 0, DOWN, UP))
    strike = move + torch.where(move < STAY, NUM_MOVES, NUM_MOVES - 1)
    return torch.where(steps == 1, strike, move)


def happenings(
    before: Int[Tensor, "env agent xy"],
    food: Int[Tensor, "env food xy"],
    actions: Int[Tensor, "env agent"],
    after: Int[Tensor, "env agent xy"],
    side: int,
) -> dict[str, int]:
    """Counts of events in one step of all copies that the rules must resolve."""
    aim = before + torch.tensor(OFFSETS)[actions]
    attacks, moved = actions >= NUM_MOVES, (before != after).any(-1)
    wants = ~attacks & (actions != STAY)
    occupied = _meets(aim, before)  # (env, agent, agent): whether each agent aims at the cell of each other
    walls, foods, agents = ((aim < 1) | (aim > side - 2)).any(-1), _meets(aim, food).any(-1), occupied.any(-1)
    struck = occupied & attacks[..., None]
    received, blocked = struck.sum(1), wants & ~moved
    counts: dict[str, Bool[Tensor, "..."]] = {
        "hits on food": attacks & foods,
        "hits on agents": attacks & agents,
        "hits on nothing or a wall": attacks & ~foods & ~agents,
        "mutual hits": (struck & struck.mT).triu(),
        "agents hit twice in a step": received == 2,
        "agents hit three times in a step": received == 3,
        "agents hit four times in a step": received == 4,
        "victims that moved away in the same step": (received > 0) & moved,
        "moves made": moved,
        "moves to where an agent has just left": moved & agents,
        "moves blocked by a wall": blocked & walls,
        "moves blocked by food": blocked & foods,
        "moves blocked by an agent": blocked & agents,
        "moves blocked by one that came first": blocked & ~walls & ~foods & ~agents,
    }
    return {name: int(happened.sum()) for name, happened in counts.items()}


def _meets(aim: Int[Tensor, "env agent xy"], units: Int[Tensor, "env unit xy"]) -> Bool[Tensor, "env agent unit"]:
    return (aim[:, :, None] == units[:, None]).all(-1)
