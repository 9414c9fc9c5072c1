"""Small inputs with what CityFlow makes of them: lanes that do not lead on, loops, links given twice."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from envs.traffic import Engine, load_network
from envs.traffic.files import IgnoredValueWarning
from envs.traffic.signals import signals_of
from tests.beside import CASES, needs_cases


def engine_of(name: str, folder: Path, **changes: Any) -> Engine:
    """An engine on the files of a case, with some values of the configuration changed."""
    config = json.loads((CASES / name / "config.json").read_text())
    path = folder / "config.json"
    path.write_text(json.dumps({**config, "dir": f"{CASES / name}/", **changes}))
    return Engine(path)


@needs_cases
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("own_map_task", {}),
        ("dup_lane_link", {}),
        ("dead_end_lane", {}),
        ("loop_lane_change", {}),
        ("loop_lane_change", {"laneChange": False}),
    ],
)
def test_numbers_of_cityflow(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    expected = json.loads((CASES / name / "expected.json").read_text())
    engine = engine_of(name, tmp_path, **changes)
    for _ in range(expected["steps"]):
        engine.next_step()
    speeds, distances = engine.get_vehicle_speed(), engine.get_vehicle_distance()
    assert {vehicle: [speeds[vehicle], distances[vehicle]] for vehicle in speeds} == expected["vehicles"]
    assert engine.get_vehicle_count() == expected["vehicle_count"]
    assert engine.get_average_travel_time() == expected["average_travel_time"]
    assert math.isclose(sum(distances.values()), expected["distance_sum"], rel_tol=1e-12)


@needs_cases
def test_a_loaded_loop_goes_on_where_it_was(tmp_path: Path) -> None:
    """CityFlow would restart the routes."""
    engine = engine_of("loop_snapshot", tmp_path)
    engine.run(90)
    archive = engine.snapshot()
    engine.run(200)
    expected = engine.get_vehicle_distance(), engine.get_average_travel_time()
    engine.load(archive)
    engine.run(200)
    assert (engine.get_vehicle_distance(), engine.get_average_travel_time()) == expected


@needs_cases
def test_times_given_as_text_are_told(tmp_path: Path) -> None:
    with pytest.warns(IgnoredValueWarning) as told:
        engine_of("string_times", tmp_path)
    for flow, key, value in ((0, "startTime", "'30'"), (0, "endTime", "'30'"), (1, "startTime", "30.0")):
        assert any(f"flow {flow}: {key!r} is {value}" in str(warning.message) for warning in told)


@needs_cases
def test_the_folder_of_a_replay_is_made(tmp_path: Path) -> None:
    for name in ("roadnet.json", "flow.json"):
        (tmp_path / name).write_bytes((CASES / "replay_folder" / name).read_bytes())
    engine = engine_of("replay_folder", tmp_path, dir=f"{tmp_path}/")
    engine.next_step()
    assert (tmp_path / "out" / "net.json").exists()
    assert (tmp_path / "txt" / "replay.txt").read_text().count("\n") == 1


@needs_cases
def test_signals_of_the_small_maps() -> None:
    both = signals_of(load_network(CASES / "green_first" / "roadnet.json"))
    assert both.action_mask.tolist() == [[True, True]] * 2
    between = signals_of(load_network(CASES / "plain_node_between" / "roadnet.json"))
    assert between.neighbours[between.mask].tolist() == [1, 0]
