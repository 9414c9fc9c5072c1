"""Crosses of lane links, bitwise equal to those that CityFlow finds, and in its order.

Links are polylines stored end to end, as in `geometry`. Sums and products are evaluated from left to right as written;
another order would change the last bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from envs.traffic.network.geometry import norm

_DEAD_ZONE = 1e-8
"""Cross and dot products below this (square metres) count as zero."""
_MARGIN = 1e-3
"""Metres by which bounding boxes are enlarged. Tests with the dead zone accept points up to 1e-4 m beyond the end of a
segment, so shapes whose enlarged boxes do not touch cannot cross."""
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
                    first_distance += norm(p_x - x, p_y - y)
                    second_distance += norm(p_x - second[b, 0], p_y - second[b, 1])
                    return True, first_distance, second_distance
                second_distance += norm(v_x, v_y)
        first_distance += norm(u_x, u_y)
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
