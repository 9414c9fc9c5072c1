"""Cities from CityFlow configurations as tasks: names, settings, and what is refused."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
import torch

import envs
from envs import traffic_names
from envs.errors import TrafficFileError, UnknownTaskError
from envs.traffic import Engine
from envs.traffic.synthetic.grid import write_grid
from envs.traffic.synthetic.trips import GridFlow
from envs.traffic.tasks import write_files
from tests.beside import CASES, needs_cases

TASK = "cityflow/town_2"


@pytest.fixture
def town(tmp_path: Path) -> Path:
    """A folder with a city of two signals and its configuration."""
    write_grid(tmp_path / "town", 1, 2, GridFlow(rate=400.0, horizon=300))
    return tmp_path / "town"


def change(town: Path, **values: object) -> None:
    """Change keys of the configuration."""
    config = town / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | values))


def test_folder_and_file_are_the_same_task(town: Path) -> None:
    assert envs.locate(str(town)) == envs.locate(str(town / "config.json"))
    name, settings = envs.locate(str(town))
    assert name == TASK
    assert settings["map"] == str(town / "config.json")
    assert TASK in envs.tasks()


def test_every_function_takes_a_path(town: Path) -> None:
    path = str(town)
    environment = envs.make(path, 2)
    assert environment.spec == envs.spec(path) == envs.spec(TASK)
    assert environment.spec.num_agents == 2
    assert envs.settings(path) is envs.settings("cityflow/synthetic_4")
    assert "max_pressure" in envs.reference_policies(path)
    assert envs.full_evaluation(path) == envs.full_evaluation("cityflow/synthetic_4")


def test_city_is_that_of_the_files(town: Path) -> None:
    """An episode in which every signal keeps its first green has the travel time of CityFlow's interface."""
    environment = envs.make(str(town), 1, yellow_seconds=0, episode_seconds=300)
    step = environment.reset(0)
    for _ in range(environment.spec.episode_length):
        step = environment.step(torch.zeros(1, 2, dtype=torch.int64))
    change(town, dir=f"{town}/")
    engine = Engine(str(town / "config.json"))
    for name in ("intersection_1_1", "intersection_2_1"):
        engine.set_tl_phase(name, 1)
    engine.run(300)
    assert environment.scores()["average_travel_time"].item() == engine.get_average_travel_time()
    assert step.truncated.all()


def test_settings_make_the_task_where_it_is_unknown(town: Path) -> None:
    name, settings = envs.locate(str(town))
    traffic_names.CONFIGURED.clear()
    with pytest.raises(UnknownTaskError, match="path of a CityFlow configuration"):
        envs.make(name, 1)
    assert envs.make(name, 1, **settings).spec.num_agents == 2


@pytest.mark.parametrize("file", ["roadnet.json", "flow.json"])
def test_changed_file_is_refused(town: Path, file: str) -> None:
    name, settings = envs.locate(str(town))
    (town / file).write_text((town / file).read_text() + "\n")
    with pytest.raises(TrafficFileError, match=f"{file} has changed: its sha256 is .* restore the file"):
        envs.make(name, 1, **settings)


def test_moved_files_are_the_same_task(town: Path) -> None:
    name, settings = envs.locate(str(town))
    moved = town.parent / "elsewhere" / "town"
    shutil.copytree(town, moved)
    shutil.rmtree(town)
    assert envs.locate(str(moved), {"roadnet_sha256": settings["roadnet_sha256"]})[0] == name


def test_lane_changes_follow_the_configuration(town: Path) -> None:
    change(town, laneChange=True)
    assert envs.locate(str(town))[1]["lane_change"] is True
    assert envs.locate(str(town), {"lane_change": False})[1]["lane_change"] is False


