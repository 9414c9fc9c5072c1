"""Shapes of lanes and lane links, bitwise equal to those that CityFlow builds.

Shapes are polylines stored end to end: `points` (P, 2) float64 in metres, `starts` (number of shapes + 1,) int32.
Lanes are built twice: links without given points are drawn between lanes that still reach the centres of the
intersections; then lanes are cut back by the widths of the intersections at their ends.

Sums and products are evaluated from left to right as written; another order would change the last bit.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

CURVE_POINTS = 11
"""Number of points of a link for which the file gives none."""
SEGMENT_LENGTH = 70.0
"""Metres of road per segment; lanes are divided into equal segments for lane changes."""
_SMALLEST_HANDLE = 5.0
"""Minimum length in metres of a curve's handles, in intersections of at least this width."""


@njit(cache=True, error_model="numpy")
def norm(x: float, y: float) -> float:
    """Length of a vector."""
    return math.sqrt(x * x + y * y)


@njit(cache=True, error_model="numpy")
def _unit(x: float, y: float) -> tuple[float, float]:
    """Unit vector in the direction of (x, y); NaN for the zero vector."""
    length = norm(x, y)
    return x / length, y / length


@njit(cache=True, error_model="numpy")
def polyline_lengths(points: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Length of each polyline in metres, (number of shapes,) float64."""
    lengths = np.zeros(len(starts) - 1)
    for shape in range(len(lengths)):
        for i in range(starts[shape] + 1, starts[shape + 1]):
            lengths[shape] += norm(points[i, 0] - points[i - 1, 0], points[i, 1] - points[i - 1, 1])
    return lengths


@njit(cache=True, error_model="numpy")
def lane_polylines(
    road_points: np.ndarray,
    road_starts: np.ndarray,
    road_lane_starts: np.ndarray,
    lane_width: np.ndarray,
    cut_start: np.ndarray,
    cut_end: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Points and starts of all lanes: their roads' lines, cut by `cut_start` and `cut_end` (R,) metres and shifted
    sideways.

    Only the first and the last part of a road are cut. Lane 0 is the innermost, next to the road's line; a lane is
    shifted to the right by half its width plus the widths of the lanes inside it. Corners are not mitred.
    """
    starts = np.zeros(len(lane_width) + 1, np.int32)
    for road in range(len(road_starts) - 1):
        for lane in range(road_lane_starts[road], road_lane_starts[road + 1]):
            starts[lane + 1] = starts[lane] + road_starts[road + 1] - road_starts[road]
    points = np.empty((starts[-1], 2))
    for road in range(len(road_starts) - 1):
        line = road_points[road_starts[road] : road_starts[road + 1]].copy()
        last = len(line) - 1
        x, y = _unit(line[1, 0] - line[0, 0], line[1, 1] - line[0, 1])
        line[0, 0] += x * cut_start[road]
        line[0, 1] += y * cut_start[road]
        x, y = _unit(line[last, 0] - line[last - 1, 0], line[last, 1] - line[last - 1, 1])
        line[last, 0] -= x * cut_end[road]
        line[last, 1] -= y * cut_end[road]
        inside = 0.0
        for lane in range(road_lane_starts[road], road_lane_starts[road + 1]):
            offset = (inside + (inside + lane_width[lane])) / 2
            inside += lane_width[lane]
            for j in range(last + 1):
                x, y = _direction_at_point(line, j)
                points[starts[lane] + j, 0] = line[j, 0] + y * offset
                points[starts[lane] + j, 1] = line[j, 1] - x * offset
    return points, starts


@njit(cache=True, error_model="numpy")
def _direction_at_point(line: np.ndarray, j: int) -> tuple[float, float]:
    """Direction of a polyline at its point j, halfway between those of the adjacent segments."""
    if j == 0:
        return _unit(line[1, 0] - line[0, 0], line[1, 1] - line[0, 1])
    before_x, before_y = _unit(line[j, 0] - line[j - 1, 0], line[j, 1] - line[j - 1, 1])
    if j == len(line) - 1:
        return before_x, before_y
    after_x, after_y = _unit(line[j + 1, 0] - line[j, 0], line[j + 1, 1] - line[j, 1])
    return _unit(after_x + before_x, after_y + before_y)


@njit(cache=True, error_model="numpy")
def point_and_direction(line: np.ndarray, distance: float) -> tuple[float, float, float, float]:
    """Point (x, y) of a polyline at a distance from its start, and the direction of the segment that contains it."""
    last = len(line) - 1
    total = 0.0
    for i in range(1, last + 1):
        total += norm(line[i, 0] - line[i - 1, 0], line[i, 1] - line[i - 1, 1])
    rest = min(max(distance, 0.0), total)
    x, y = line[last, 0], line[last, 1]
    if rest <= 0.0:
        x, y = line[0, 0], line[0, 1]
    else:
        for i in range(1, last + 1):
            part = norm(line[i, 0] - line[i - 1, 0], line[i, 1] - line[i - 1, 1])
            if rest > part:
                rest -= part
                continue
            x = line[i - 1, 0] + (line[i, 0] - line[i - 1, 0]) * (rest / part)
            y = line[i - 1, 1] + (line[i, 1] - line[i - 1, 1]) * (rest / part)
            break
    rest = distance
    part_of_direction = last
    for i in range(1, last + 1):
        part = norm(line[i, 0] - line[i - 1, 0], line[i, 1] - line[i - 1, 1])
        if rest < part:
            part_of_direction = i
            break
        rest -= part
    i = part_of_direction
    direction_x, direction_y = _unit(line[i, 0] - line[i - 1, 0], line[i, 1] - line[i - 1, 1])
    return x, y, direction_x, direction_y


@njit(cache=True, error_model="numpy")
def link_polylines(
    given_points: np.ndarray,
    given_starts: np.ndarray,
    link_from: np.ndarray,
    link_to: np.ndarray,
    width: np.ndarray,
    lane_points: np.ndarray,
    lane_starts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Points and starts of all lane links: as given, or curves for links without points.

    `link_from` and `link_to` are lanes, which are not cut back; `width` (K,) is the width of the link's intersection.
    """
    starts = np.zeros(len(link_from) + 1, np.int32)
    for link in range(len(link_from)):
        given = given_starts[link + 1] - given_starts[link]
        starts[link + 1] = starts[link] + (given if given > 0 else CURVE_POINTS)
    points = np.empty((starts[-1], 2))
    for link in range(len(link_from)):
        target = points[starts[link] : starts[link + 1]]
        if given_starts[link + 1] > given_starts[link]:
            target[:] = given_points[given_starts[link] : given_starts[link + 1]]
            continue
        start_lane = lane_points[lane_starts[link_from[link]] : lane_starts[link_from[link] + 1]]
        end_lane = lane_points[lane_starts[link_to[link]] : lane_starts[link_to[link] + 1]]
        _draw_curve(start_lane, end_lane, width[link], target)
    return points, starts


@njit(cache=True, error_model="numpy")
def _draw_curve(start_lane: np.ndarray, end_lane: np.ndarray, width: float, curve: np.ndarray) -> None:
    """A cubic curve from `width` metres before the end of one lane to `width` metres after the start of the next.

    A lengthened handle at the end points the wrong way (forward), as in CityFlow.
    """
    length = 0.0
    for i in range(1, len(start_lane)):
        length += norm(start_lane[i, 0] - start_lane[i - 1, 0], start_lane[i, 1] - start_lane[i - 1, 1])
    start_x, start_y, leave_x, leave_y = point_and_direction(start_lane, length - width)
    end_x, end_y, enter_x, enter_y = point_and_direction(end_lane, width)
    apart = norm(end_x - start_x, end_y - start_y)
    first_x, first_y = leave_x * apart * 0.5, leave_y * apart * 0.5
    second_x, second_y = -enter_x * apart * 0.5, -enter_y * apart * 0.5
    if width >= _SMALLEST_HANDLE:
        if first_x * first_x + first_y * first_y < _SMALLEST_HANDLE * _SMALLEST_HANDLE:
            first_x, first_y = leave_x * _SMALLEST_HANDLE, leave_y * _SMALLEST_HANDLE
        if second_x * second_x + second_y * second_y < _SMALLEST_HANDLE * _SMALLEST_HANDLE:
            second_x, second_y = enter_x * _SMALLEST_HANDLE, enter_y * _SMALLEST_HANDLE
    for i in range(CURVE_POINTS):
        a = i / (CURVE_POINTS - 1)
        curve[i, 0] = _cubic(start_x, start_x + first_x, end_x + second_x, end_x, a)
        curve[i, 1] = _cubic(start_y, start_y + first_y, end_y + second_y, end_y, a)


@njit(cache=True, error_model="numpy")
def _cubic(p0: float, p1: float, p2: float, p3: float, a: float) -> float:
    """One coordinate of a cubic curve by repeated linear interpolation."""
    q0, q1, q2 = (p1 - p0) * a + p0, (p2 - p1) * a + p1, (p3 - p2) * a + p2
    r0, r1 = (q1 - q0) * a + q0, (q2 - q1) * a + q1
    return (r1 - r0) * a + r0
