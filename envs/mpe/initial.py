"""Initial positions and the noise of scripted prey, drawn from numbered random streams.

Each episode of a seed has its own stream for positions and its own for prey noise, independent of what was drawn
before. A batch of copies therefore plays the same episodes as a single copy played repeatedly, and continuing a run
requires only the seed and the number of episodes. The streams are SplitMix64 (Steele, Lea, Flood 2014), started at a
hash of (seed, episode, purpose).

Poisson disc samples follow Bridson (2007) as in the published environments: every point is expanded once, with five
candidates.
"""

from __future__ import annotations

import math

import numpy as np

from envs.mpe.compiled import kernel
from envs.mpe.scenarios import EPISODE_LENGTH, NUM_ACTIONS, Scenario

POSITIONS, PREY_NOISE = 0, 1
_CANDIDATES = 5
_POISSON_DENSITY = 1.2
"""Upper bound on the number of points per squared minimum distance, with a margin of one around the box."""
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S12, _S27, _S30, _S31 = np.uint64(12), np.uint64(27), np.uint64(30), np.uint64(31)


def starting_positions(scenario: Scenario, seed: int, episodes: range) -> np.ndarray:
    """Positions (episode, entity, 2), float64, at the start of the given episodes of `seed`."""
    groups = np.array(
        [(p.entities.start, p.entities.stop, p.start, p.max_draws) for p in scenario.placements], np.int64
    )
    lengths = np.array([(p.half_width, p.minimum_distance) for p in scenario.placements])
    position = np.empty((len(episodes), scenario.num_entities, 2))
    _place(np.uint64(seed), episodes.start, groups, lengths, position)
    return position


def prey_noise(scenario: Scenario, seed: int, episodes: range) -> np.ndarray:
    """The noise of all prey decisions: uniform in (0, 1), (episode, step, prey, action) float64."""
    noise = np.empty((len(episodes), EPISODE_LENGTH, scenario.num_prey, NUM_ACTIONS))
    _fill_uniform(np.uint64(seed), episodes.start, noise.reshape(len(episodes), -1))
    return noise


@kernel
def _mix(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> _S30)) * _MIX_1
    value = (value ^ (value >> _S27)) * _MIX_2
    return value ^ (value >> _S31)


@kernel
def _stream(seed: np.uint64, episode: int, purpose: int) -> np.ndarray:
    """The initial state of a random stream, a single number."""
    state = _mix(seed + _GAMMA)
    state = _mix(state ^ (np.uint64(episode) + _GAMMA))
    return np.array([_mix(state ^ (np.uint64(purpose) + _GAMMA))], np.uint64)


@kernel
def _uniform(state: np.ndarray) -> float:
    """The next number of a stream, uniform in the open interval (0, 1)."""
    state[0] += _GAMMA
    return (float(_mix(state[0]) >> _S12) + 0.5) / 4503599627370496.0


@kernel
def _fill_uniform(seed: np.uint64, first_episode: int, noise: np.ndarray) -> None:
    for row in range(noise.shape[0]):
        state = _stream(seed, first_episode + row, PREY_NOISE)
        for column in range(noise.shape[1]):
            noise[row, column] = _uniform(state)


@kernel
def _place(seed: np.uint64, first_episode: int, groups: np.ndarray, lengths: np.ndarray, position: np.ndarray) -> None:
    for row in range(position.shape[0]):
        state = _stream(seed, first_episode + row, POSITIONS)
        for group in range(groups.shape[0]):
            start, stop, rule, max_draws = groups[group]
            half_width, minimum_distance = lengths[group]
            if rule == 1:
                _poisson(state, half_width, minimum_distance, position[row, start:stop])
                continue
            for entity in range(start, stop):
                for _ in range(max_draws):
                    x = (2 * _uniform(state) - 1) * half_width
                    y = (2 * _uniform(state) - 1) * half_width
                    position[row, entity, 0] = x
                    position[row, entity, 1] = y
                    if rule == 0:
                        break
                    if (
                        math.hypot(x - position[row, entity - 1, 0], y - position[row, entity - 1, 1])
                        > minimum_distance
                    ):
                        break


@kernel
def _poisson(state: np.ndarray, half_width: float, minimum_distance: float, chosen: np.ndarray) -> None:
    """Fill `chosen` with points of a Poisson disc sample, which is redrawn until it has enough points."""
    wanted = chosen.shape[0]
    capacity = int(_POISSON_DENSITY * (2 * half_width / minimum_distance + 2) ** 2)
    points = np.empty((capacity, 2))
    active = np.empty(capacity, np.int64)
    found = 0
    while found < wanted:
        found = _bridson(state, 2 * half_width, minimum_distance, points, active)
    for slot in range(wanted):  # a random subset without replacement: the start of a Fisher-Yates shuffle
        other = slot + int(_uniform(state) * (found - slot))
        for axis in range(2):
            chosen[slot, axis] = points[other, axis] - half_width
            points[other, axis] = points[slot, axis]


@kernel
def _bridson(state: np.ndarray, width: float, minimum_distance: float, points: np.ndarray, active: np.ndarray) -> int:
    """Write a Poisson disc sample of the box [0, width]^2 to `points`; returns the number of points."""
    points[0, 0] = _uniform(state) * width
    points[0, 1] = _uniform(state) * width
    active[0] = 0
    found, waiting = 1, 1
    while waiting > 0:
        pick = int(_uniform(state) * waiting)
        parent = active[pick]
        waiting -= 1
        active[pick] = active[waiting]
        for _ in range(_CANDIDATES):
            radius = minimum_distance * math.sqrt(1 + 3 * _uniform(state))  # uniform over the ring from r to 2r
            angle = 2 * math.pi * _uniform(state)
            x = points[parent, 0] + radius * math.cos(angle)
            y = points[parent, 1] + radius * math.sin(angle)
            if 0 <= x < width and 0 <= y < width and _is_free(points, found, x, y, minimum_distance):
                points[found, 0] = x
                points[found, 1] = y
                active[waiting] = found
                found += 1
                waiting += 1
    return found


@kernel
def _is_free(points: np.ndarray, found: int, x: float, y: float, minimum_distance: float) -> bool:
    for other in range(found):
        dx = points[other, 0] - x
        dy = points[other, 1] - y
        if dx * dx + dy * dy <= minimum_distance * minimum_distance:
            return False
    return True
