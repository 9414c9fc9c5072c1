"""Engines on small networks, and all that can be asked of one."""

from __future__ import annotations

from typing import Any

from envs.traffic import Engine
from tests.envs.traffic.towns import RIGHT_ANGLES, corridor, crossing, flow, make_engine

STRAIGHT = ("r0", "r1")


def single(**changes: Any) -> Engine:
    """A corridor with one vehicle, which has made one step: it is at 1 m with 2 m/s."""
    engine = make_engine(corridor(1), [flow(STRAIGHT, endTime=0, **changes)])
    engine.next_step()
    return engine


def busy(**config: Any) -> Engine:
    """A single intersection with vehicles on the three ways of `RIGHT_ANGLES`."""
    return make_engine(crossing(), [flow(way, interval=2.0 + i) for i, way in enumerate(RIGHT_ANGLES)], **config)


def everything(engine: Engine) -> dict[str, Any]:
    """The results of all queries, for comparisons."""
    return {
        "time": engine.get_current_time(),
        "count": engine.get_vehicle_count(),
        "vehicles": engine.get_vehicles(include_waiting=True),
        "lanes": engine.get_lane_vehicles(),
        "waiting": engine.get_lane_waiting_vehicle_count(),
        "buffers": engine.waiting_vehicles(),
        "speed": engine.get_vehicle_speed(),
        "distance": engine.get_vehicle_distance(),
        "time spent": engine.get_average_travel_time(),
        "info": [engine.get_vehicle_info(vehicle) for vehicle in engine.get_vehicles()],
        "leaders": [engine.get_leader(vehicle) for vehicle in engine.get_vehicles()],
    }


def history(engine: Engine, steps: int) -> list[dict[str, Any]]:
    """The results of all queries after each of some steps, with changing lights."""
    result = []
    for step in range(steps):
        engine.set_tl_phase("intersection_1_1", (step // 9 * 5) % 9)
        engine.next_step()
        result.append(everything(engine))
    return result
