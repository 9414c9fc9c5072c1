"""Shapes of lanes and lane links, and the crosses of lane links, bitwise equal to those that CityFlow builds.

Shapes are polylines stored end to end: `points` (P, 2) float64 in metres, `starts` (number of shapes + 1,) int32.
Lanes are built twice: links without given points are drawn between lanes that still reach the centres of the
intersections; then lanes are cut back by the widths of the intersections at their ends.

Sums and products are evaluated from left to right as written; another order would change the last bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

CURVE_POINTS = 11
"""Number of points of a link for which the file gives none."""
SEGMENT_LENGTH = 70.0
"""Metres of road per segment; lanes are divided into equal segments for lane changes."""
_DEAD_ZONE = 1e-8
"""Cross and dot products below this (square metres) count as zero."""
_MARGIN = 1e-3
"""Metres by which bounding boxes are enlarged. Tests with the dead zone accept points up to 1e-4 m beyond the end of a
segment, so shapes whose enlarged boxes do not touch cannot cross."""
_SMALLEST_HANDLE = 5.0
"""Minimum length in metres of a curve's handles, in intersections of at least this width."""
_SORT_THRESHOLD = 16
"""Length up to which the C++ library sorts by insertion alone; longer lists are partitioned first, which is not
stable."""


class Crosses(NamedTuple):
    """Crosses of lane links, C entries, in CityFlow's order along each link (see `NetworkArrays`)."""

    starts: np.ndarray
    """(K + 1,) int32."""
    distance: np.ndarray
    """(C,) float64, metres from the start of the link."""
    foe: np.ndarray
    """(C,) int32, the other link."""
    twin: np.ndarray
    """(C,) int32, entry of the same cross at the other link."""


@njit(cache=True, error_model="numpy")
def _length(x: float, y: float) -> float:
    return math.sqrt(x * x + y * y)


@njit(cache=True, error_model="numpy")
def _unit(x: float, y: float) -> tuple[float, float]:
    """Unit vector in the direction of (x, y); NaN for the zero vector."""
    length = _length(x, y)
    return x / length, y / length


