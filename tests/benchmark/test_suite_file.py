"""Suites of one's own from a TOML file, and tasks of one's own in the runs of a sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.suite_file import read_suite
from benchmark.suites import SUITES, requests_of
from envs.traffic.synthetic.grid import write_grid
from envs.traffic.synthetic.trips import GridFlow
from results.files import read_json
from results.folder import status_of
from results.keys import RunKey
from tests.pages import recipe
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
tasks = ["mpe/cooperative_navigation_3", "game/echo_8"]
algorithms = ["iql"]
seeds = [0, 4]
total_steps = 400
[settings]
"training.batch_size" = 32
"training.learning_starts" = 32
"algorithm.hidden" = [16, 32]
"algorithm.gamma" = [0.9]
"""


HEAD = 'tasks = ["game/echo_8"]\nalgorithms = ["iql"]\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_runs_are_all_combinations(tmp_path: Path) -> None:
    requests = read_suite(written(tmp_path, SUITE))
    assert len(requests) == 2 * 2 * 2
    assert requests[0].key == RunKey("mpe/cooperative_navigation_3", "iql", "mine-hidden=16-gamma=0.9", 0)
    assert requests[3].key.variant == "mine-hidden=32-gamma=0.9"
    assert {request.total_steps for request in requests} == {400}
    config = requests[-1].resolve()
    assert (config.training.batch_size, config.algorithm_settings.hidden) == (32, 32)
    assert requests_of(str(tmp_path / "mine.toml")) == requests


def test_settings_stand_in_tables_too(tmp_path: Path) -> None:
    """Without quotes TOML reads dots as tables; a byte order mark is no part of the file."""
    tables = "[settings]\ntraining.batch_size = 32\n[settings.algorithm]\nhidden = [16, 32]\n"
    quoted = '[settings]\n"training.batch_size" = 32\n"algorithm.hidden" = [16, 32]\n'
    requests = read_suite(written(tmp_path, f"\ufeff{HEAD}{tables}"))
    assert requests == read_suite(written(tmp_path, HEAD + quoted))
    assert [request.key.variant for request in requests] == ["mine-hidden=16", "mine-hidden=32"]


def test_a_variant_needs_a_name(tmp_path: Path) -> None:
    (request,) = read_suite(written(tmp_path, f'{HEAD}variant = ""'))
    with pytest.raises(UserError, match="variant '': use letters"):
        request.resolve()


def test_what_is_left_out_has_defaults(tmp_path: Path) -> None:
    (request,) = read_suite(written(tmp_path, 'tasks = ["game/echo_8"]\nalgorithms = ["ip"]\nvariant = "v"\n'))
    assert (request.key, request.total_steps) == (RunKey("game/echo_8", "ip", "v", 0), 20_000)
    assert request.overrides == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tasks = [", "cannot be read"),
        ('algorithms = ["ip"]', r"tasks = \[\]: expected a list of a text or several"),
        (
            'tasks = ["game/echo_8"]\nalgorithms = ["ip"]\nsees = [1]',
            "sees: there is no such entry; did you mean",
        ),
        ('tasks = "game/echo_8"\nalgorithms = ["ip"]', "tasks = 'game/echo_8': expected a list"),
        ('tasks = ["game/echo_8"]\nalgorithms = ["ip"]\nseeds = [1, 1]', "the same one twice"),
        (
            'tasks = ["game/echo_8"]\nalgorithms = ["ip"]\nseeds = [true]',
            "expected a list of a whole number or several",
        ),
        (f"{HEAD}total_steps = 0", "total_steps = 0: expected a positive number of steps"),
        (f"{HEAD}total_steps = 2e4", r"total_steps = 20000\.0: expected a whole number"),
        (f"{HEAD}settings = [1]", r"settings = \[1\]: expected a table"),
        (f"{HEAD}[settings]\n'algorithm.hidden' = []", r"algorithm\.hidden = \[\]: expected a text, a number"),
        (f"{HEAD}[settings]\n'algorithm.hidden' = [[1]]", r"algorithm\.hidden = \[\[1\]\]: expected a text, a number"),
        (f"{HEAD}[settings]\n'algorithm.hidden' = 1979-05-27", r"algorithm\.hidden = datetime.*: expected a text"),
        (f"{HEAD}[settings]\n'algorithm.hidden' = [8, 8]", "the same one twice"),
    ],
)
def test_mistakes_in_a_file_are_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        read_suite(written(tmp_path, text))


def test_recipe_of_a_suite_is_read(tmp_path: Path) -> None:
    """The page's file: two algorithms, two learning rates, three seeds."""
    asked = read_suite(written(tmp_path, recipe("benchmark/README.md", "my_suite.toml")))
    assert len(asked) == 12
    assert {request.key.algorithm for request in asked} == {"ip", "iql"}
    assert {request.overrides["algorithm.learning_rate"] for request in asked} == {0.001, 0.003}
    assert {request.total_steps for request in asked} == {20_000}


def test_names_of_suites_are_looked_up() -> None:
    assert requests_of("quick") == SUITES["quick"]()
    with pytest.raises(UserError, match="--suite quik: did you mean quick"):
        requests_of("quik")


def test_a_sweep_makes_runs_of_a_task_from_elsewhere(tmp_path: Path) -> None:
    """The module that registers it is imported in the processes of the runs, too."""
    (tmp_path / "my_tasks.py").write_text(recipe("envs/README.md", "a particle task"))
    text = SUITE.replace('"mpe/cooperative_navigation_3", "game/echo_8"', '"mpe/wide_navigation_10"')
    written(tmp_path, text.replace("[0, 4]", "[0]").replace("[16, 32]", "[16]"))
    command = [sys.executable, "-m", "benchmark.sweep", "--suite", "mine.toml", "--results", "runs", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--import", "my_tasks", "--set", "training.evaluation_episodes=2"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "runs" / "mpe" / "wide_navigation_10" / "iql").glob("*/seed_0")
    assert status_of(folder)["state"] == "finished"


FOREIGN = """
tasks = ["pettingzoo:tests.envs.line_world:LineWorld", "cityflow/synthetic_4"]
algorithms = ["iql"]
total_steps = 400
[settings]
"training.batch_size" = 16
"training.learning_starts" = 16
"training.evaluation_interval" = 400
"training.evaluation_episodes" = 2
"algorithm.hidden" = 16
"""


def test_tasks_may_be_environments_of_other_packages_and_cities(tmp_path: Path) -> None:
    """Runs and reference policies, in processes of their own; the same command again has nothing left to do."""
    town = tmp_path / "town"
    write_grid(town, 1, 2, GridFlow(rate=600.0, horizon=300))
    path, results = written(tmp_path, FOREIGN.replace("cityflow/synthetic_4", town.as_posix())), tmp_path / "results"
    requests = requests_of(str(path))
    assert [request.key.task for request in requests] == [
        "pettingzoo/tests.envs.line_world_LineWorld_3",
        "cityflow/town_2",
    ]
    assert requests[1].resolve().environment.map == str(town / "config.json")
    command = [sys.executable, "-m", "benchmark.sweep", "--suite", str(path), "--results", str(results)]
    for words in ("2 finished now", "2 had finished before"):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert words in done.stdout
    for request in requests:
        assert read_json(results / request.key.task / "references.json")["policies"]
