"""Runs on a city from a CityFlow configuration: what is recorded, what is refused, sweeps, references, policies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import envs
from benchmark import sweep, train
from benchmark.config import RunConfig, resolve
from benchmark.errors import UserError, report_errors
from benchmark.launchers.pool import command_of, references_command
from benchmark.plan import plan_runs, with_maps
from benchmark.play import main as play
from benchmark.policies import load_policy
from benchmark.references import missing_references, write_references
from benchmark.requests import RunRequest
from benchmark.suites import SUITES, signals
from envs import traffic_names
from envs.errors import TrafficFileError
from envs.traffic.synthetic.grid import write_grid
from envs.traffic.synthetic.trips import GridFlow
from results.keys import RunKey
from tests.benchmark.conftest import SMALL
from tests.pages import recipe

ROOT = Path(__file__).resolve().parents[2]
PAGE = "envs/traffic/YOUR_CITY.md"
TASK = "cityflow/town_2"
SHORT = SMALL | {
    "environment.episode_seconds": 100,
    "training.evaluation_episodes": 1,
    "training.evaluation_interval": 1000,
}


@pytest.fixture
def town(tmp_path: Path) -> Path:
    write_grid(tmp_path / "town", 1, 2, GridFlow(rate=400.0, horizon=300))
    return tmp_path / "town"


def config(task: str | Path, **overrides: Any) -> RunConfig:
    return resolve(str(task), "iql", 0, 200, SHORT | overrides, "test")


def alter(file: Path) -> None:
    file.write_text(file.read_text() + "\n")


def forget_cities() -> None:
    """As in a process that begins."""
    traffic_names.CONFIGURED.clear()


def test_run_records_its_files_and_goes_on_where_they_have_been_moved(town: Path, tmp_path: Path) -> None:
    folder = train.run(config(town), tmp_path / "results", quiet=True)
    assert folder == tmp_path / "results" / TASK / "iql" / "test" / "seed_0"
    _, settings = envs.locate(str(town))
    assert json.loads((folder / "config.json").read_text())["environment"].items() >= settings.items()
    city = json.loads((folder / "machine.json").read_text())["city"]
    assert (city["roadnet"], city["flow"]) == (str(town / "roadnet.json"), str(town / "flow.json"))
    played = load_policy(folder / "policy.pt").config
    assert (played.digest(), played.environment) == (config(town).digest(), config(town).environment)
    moved = shutil.move(town, tmp_path / "elsewhere" / "town")
    forget_cities()
    assert config(moved).digest() == config(moved, **{"environment.map": str(moved)}).digest()
    assert train.run(config(moved), tmp_path / "results", quiet=True) == folder
    with pytest.raises(TrafficFileError, match="there is no such file or folder"):
        load_policy(folder / "policy.pt")
    assert load_policy(folder / "policy.pt", city=str(moved)).config.task == TASK


def test_changed_files_are_refused(town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train.run(config(town), tmp_path / "results", quiet=True)
    recorded = config(town)
    alter(town / "flow.json")
    with pytest.raises(TrafficFileError, match=r"flow\.json has changed: .* restore the file"):
        recorded.make_environment(1)
    with pytest.raises(
        UserError, match=r"made with other files of cityflow/town_2: its flow had the sha256 .* restore"
    ):
        train.run(config(town), tmp_path / "results", quiet=True)
    request = RunRequest(RunKey(TASK, "iql", "test", 0), 200, SHORT | {"environment.map": str(town)})
    item = plan_runs([request], tmp_path / "results", "cpu")[0]
    assert item.state == "stale"
    assert "other files of the city (its flow had the sha256" in item.reason
    arguments = [str(town), "--policy", str(folder / "policy.pt"), "--gif", str(tmp_path / "out.gif")]
    assert report_errors(lambda: play(arguments)) == 2
    assert "flow.json has changed" in capsys.readouterr().err


def test_name_and_settings_are_enough_for_another_process(town: Path) -> None:
    first = config(town)
    requests, names = with_maps([RunRequest(RunKey("cityflow/synthetic_4", "iql", "test", 0), 200, SHORT)], [str(town)])
    assert names == [TASK]
    words = command_of(requests[-1], "cpu", Path("results"))
    forget_cities()
    options = train.parse_arguments(words[1:])
    again = resolve(options.task, options.algorithm, options.seed, 200, train.settings_of(options), "test")
    assert again == first


def test_variant_is_not_named_after_files(town: Path) -> None:
    assert resolve(str(town), "iql", 0, 100).variant == "default"
    assert resolve(str(town), "iql", 0, 100, {"algorithm.gamma": 0.9}).variant == "gamma=0.9"


def test_cities_of_the_project_have_the_identity_they_had() -> None:
    """Settings that came with configurations are in no record of other runs."""
    listed = resolve("cityflow/synthetic_4", "iql", 0, 100)
    assert not {"map", "roadnet_sha256", "flow_sha256"} & listed.record()["environment"].keys()
    assert listed.digest() == "d10fe171d24f"


def test_references_are_played_anew_for_other_files(town: Path, tmp_path: Path) -> None:
    run = config(town)
    assert missing_references([run], tmp_path) == [[run]]
    command = references_command([run], tmp_path)
    assert command[2] == run.task
    assert f"--set=environment.map={town / 'config.json'}" in command
    before = write_references(str(town), tmp_path, 1, run.training.evaluation_seed)
    assert missing_references([run], tmp_path) == []
    write_grid(town, 1, 2, GridFlow(rate=900.0, horizon=300))
    assert len(missing_references([config(town)], tmp_path)) == 1
    after = write_references(str(town), tmp_path, 1, run.training.evaluation_seed)
    assert after["policies"]["fixed_time"]["returns"] != before["policies"]["fixed_time"]["returns"]


def test_a_map_has_the_runs_of_the_nearest_traffic_task(town: Path) -> None:
    requests, names = with_maps(signals(), ["cityflow/hangzhou_16", str(town)])
    assert names == ["cityflow/hangzhou_16", TASK]
    in_town = [request for request in requests if request.key.task == TASK]
    like = [request for request in signals() if request.key.task == "cityflow/synthetic_9"]
    assert [(c.key.algorithm, c.key.variant, c.key.seed, c.total_steps) for c in in_town] == [
        (c.key.algorithm, c.key.variant, c.key.seed, c.total_steps) for c in like
    ]
    assert all(request.overrides["environment.map"] == str(town / "config.json") for request in in_town)
    with pytest.raises(UserError, match="no traffic task whose settings a map could take"):
        with_maps(SUITES["quick"](), [str(town)])


def test_sweep_makes_runs_and_references_of_a_map(
    town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(
        SUITES, "smoke", lambda: [RunRequest(RunKey("cityflow/synthetic_4", "iql", "tiny", 0), 200, SHORT)]
    )
    results = tmp_path / "results"
    words = ["sweep", "--suite", "smoke", "--tasks", str(town), "--results", str(results), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", words)
    assert sweep.main() == 0
    assert "1 finished now" in capsys.readouterr().out
    assert (results / TASK / "iql" / "tiny" / "seed_0" / "policy.pt").exists()
    assert "max_pressure" in json.loads((results / TASK / "references.json").read_text())["policies"]


def test_page_trains_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ten lines of the page, as they stand there, on a city of which there are only the two files."""
    code = recipe(PAGE, "your city")
    assert len(list(filter(None, code.splitlines()))) == 10
    write_grid(tmp_path / "my_city", 2, 2, GridFlow(rate=400.0, horizon=600))
    (tmp_path / "my_city" / "config.json").unlink()
    monkeypatch.chdir(tmp_path)
    exec(compile(code, PAGE, "exec"), {})
    table = {line.rsplit(None, 2)[0]: float(line.split()[-2]) for line in capsys.readouterr().out.splitlines()}
    assert table.keys() == {"random", "fixed_time", "sotl", "max_pressure", "iql"}
    assert 0 < table["max_pressure"] < table["fixed_time"]
    assert table["iql"] > 0
    assert (tmp_path / "results" / "my_city" / "cityflow" / "my_city_4" / "references.json").exists()
