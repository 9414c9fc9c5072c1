"""Access of compiled code to arrays of Python: the same tuples with pointers instead of arrays."""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.traffic.engine.pointer import pointer_to
from envs.traffic.engine.state import ALERT, DRIVER, QUEUE, VEHICLE, Lanes, Pool, Sources, Traffic
from envs.traffic.network.layout import FlowArrays
from envs.traffic.network.map import CROSS, FOE, LIGHT, PLACE, Map

_unpack = njit(inline="always")

_places, _crosses, _foes, _lights = (pointer_to(t) for t in (PLACE, CROSS, FOE, LIGHT))
_vehicles, _queues, _alerts, _drivers = (pointer_to(t) for t in (VEHICLE, QUEUE, ALERT, DRIVER))
_int32, _int64, _float64 = pointer_to(np.int32), pointer_to(np.int64), pointer_to(np.float64)
_uint8, _uint32, _uint64, _bool = (pointer_to(t) for t in (np.uint8, np.uint32, np.uint64, np.bool_))


@_unpack
def map_at(a: np.ndarray) -> Map:
    """The `Map` given its addresses."""
    return Map(
        _places(a[0]),
        _int32(a[1]),
        _crosses(a[2]),
        _foes(a[3]),
        _lights(a[4]),
        _uint8(a[5]),
        _int32(a[6]),
        _float64(a[7]),
        _float64(a[8]),
        a[9],
        a[10],
        a[11],
    )


@_unpack
def flows_at(a: np.ndarray) -> FlowArrays:
    """The `FlowArrays` given their addresses."""
    return FlowArrays(
        _int32(a[0]), _float64(a[1]), _int64(a[2]), _int64(a[3]), _int32(a[4]), _int32(a[5]), _int32(a[6]), a[7]
    )


@_unpack
def traffic_at(a: np.ndarray) -> Traffic:
    """The `Traffic` given the addresses of a `State`."""
    return Traffic(
        _vehicles(a[0]),
        _int32(a[1]),
        _queues(a[2]),
        _uint64(a[3]),
        _alerts(a[4]),
        _int32(a[5]),
        _int64(a[6]),
        _drivers(a[7]),
        _int32(a[8]),
        _int32(a[9]),
    )


@_unpack
def pool_at(a: np.ndarray) -> Pool:
    """The `Pool` given the addresses of a `State`."""
    return Pool(
        _int32(a[10]),
        _int32(a[11]),
        _int32(a[12]),
        _int32(a[13]),
        _int32(a[14]),
        _uint32(a[15]),
        _float64(a[16]),
        _int32(a[17]),
    )


@_unpack
def sources_at(a: np.ndarray) -> Sources:
    """The `Sources` given the addresses of a `State`."""
    return Sources(_float64(a[18]), _float64(a[19]), _int32(a[20]), _bool(a[21]), _int32(a[22]), _uint64(a[23]), a[24])


@_unpack
def lanes_at(a: np.ndarray) -> Lanes:
    """The `Lanes` given the addresses of a `State`."""
    return Lanes(_uint64(a[25]), _float64(a[26]), _float64(a[27]), _int32(a[28]), _int32(a[29]), _int32(a[30]))
