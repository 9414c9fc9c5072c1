"""Who drives through a synthetic city when, and which way: vehicles as arrays, for any grid of roads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

HEADINGS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""East, north, west, south, as steps (x, y)."""
LONGEST_SIDE = 200
"""Rows or columns."""
LARGEST_MEAN = 500.0
"""Of Poisson numbers drawn at once: exp(-mean) must be a normal number."""


@dataclass(frozen=True)
class GridFlow:
    """How many vehicles enter a grid, when, and which way they go.

    On every road that leads into the grid vehicles arrive at random (a Poisson process). At time t those with heading h
    come at the rate

        rate (1 + amplitude cos(2 pi (t / horizon - peak_h)))       vehicles an hour,

    whose mean over the horizon is `rate`. The two axes have their peaks at different times, so no cycle of signals
    that stays the same suits all of the time.

    At every intersection a vehicle turns with probability left + right. The side of its first turn is left with
    probability left / (left + right); from then on its turns alternate. So a route has two headings at most: it is a
    shortest one between its ends, cannot circle, has as many left as right turns or one more, and ends when it leaves
    the grid. With left = right these are the shares of turns among all movements, too.

    Raises ValueError for numbers that make no sense.
    """

    rate: float = 300.0
    """Vehicles an hour on each road into the grid, mean over the horizon."""
    amplitude: float = 0.5
    """How far the rate rises above the mean, and falls below it, as a share of the mean."""
    peaks: tuple[float, float, float, float] = (0.2, 0.7, 0.3, 0.8)
    """When the rate of vehicles heading east, north, west and south is highest, as shares of the horizon."""
    left: float = 0.15
    """Share of left turns. The public flow of Manhattan, 16 x 3, has 0.15 left, 0.69 straight, 0.16 right."""
    right: float = 0.15
    """Share of right turns; the rest goes straight on."""
    crossings: float | None = None
    """Mean number of intersections that a vehicle crosses, at least 1; None: it drives until it leaves the grid. With a
    number, a vehicle that has crossed an intersection ends its trip on the next road with probability 1 / crossings,
    and trips begin on every road inside the grid, too, at `rate / crossings`: just as many as end there, so that every
    road of a grid of any size carries about `rate` vehicles an hour as soon as traffic has come up."""
    horizon: int = 3600
    """Seconds within which vehicles enter."""
    seed: int = 0
    """Of all that is random."""

    def __post_init__(self) -> None:
        def require(condition: bool, name: str, expected: str) -> None:
            if not condition:
                raise ValueError(f"{name} must be {expected}, not {getattr(self, name)!r}")

        require(0 < self.rate <= 10_000, "rate", "above 0 and at most 10000 vehicles an hour")
        require(0 <= self.amplitude <= 1, "amplitude", "between 0 and 1")
        require(len(self.peaks) == 4 and all(map(math.isfinite, self.peaks)), "peaks", "four numbers")
        require(0 <= self.left <= 1, "left", "between 0 and 1")
        require(0 <= self.right <= 1 - self.left, "right", "between 0 and what `left` leaves of 1")
        long = self.crossings is None or 1 <= self.crossings < math.inf
        require(long, "crossings", "None or a number of at least 1")
        require(1 <= self.horizon <= 86_400, "horizon", "between 1 and 86400 seconds")
        require(0 <= self.seed < 2**63, "seed", "between 0 and 2^63 - 1")

    def expected(self) -> np.ndarray:
        """(horizon, 4) float64: vehicles expected in each second on one road into the grid, by heading."""
        share = (np.arange(self.horizon)[:, None] + 0.5) / self.horizon - np.array(self.peaks)
        return self.rate / 3600 * (1 + self.amplitude * np.cos(2 * np.pi * share))


class Trips(NamedTuple):
    """Who drives when and where, V vehicles in order of time. A road is numbered by where it begins and its heading:
    `((x (rows + 2)) + y) 4 + heading`."""

    time: np.ndarray
    """(V,) int64, whole seconds."""
    route_starts: np.ndarray
    """(V + 1,) int64 into `roads`."""
    roads: np.ndarray
    """int64, the routes end to end."""


def grid_trips(rows: int, columns: int, flow: GridFlow) -> Trips:
    """The same vehicles as arrays, without the names of roads. Raises ValueError as `grid_flow` does."""
    require_size(rows, columns)
    generator = np.random.Generator(np.random.PCG64(flow.seed))
    entries = np.array(list(_entries(rows, columns)))
    time, entry = _arrivals(flow, entries[:, 2], generator)
    if flow.crossings is not None:
        inside = np.array(list(_inner_roads(rows, columns))).reshape(-1, 3)
        later, start = _starts_inside(flow, inside[:, 2], generator)
        order = np.argsort(np.concatenate([time, later]), kind="stable")
        time = np.concatenate([time, later])[order]
        entry = np.concatenate([entry, len(entries) + start])[order]
        entries = np.concatenate([entries, inside])
    roads = _routes(rows, columns, flow, entries[entry], generator)
    driven = roads >= 0
    return Trips(time, np.concatenate([[0], driven.sum(1).cumsum()]), roads[driven].astype(np.int64))