def test_files_are_found_from_the_current_folder_and_compressed(town: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = town / "flow.json"
    (town / "flow.json.gz").write_bytes(gzip.compress(flow.read_bytes()))
    flow.unlink()
    (town / "data").mkdir()
    shutil.move(town / "roadnet.json", town / "data" / "roadnet.json")
    shutil.move(town / "flow.json.gz", town / "data" / "flow.json.gz")
    change(town, dir="town/data/", flowFile="flow.json.gz")
    with pytest.raises(TrafficFileError, match="there is no file"):
        envs.locate(str(town))
    monkeypatch.chdir(town.parent)
    assert envs.locate("town")[0] == TASK


def test_names_have_no_strange_letters(town: Path) -> None:
    town.rename(town.with_name("my town (new)"))
    assert envs.locate(str(town.with_name("my town (new)")))[0] == "cityflow/my_town__new__2"


def test_name_of_another_city_is_refused(town: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "town"
    write_grid(other, 1, 2, GridFlow(rate=300.0, horizon=300))
    envs.locate(str(town))
    with pytest.raises(TrafficFileError, match=f"would both be {TASK}: give one of their folders another name"):
        envs.locate(str(other))


def test_name_of_a_task_of_the_project_is_refused(tmp_path: Path) -> None:
    write_grid(tmp_path / "synthetic", 2, 2, GridFlow(horizon=300))
    with pytest.raises(TrafficFileError, match="cityflow/synthetic_4 is a task of this project"):
        envs.locate(str(tmp_path / "synthetic"))


def test_settings_of_another_city_are_refused(town: Path) -> None:
    with pytest.raises(UnknownTaskError, match=f"is the task {TASK}, not cityflow/synthetic_4"):
        envs.make("cityflow/synthetic_4", 1, map=str(town))


def test_a_name_comes_before_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cityflow" / "synthetic_4").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert envs.locate("cityflow/synthetic_4") == ("cityflow/synthetic_4", {})


def test_folders_that_are_no_city(town: Path, tmp_path: Path) -> None:
    with pytest.raises(TrafficFileError, match="there is no such file or folder"):
        envs.make(str(tmp_path / "nowhere"), 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrafficFileError, match="holds no CityFlow configuration"):
        envs.make(str(tmp_path / "empty"), 1)
    shutil.copy(town / "config.json", town / "second.json")
    with pytest.raises(TrafficFileError, match=r"holds 2 configurations \(config.json, second.json\): give the path"):
        envs.make(str(town), 1)
    assert envs.make(str(town / "second.json"), 1).spec.num_agents == 2


def test_configurations_that_make_no_task(town: Path) -> None:
    with pytest.raises(TrafficFileError, match="this is a road network"):
        envs.make(str(town / "roadnet.json"), 1)
    (town / "flow.json").unlink()
    with pytest.raises(TrafficFileError, match=r"there is no file .*flow\.json"):
        envs.make(str(town), 1)
    change(town, interval=0.5)
    with pytest.raises(TrafficFileError, match=r"'interval' is 0\.5; tasks take steps of 1 s"):
        envs.make(str(town), 1)


def test_roads_without_a_choice_make_no_task(town: Path) -> None:
    roadnet = json.loads((town / "roadnet.json").read_text())
    for intersection in roadnet["intersections"]:
        light = intersection.get("trafficLight")
        if light:
            light["lightphases"] = light["lightphases"][:1]
    (town / "roadnet.json").write_text(json.dumps(roadnet))
    with pytest.raises(TrafficFileError, match=r"roadnet\.json: the network has no signals to control"):
        envs.make(str(town), 1)


def test_files_for_the_original_engine_are_the_same(town: Path, tmp_path: Path) -> None:
    """What CityFlow in place of this engine reads, from a compressed file as well."""
    (town / "flow.json.gz").write_bytes(gzip.compress((town / "flow.json").read_bytes()))
    change(town, flowFile="flow.json.gz")
    name, _ = envs.locate(str(town))
    (tmp_path / "written").mkdir()
    write_files(name, tmp_path / "written")
    for file in ("roadnet.json", "flow.json"):
        assert (tmp_path / "written" / file).read_bytes() == (town / file).read_bytes()


@needs_cases
def test_case_of_a_map_that_nobody_knew() -> None:
    assert envs.make(str(CASES / "own_map_task"), 1).spec.num_agents == 2
    assert "cityflow/own_map_task_2" in envs.tasks()
