"""Recorded cases of the CityFlow engine are reproduced, wrong numbers are noticed, and damaged folders are refused."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import TraceError
from envs.traffic.recordings.traces import load_case
from envs.traffic.recordings.verify import verify
from envs.verify import main
from tests.beside import GOLDEN, needs_recordings
from tests.envs.conftest import DATA as PARTICLE_DATA

DATA = Path(__file__).parents[1] / "data"
OWN = sorted(path.parent for path in DATA.glob("*/case.json"))
ALL = sorted(path.parent for path in (GOLDEN / "traffic").glob("*/case.json"))
Arrays = dict[str, np.ndarray]


def failures(path: Path) -> list[str]:
    return verify(load_case(path)).failures


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_own_cases(path: Path) -> None:
    assert failures(path) == []


def test_own_cases_are_there() -> None:
    assert len(OWN) == 11


@needs_recordings
@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_all_cases(path: Path) -> None:
    assert failures(path) == []


def test_everything_recorded_is_compared() -> None:
    """Parts and numbers of values, counted by hand. Links from three lanes to three lanes make 9 pairs that start
    together, 9 that end together and 9 that cross in between."""
    compared: dict[str, int] = {}
    for (part, _), quantity in verify(load_case(DATA / "straight_merge")).quantities.items():
        compared[part] = compared.get(part, 0) + quantity.compared
    with np.load(DATA / "straight_merge" / "vehicles.npz") as file:
        rows = len(file["step"])
    assert compared["totals"] == 6 * 500
    assert compared["lanes"] == 2 * 50 * 6 + 6
    assert compared["vehicles"] == 13 * rows + 125
    assert compared["geometry"] == 2 * 6 + 9 * 1 + 3 * 2 * (9 + 9 + 9)
    assert compared["lists"] > 400


def changed(case: str, target: Path, /, **changes: Callable[[Any], None]) -> Path:
    """A copy of a case in which files, named without their endings, are changed in place."""
    shutil.copytree(DATA / case, target)
    for name, change in changes.items():
        (file,) = target.glob(f"{name}.*")
        file.chmod(0o644)
        if file.suffix == ".npz":
            with np.load(file) as archive:
                content: Any = dict(archive)
            change(content)
            np.savez(file, **content)
        else:
            opener = gzip.open if file.suffix == ".gz" else open
            with opener(file, "rt") as stream:
                content = json.load(stream)
            change(content)
            with opener(file, "wt") as stream:
                json.dump(content, stream)
    return target


def next_number(array: np.ndarray, index: tuple[int, ...]) -> None:
    """Change one number as little as its type allows."""
    array[index] = np.nextafter(array[index], np.inf) if array.dtype.kind == "f" else array[index] + 1


def test_one_wrong_number_in_every_array_is_noticed(tmp_path: Path) -> None:
    """Each is found, counted once, named and placed, smallest changes of floating point numbers included."""
    totals = ("vehicle_count", "vehicles_incl_waiting", "average_travel_time", "waiting_sum", "speed_fsum",
              "distance_fsum")  # fmt: skip
    columns = ("speed", "dis", "enter_lanelink_time", "priority", "enter_time", "partner_type", "offset", "gap",
               "leader", "blocker", "running", "drivable", "vehicle")  # fmt: skip
    rows = {}

    def change_trace(arrays: Arrays) -> None:
        for number, name in enumerate(totals):
            next_number(arrays[name], (100 + number,))
        next_number(arrays["lane_count"], (7, 2))
        next_number(arrays["lane_waiting"], (8, 3))

    def change_vehicles(arrays: Arrays) -> None:
        (followers,) = np.nonzero(arrays["leader"] > 0)
        for number, name in enumerate(columns):
            row = int(followers[50 + 10 * number])
            rows[name] = f"step {arrays['step'][row]}, {arrays['vehicle_ids'][arrays['vehicle'][row]]}"
            if name in ("vehicle", "leader", "drivable", "running"):
                arrays[name][row] = {"vehicle": 0, "leader": -1, "drivable": 0, "running": 0}[name]
            else:
                next_number(arrays[name], (row,))

    path = changed("straight_merge", tmp_path / "case", trace=change_trace, vehicles=change_vehicles)
    found = failures(path)
    for number, name in enumerate(totals):
        assert any(line.startswith(f"totals: {name} differs in 1 of 500, first step {100 + number}:") for line in found)
    assert any(line.startswith("lanes: vehicles differs in 1 of 300, first step 79, in_2:") for line in found)
    assert any(line.startswith("lanes: waiting differs in 1 of 300, first step 89, out_0:") for line in found)
    renamed = {"dis": "distance", "enter_lanelink_time": "enter_link_time"}
    for name, place in rows.items():
        lines = [line for line in found if line.startswith(f"vehicles: {renamed.get(name, name)} differs in 1 of ")]
        assert len(lines) == 1, name
        assert name == "vehicle" or f"first {place}: recorded" in lines[0]
    assert len(found) == len(totals) + 2 + len(columns)


def test_a_missing_vehicle_is_noticed_without_a_flood(tmp_path: Path) -> None:
    def delete_row(arrays: Arrays) -> None:
        for name in set(arrays) - {"vehicle_ids", "drivable_ids"}:
            arrays[name] = np.delete(arrays[name], 1000)

    with np.load(DATA / "straight_merge" / "vehicles.npz") as file:
        step = int(file["step"][1000])
        number = int((file["step"] == step).sum())
    path = changed("straight_merge", tmp_path / "case", vehicles=delete_row)
    assert failures(path) == [
        f"vehicles: number of vehicles differs in 1 of 125, first step {step}: recorded {number - 1}, here {number}"
    ]


def test_wrong_lists_and_geometry_are_noticed(tmp_path: Path) -> None:
    def change_lists(lists: dict[str, Any]) -> None:
        late = lists["250"]
        order = late["vehicle_order"]
        order[3], order[4] = order[4], order[3]
        late["vehicle_order_all"].pop()
        late["lane_vehicles"]["in_1"].append("flow_9_9")
        late["waiting"]["in_0"] = ["flow_0_1"]
        late["info"]["flow_0_118"]["speed"] = "11.111001"
        late["leader"]["flow_0_118"] = "flow_0_7"

    def change_geometry(geometry: dict[str, Any]) -> None:
        geometry["lanes"]["in_0"][0] = float(np.nextafter(238.0, 300))
        geometry["lanes"]["out_0"][1] += 1
        link = geometry["lanelinks"]["in_0_TO_out_1"]
        link["crosses"][0], link["crosses"][1] = link["crosses"][1], link["crosses"][0]

    path = changed("straight_merge", tmp_path / "case", lists=change_lists, geometry=change_geometry)
    found = failures(path)
    assert found[:2] == [
        "geometry: lanes differs in 2 of 12, first lanes in_0 0: recorded 238.00000000000003, here 238.0",
        "geometry: lanelinks differs in 2 of 171, first lanelinks in_0_TO_out_1 crosses 0 0: "
        "recorded 'in_0_TO_out_2', here 'in_0_TO_out_0'",
    ]
    assert [line.split(" differs in")[0] for line in found[2:]] == [
        "lists: lane_vehicles",
        "lists: vehicle_order",
        "lists: vehicle_order_all",
        "lists: waiting",
        "lists: info",
        "lists: leader",
    ]
    assert all(", first step 250, " in line for line in found[2:])
    assert (
        "lists: waiting differs in 1 of 1, first step 250, waiting in_0: recorded ['flow_0_1'], here nothing" in found
    )


def test_wrong_script_results_are_noticed(tmp_path: Path) -> None:
    def change_script(script: dict[str, Any]) -> None:
        results = {"get_current_time": 20, "set_vehicle_route": True, "get_leader": {"RuntimeError": "no such vehicle"}}
        for method, result in results.items():
            next(entry for entry in script["ops"] if entry[1] == method)[3] = result
        script["states"]["250"]["att"] = float(np.nextafter(script["states"]["250"]["att"], 0))
        script["states"]["355"]["order"].reverse()

    found = failures(changed("api_grid2x2", tmp_path / "case", script=change_script))
    starts = [
        "results: get_current_time differs in 1 of 4, first step 20, get_current_time(): recorded 20, here 20.0",
        "results: get_leader differs in 1 of 39, first step 50, get_leader('flow_12_2'): recorded {'RuntimeError'",
        "results: set_vehicle_route differs in 1 of 27, first step 50, set_vehicle_route('flow_12_2', ['road_2_1_3']):",
        "states: att differs in 1 of 73, first step 250, att:",
        "states: order differs in ",
    ]
    assert len(found) == len(starts)
    for line, start in zip(found, starts, strict=True):
        assert line.startswith(start)


def test_wrong_lane_changes_are_noticed(tmp_path: Path) -> None:
    def change_vehicles(content: dict[str, Any]) -> None:
        content["steps"][8][2][5] += 2**-50

    def change_trace(arrays: Arrays) -> None:
        next_number(arrays["speed_sum"], (1, 40))
        next_number(arrays["lane_count_mean"], (3,))

    path = changed("lcx_two_vehicles", tmp_path / "case", vehicles=change_vehicles, trace=change_trace)
    assert [line.split(": recorded")[0] for line in failures(path)] == [
        "vehicles: offset differs in 1 of 1288, first step 8, flow_1_0",
        "totals: speed_sum differs in 1 of 990, first step 40",
        "lanes: mean vehicles differs in 1 of 4, first step 329, out_1",
    ]


def test_other_distributions_are_noticed(tmp_path: Path) -> None:
    def change_trace(arrays: Arrays) -> None:
        arrays["average_travel_time"][:, -1] += 0.5
        arrays["shadows"] *= 3

    path = changed("lc_two_vehicles", tmp_path / "case", trace=change_trace)
    assert [line.split(" differs in")[0] for line in failures(path)] == [
        "distributions: average_travel_time",
        "distributions: shadows",
    ]


@pytest.mark.parametrize("what", ["seed", "phases"])
def test_other_inputs_are_noticed(tmp_path: Path, what: str) -> None:
    def change_seed(about: dict[str, Any]) -> None:
        about["seed"] += 1

    def change_phase(arrays: Arrays) -> None:
        arrays["schedule"][4] = 1 - arrays["schedule"][4]

    changes = {"case": change_seed} if what == "seed" else {"trace": change_phase}
    found = failures(changed("straight_merge", tmp_path / "case", **changes))
    assert found[0].startswith("vehicles: " if what == "seed" else "totals: ")


def test_errors_of_the_engine_are_differences(tmp_path: Path) -> None:
    def name_intersection(arrays: Arrays) -> None:
        arrays["intersections"] = np.array(["nowhere"])

    (line,) = failures(changed("straight_merge", tmp_path / "case", trace=name_intersection))
    assert line.startswith('engine: errors differs in 1 of 1, first errors: recorded None, here "ValueError: ')
    assert "'nowhere'" in line


def delete(name: str) -> Callable[[Any], None]:
    return lambda content: content.pop(name)


def put(name: str, value: Any) -> Callable[[Any], None]:
    return lambda content: content.__setitem__(name, value)


DAMAGES: list[tuple[str, dict[str, Callable[[Any], None]], str]] = [
    ("straight_merge", {"case": delete("seed")}, "case.json: seed is None"),
    ("straight_merge", {"case": put("steps", 0)}, "case.json: steps is 0"),
    ("straight_merge", {"case": put("interval", "1")}, "case.json: interval is '1'"),
    ("straight_merge", {"case": put("phase_every", 0)}, "case.json: phase_every is 0"),
    ("straight_merge", {"case": put("phase_every", 5)}, "schedule has the shape (50, 1) instead of (100, 1)"),
    ("straight_merge", {"trace": delete("waiting_sum")}, "trace.npz: the field waiting_sum is missing"),
    ("straight_merge", {"trace": put("speed_fsum", np.full(500, np.nan))}, "trace.npz: speed_fsum is not finite"),
    ("straight_merge", {"trace": put("lane_steps", np.arange(50) * 11)}, "trace.npz: lane_steps goes from 0 to 539"),
    ("straight_merge", {"trace": put("lane_ids", np.arange(6))}, "trace.npz: lane_ids holds int64"),
    ("straight_merge", {"vehicles": delete("blocker")}, "vehicles.npz: the field blocker is missing"),
    ("straight_merge", {"vehicles": put("vehicle_ids", np.array(["a"]))}, "outside of -1 to 0"),
    ("straight_merge", {"lists": lambda lists: lists["250"].pop("waiting")}, "lists.json.gz: waiting missing"),
    ("straight_merge", {"lists": put("500", {})}, "lists.json.gz: '500' is not a step from 0 to 499"),
    ("straight_merge", {"lists": lambda lists: lists["250"].update(info=None)}, "lists.json.gz: holds None where"),
    ("straight_merge", {"geometry": lambda content: content["lanes"].update(in_0=[1])}, "geometry.json.gz: lengths"),
    ("straight_merge", {"roadnet": delete("roads")}, "the engine refuses the recorded files"),
    ("api_grid2x2", {"script": delete("states")}, "script.json.gz: states missing"),
    ("api_grid2x2", {"script": lambda script: script["ops"].append([359, "exit", [], None])}, "unknown method 'exit'"),
    (
        "api_grid2x2",
        {"script": lambda script: script["ops"].append([360, "reset", [], None])},
        "step 360 where 350 to 359",
    ),
    ("api_grid2x2", {"script": lambda script: script["ops"].append([3, "reset", [], None])}, "step 3 where 350"),
    ("api_grid2x2", {"script": lambda script: script["ops"].append([359, "load", ["C"], None])}, "snapshot 'C'"),
    ("lcx_two_vehicles", {"vehicles": lambda content: content["steps"].pop()}, "holds 329 steps instead of 330"),
    ("lcx_two_vehicles", {"vehicles": lambda content: content["steps"][0][0].pop()}, "vehicles.json.gz: a vehicle is"),
    ("lc_two_vehicles", {"case": delete("repeats")}, "case.json: repeats is None"),
]


@pytest.mark.parametrize(("case", "changes", "complaint"), DAMAGES, ids=[complaint for _, _, complaint in DAMAGES])
def test_damaged_fields_are_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    case: str,
    changes: dict[str, Callable[[Any], None]],
    complaint: str,
) -> None:
    path = changed(case, tmp_path / "case", **changes)
    assert main([str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert complaint in line


@pytest.mark.parametrize("case", ["straight_merge", "api_grid2x2", "lcx_two_vehicles"])
def test_unreadable_files_are_refused(tmp_path: Path, case: str) -> None:
    """Every file, when it is cut short, empty or missing; only lists and geometry may be missing."""
    for file in sorted((DATA / case).iterdir()):
        whole = file.read_bytes()
        for part in (whole[: len(whole) // 2], whole[:-5], b"", None):
            path = tmp_path / "case"
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(DATA / case, path)
            (path / file.name).unlink()
            optional = ("lists.json.gz", "geometry.json.gz", "vehicles.npz", "vehicles.json.gz")
            if part is not None:
                (path / file.name).write_bytes(part)
            elif file.name in optional:
                load_case(path)
                continue
            with pytest.raises(TraceError, match="case") as caught:
                load_case(path)
            assert "\n" not in str(caught.value)


def test_command_line_takes_both_kinds_of_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    particles, traffic = str(PARTICLE_DATA / "simple_spread_n3.npz"), str(DATA / "straight_merge")
    assert main([particles, traffic]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{particles}: largest errors"
    assert lines[-2].startswith(f"{traffic}: equal  geometry 183  lists 446  totals 3000  lanes 606  vehicles ")
    assert lines[-1] == "2 of 2 files agree"
    assert main(["--quiet", traffic, str(DATA), str(tmp_path / "absent")]) == 1
    shown = capsys.readouterr()
    assert shown.out == "1 of 3 files agree\n"
    assert [line.split(": ")[1].split(",")[0] for line in shown.err.splitlines()] == [
        "no case.json in it",
        "no such file or folder",
    ]