def _arrivals(flow: GridFlow, heading: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and roads (indices into `heading`) of all vehicles that enter, in order of time."""
    count = _poisson(flow.expected(), heading, generator)
    time, entry = np.nonzero(count)
    repeats = count[time, entry]
    return np.repeat(time, repeats), np.repeat(entry, repeats)


def _starts_inside(
    flow: GridFlow, heading: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and roads (indices into `heading`) of all vehicles that begin inside the grid, in order of time.

    All roads of a heading together have a Poisson number of them in each second; each takes any of these roads.
    """
    assert flow.crossings is not None
    roads = [np.flatnonzero(heading == h) for h in range(4)]
    amounts = np.array([len(group) for group in roads])
    mean = flow.expected() / flow.crossings * amounts
    parts = max(1, math.ceil(mean.max(initial=0.0) / LARGEST_MEAN))
    count = np.sum([_poisson(mean / parts, np.arange(4), generator) for _ in range(parts)], axis=0)
    time, of_heading = np.nonzero(count)
    repeats = count[time, of_heading]
    time, of_heading = np.repeat(time, repeats), np.repeat(of_heading, repeats)
    choice = (generator.random(len(time)) * amounts[of_heading]).astype(np.int64)
    begin = np.concatenate([[0], amounts.cumsum()[:-1]])
    return time, np.concatenate(roads)[begin[of_heading] + choice]


def _poisson(mean: np.ndarray, heading: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(time, road) int64 Poisson numbers with the means (time, heading) of the roads' headings.

    They are made from uniform ones, because Generator.poisson may change with numpy. (Machines may differ in the last
    bit of cos and exp; the chance that a uniform number falls in between is about 1e-10.)
    """
    uniform = generator.random((len(mean), len(heading)))
    term = np.exp(-mean)
    count = np.zeros(uniform.shape, dtype=np.int64)
    at_most = term
    for number in itertools.count(1):
        more = uniform >= at_most[:, heading]
        if not more.any():
            break
        count += more
        term = term * mean / number
        if not term.any():  # the probabilities' sum may stay a rounding error below 1
            break
        at_most = at_most + term
    return count


def _routes(rows: int, columns: int, flow: GridFlow, entries: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(V, R) int32, roads of vehicles that begin on these roads (V, 3: x, y, heading), -1 behind the end; R roads are
    the longest trip, at most rows + columns."""
    x, y, heading = entries.T
    steps = np.array(HEADINGS)
    roads: list[np.ndarray] = []
    side = np.zeros(len(entries), dtype=np.int64)  # of the last turn: 1 left, -1 right, 0 none yet
    inside = np.ones(len(entries), dtype=bool)
    for number in range(rows + columns):
        if number > 0 and not inside.any():  # nothing else is drawn after the last trip has ended
            break
        roads.append(np.where(inside, (x * (rows + 2) + y) * 4 + heading, -1).astype(np.int32))
        if flow.crossings is not None and number > 0:
            inside &= generator.random(len(entries)) >= 1 / flow.crossings
        x, y = x + steps[heading, 0], y + steps[heading, 1]
        inside &= (x >= 1) & (x <= columns) & (y >= 1) & (y <= rows)
        uniform = generator.random(len(entries))
        first = np.where(uniform < flow.left, 1, -1)
        turning = uniform < flow.left + flow.right
        side = np.where(turning, np.where(side == 0, first, -side), side)
        heading = (heading + np.where(turning, side, 0)) % 4
    return np.stack(roads, axis=1)


def require_size(rows: int, columns: int) -> None:
    for name, value in (("rows", rows), ("columns", columns)):
        if not 1 <= value <= LONGEST_SIDE:
            raise ValueError(f"{name} must be between 1 and {LONGEST_SIDE}, not {value}")


def is_real(place: tuple[int, int], rows: int, columns: int) -> bool:
    return 1 <= place[0] <= columns and 1 <= place[1] <= rows


def ahead(place: tuple[int, int], heading: int) -> tuple[int, int]:
    return place[0] + HEADINGS[heading][0], place[1] + HEADINGS[heading][1]


def _entries(rows: int, columns: int) -> Iterator[tuple[int, int, int]]:
    """Roads into the grid as x, y and heading: heading east, north, west, south."""
    yield from ((0, y, 0) for y in range(1, rows + 1))
    yield from ((x, 0, 1) for x in range(1, columns + 1))
    yield from ((columns + 1, y, 2) for y in range(1, rows + 1))
    yield from ((x, rows + 1, 3) for x in range(1, columns + 1))


def _inner_roads(rows: int, columns: int) -> Iterator[tuple[int, int, int]]:
    """Roads between two intersections with lights, as x, y and heading."""
    for x, y, heading in itertools.product(range(1, columns + 1), range(1, rows + 1), range(4)):
        if is_real(ahead((x, y), heading), rows, columns):
            yield x, y, heading
