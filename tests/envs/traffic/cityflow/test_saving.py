"""Snapshots and saved states of engines."""

from __future__ import annotations

import pytest

from envs.traffic import Engine
from tests.envs.traffic.cityflow.engines import STRAIGHT, busy, everything, history
from tests.envs.traffic.towns import RIGHT_ANGLES, VEHICLE, corridor, crossing, flow, make_engine


def test_a_snapshot_can_be_loaded_again_and_again() -> None:
    engine = busy()
    history(engine, 30)
    saved, then = engine.snapshot(), everything(engine)
    first = history(engine, 40)
    for _ in range(2):
        engine.load(saved)
        assert everything(engine) == then
        assert history(engine, 40) == first
    other = busy(seed=99)
    other.load(saved)
    assert history(other, 40) == first


def test_a_snapshot_keeps_vehicles_that_are_not_yet_on_a_lane() -> None:
    engine = busy()
    engine.run(10)
    engine.push_vehicle({"speed": 2.0}, RIGHT_ANGLES[0])
    saved = engine.snapshot()
    first = history(engine, 20)
    engine.load(saved)
    assert history(engine, 20) == first
    engine.push_vehicle({}, RIGHT_ANGLES[0])
    assert "manually_pushed_1" in engine.get_vehicles(include_waiting=True)


def others() -> dict[str, Engine]:
    """Engines whose state does not fit `corridor(2)` with one flow."""
    flows = [flow(STRAIGHT)]
    return {
        "road network": make_engine(crossing(), []),
        "flows": make_engine(corridor(2), [*flows, *flows]),
        "vehicles": make_engine(corridor(2), [flow(STRAIGHT, maxSpeed=9.0)]),
        "no route": make_engine(corridor(2), [flow(STRAIGHT[::-1])]),
        "order": make_engine(corridor(2), [flow(("r0", "r1"), startTime=1), flow(("r0", "r1"))]),
        "interval": make_engine(corridor(2), flows, interval=0.5),
        "lanes": make_engine(corridor(3), flows),
    }


@pytest.mark.parametrize("name", sorted(others()))
def test_states_of_other_engines_are_refused(name: str) -> None:
    engine, other = make_engine(corridor(2), [flow(STRAIGHT)]), others()[name]
    engine.run(5)
    before = everything(engine)
    with pytest.raises(ValueError, match="belongs to another road network"):
        engine.load(other.snapshot())
    with pytest.raises(ValueError, match="belongs to another road network"):
        engine.load_state_dict(other.state_dict())
    assert everything(engine) == before
    engine.run(5)


def test_states_with_lane_changes_are_refused_where_there_are_none() -> None:
    flows = [flow(STRAIGHT, interval=3.0, maxSpeed=speed) for speed in (5.0, 11.0)]
    engine, other = make_engine(corridor(2), flows), make_engine(corridor(2), flows, laneChange=True)
    while other.get_vehicle_count() == len(other.get_vehicles()):
        other.next_step()
    with pytest.raises(ValueError, match="belongs to another road network, interval or flow: segment"):
        engine.load(other.snapshot())
    with pytest.raises(ValueError, match="the state has lane changes under way"):
        engine.load_state_dict(other.state_dict())
    assert everything(engine) == everything(make_engine(corridor(2), flows))


def test_a_saved_state_goes_on_exactly() -> None:
    engine = busy()
    engine.push_vehicle({}, RIGHT_ANGLES[0])
    history(engine, 30)
    engine.push_vehicle({"maxSpeed": 3.0}, RIGHT_ANGLES[1])
    state = engine.state_dict()
    first = history(engine, 40)
    other = busy(seed=4)
    other.load_state_dict(state)
    assert history(other, 40) == first
    other.push_vehicle({}, RIGHT_ANGLES[0])
    assert "manually_pushed_2" in other.get_vehicles(include_waiting=True)
    assert other.state_dict().keys() == state.keys()


def test_partial_states_are_refused() -> None:
    engine = busy()
    history(engine, 5)
    before, state = everything(engine), engine.state_dict()
    for name in state:
        with pytest.raises(ValueError, match=f"{name} is missing"):
            engine.load_state_dict({key: value for key, value in state.items() if key != name})
    with pytest.raises(ValueError, match="has shape"):
        engine.load_state_dict({**state, "queues": state["queues"][1:]})
    with pytest.raises(ValueError, match="damaged"):
        engine.load_state_dict({**state, "free": state["free"][1:]})
    assert everything(engine) == before


def test_kinds_of_the_flows_are_not_mixed_up_with_pushed_ones() -> None:
    """A snapshot of an engine that has more kinds and routes loads into one that has fewer, and back."""
    engine, other = busy(), busy()
    engine.push_vehicle({"length": 7.0}, RIGHT_ANGLES[0])
    engine.run(3)
    other.load(engine.snapshot())
    assert everything(other) == everything(engine)
    other.reset(seed=True)
    engine.load(busy().snapshot())
    assert history(other, 20) == history(engine, 20) == history(busy(), 20)
    assert VEHICLE["length"] == 5.0