@njit(cache=True, error_model="numpy")
def polyline_lengths(points: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Length of each polyline in metres, (number of shapes,) float64."""
    lengths = np.zeros(len(starts) - 1)
    for shape in range(len(lengths)):
        for i in range(starts[shape] + 1, starts[shape + 1]):
            lengths[shape] += _length(points[i, 0] - points[i - 1, 0], points[i, 1] - points[i - 1, 1])
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
        total += _length(line[i, 0] - line[i - 1, 0], line[i, 1] - line[i - 1, 1])
    rest = min(max(distance, 0.0), total)
    x, y = line[last, 0], line[last, 1]
    if rest <= 0.0:
        x, y = line[0, 0], line[0, 1]
    else:
        for i in range(1, last + 1):
            part = _length(line[i, 0] - line[i - 1, 0], line[i, 1] - line[i - 1, 1])
            if rest > part:
                rest -= part
                continue
            x = line[i - 1, 0] + (line[i, 0] - line[i - 1, 0]) * (rest / part)
            y = line[i - 1, 1] + (line[i, 1] - line[i - 1, 1]) * (rest / part)
            break
    rest = distance
    part_of_direction = last
    for i in range(1, last + 1):
        part = _length(line[i, 0] - line[i - 1, 0], line[i, 1] - line[i - 1, 1])
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
        length += _length(start_lane[i, 0] - start_lane[i - 1, 0], start_lane[i, 1] - start_lane[i - 1, 1])
    start_x, start_y, leave_x, leave_y = point_and_direction(start_lane, length - width)
    end_x, end_y, enter_x, enter_y = point_and_direction(end_lane, width)
    apart = _length(end_x - start_x, end_y - start_y)
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


def find_crosses(points: np.ndarray, starts: np.ndarray, group_starts: np.ndarray) -> Crosses:
    """The crosses of the links of each intersection.

    points, starts: polylines of the links. group_starts (I + 1,): starts of the intersections' links, which are
    consecutive. Each pair of links has at most one cross, including links that leave or enter the same lane.
    """
    first, second, first_distance, second_distance = _cross_pairs(points, starts, group_starts)
    return Crosses(*_sorted_crosses(len(starts) - 1, first, second, first_distance, second_distance))


@njit(cache=True, error_model="numpy")
def _bounding_boxes(points: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Enlarged bounding boxes, (number of shapes, 4): smallest x and y, largest x and y."""
    boxes = np.empty((len(starts) - 1, 4))
    for shape in range(len(boxes)):
        box = boxes[shape]
        box[:2], box[2:] = np.inf, -np.inf
        for i in range(starts[shape], starts[shape + 1]):
            for axis in range(2):
                box[axis] = min(box[axis], points[i, axis] - _MARGIN)
                box[2 + axis] = max(box[2 + axis], points[i, axis] + _MARGIN)
    return boxes


@njit(cache=True, error_model="numpy")
def _cross_pairs(
    points: np.ndarray, starts: np.ndarray, group_starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of links that cross, in the order in which CityFlow finds them, and the distances of the crosses along
    both."""
    boxes = _bounding_boxes(points, starts)
    capacity = 0
    for group in range(len(group_starts) - 1):
        links = group_starts[group + 1] - group_starts[group]
        capacity += links * (links - 1) // 2
    first, second = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
    first_distance, second_distance = np.empty(capacity), np.empty(capacity)
    count = 0
    for group in range(len(group_starts) - 1):
        for i in range(group_starts[group], group_starts[group + 1]):
            for j in range(i + 1, group_starts[group + 1]):
                if (
                    boxes[i, 0] > boxes[j, 2]
                    or boxes[j, 0] > boxes[i, 2]
                    or boxes[i, 1] > boxes[j, 3]
                    or boxes[j, 1] > boxes[i, 3]
                ):
                    continue
                crossing, on_i, on_j = _first_cross(
                    points[starts[i] : starts[i + 1]], points[starts[j] : starts[j + 1]], boxes[j]
                )
                if crossing:
                    first[count], second[count] = i, j
                    first_distance[count], second_distance[count] = on_i, on_j
                    count += 1
    return first[:count], second[:count], first_distance[:count], second_distance[:count]


@njit(cache=True, error_model="numpy")
def _first_cross(first: np.ndarray, second: np.ndarray, second_box: np.ndarray) -> tuple[bool, float, float]:
    """Whether two polylines cross, and the distances from their starts to the first cross found.

    The distance along the second excludes its segments that are parallel to the crossing segment of the first.
    """
    first_distance = 0.0
    for a in range(len(first) - 1):
        x, y = first[a, 0], first[a, 1]
        u_x, u_y = first[a + 1, 0] - x, first[a + 1, 1] - y
        if not (
            max(x, first[a + 1, 0]) < second_box[0]
            or min(x, first[a + 1, 0]) > second_box[2]
            or max(y, first[a + 1, 1]) < second_box[1]
            or min(y, first[a + 1, 1]) > second_box[3]
        ):
            second_distance = 0.0
            for b in range(len(second) - 1):
                v_x, v_y = second[b + 1, 0] - second[b, 0], second[b + 1, 1] - second[b, 1]
                area = u_x * v_y - u_y * v_x
                if -_DEAD_ZONE < area < _DEAD_ZONE:
                    continue
                ratio = ((second[b, 0] - x) * v_y - (second[b, 1] - y) * v_x) / area
                p_x, p_y = x + u_x * ratio, y + u_y * ratio
                if _is_between(first[a], first[a + 1], p_x, p_y) and _is_between(second[b], second[b + 1], p_x, p_y):
                    first_distance += _length(p_x - x, p_y - y)
                    second_distance += _length(p_x - second[b, 0], p_y - second[b, 1])
                    return True, first_distance, second_distance
                second_distance += _length(v_x, v_y)
        first_distance += _length(u_x, u_y)
    return False, 0.0, 0.0


@njit(cache=True, error_model="numpy")
def _is_between(a: np.ndarray, b: np.ndarray, p_x: float, p_y: float) -> bool:
    """Whether a point lies on the segment from a to b, to within the dead zone."""
    area = (b[0] - a[0]) * (p_y - a[1]) - (b[1] - a[1]) * (p_x - a[0])
    along = (p_x - a[0]) * (p_x - b[0]) + (p_y - a[1]) * (p_y - b[1])
    return -_DEAD_ZONE < area < _DEAD_ZONE and along < _DEAD_ZONE


@njit(cache=True, error_model="numpy")
def _sorted_crosses(
    num_links: int, first: np.ndarray, second: np.ndarray, first_distance: np.ndarray, second_distance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The crosses of each link in CityFlow's order; see `Crosses`."""
    starts = np.zeros(num_links + 1, np.int32)
    for pair in range(len(first)):
        starts[first[pair] + 1] += 1
        starts[second[pair] + 1] += 1
    for link in range(num_links):
        starts[link + 1] += starts[link]
    filled = starts[:-1].copy()
    size = 2 * len(first)
    distance, order = np.empty(size), np.empty(size, np.int32)
    for pair in range(len(first)):
        for side in range(2):
            link = second[pair] if side else first[pair]
            distance[filled[link]] = second_distance[pair] if side else first_distance[pair]
            order[filled[link]] = 2 * pair + side
            filled[link] += 1
    place = np.empty(size, np.int32)
    for link in range(num_links):
        sort_like_cpp(distance[starts[link] : starts[link + 1]], order[starts[link] : starts[link + 1]])
        for position in range(starts[link], starts[link + 1]):
            place[order[position]] = position
    foe, twin = np.empty(size, np.int32), np.empty(size, np.int32)
    for position in range(size):
        pair, side = order[position] // 2, order[position] % 2
        foe[position] = first[pair] if side else second[pair]
        twin[position] = place[2 * pair + 1 - side]
    return starts, distance, foe, twin


@njit(cache=True, error_model="numpy")
def sort_like_cpp(keys: np.ndarray, values: np.ndarray) -> None:
    """Sort (n,) keys and their values in place, leaving equal keys in the same order as the GNU C++ library.

    Up to 16 elements the sort is stable. Longer lists are first partitioned by quicksort: the median of the second, the
    middle and the last element is swapped to the front and used as pivot; the rear part is partitioned further first.
    Then everything is sorted by insertion. (After 2 log2(n) levels the library would switch to heapsort; this is not
    implemented, because no list of crosses comes near it.)
    """
    stack = [(0, len(keys))]
    while len(stack) > 0:
        begin, end = stack.pop()
        if end - begin > _SORT_THRESHOLD:
            cut = _partition(keys, values, begin, end)
            stack.append((begin, cut))
            stack.append((cut, end))
    for i in range(1, len(keys)):
        key, value = keys[i], values[i]
        j = i
        while j > 0 and key < keys[j - 1]:
            keys[j], values[j] = keys[j - 1], values[j - 1]
            j -= 1
        keys[j], values[j] = key, value


@njit(cache=True, error_model="numpy")
def _partition(keys: np.ndarray, values: np.ndarray, begin: int, end: int) -> int:
    """Partition keys[begin:end] into smaller ones before and greater ones after the returned position."""
    a, b, c = begin + 1, begin + (end - begin) // 2, end - 1
    if keys[a] < keys[b]:
        median = b if keys[b] < keys[c] else (c if keys[a] < keys[c] else a)
    else:
        median = a if keys[a] < keys[c] else (c if keys[b] < keys[c] else b)
    _swap(keys, values, begin, median)
    pivot = keys[begin]
    left, right = begin + 1, end
    while True:
        while keys[left] < pivot:
            left += 1
        right -= 1
        while pivot < keys[right]:
            right -= 1
        if left >= right:
            return left
        _swap(keys, values, left, right)
        left += 1


@njit(cache=True, error_model="numpy")
def _swap(keys: np.ndarray, values: np.ndarray, i: int, j: int) -> None:
    keys[i], keys[j] = keys[j], keys[i]
    values[i], values[j] = values[j], values[i]
