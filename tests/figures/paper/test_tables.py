"""Tables 1 and 2: the paper's numbers, and those of the runs."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from algorithms.common.learner import OffPolicyLearner
from figures.analysis import Analysis
from figures.analysis.paper_values import Entry, load_paper
from figures.analysis.settings import describe, setting_of, setting_runs
from figures.paper import hyperparameters, tasks
from figures.tables import DASH
from results.keys import RunKey
from results.load import load_results
from results.paper import COMPARED_TASKS, TABLE_1
from results.records import Results, Run, Status
from tests.beside import PAPER, needs_paper

ROOT = Path(__file__).resolve().parents[3]
PARAMETERS = {
    "optimizer": "Adam",
    "learning rate of all networks": "0.01",
    "discount of reward": "0.95",
    "replay buffer size": "10^6",
    "max episode length in MPE, MAgent": "25",
    "max episode length in CityFlow": "100",
    "number of hidden units per layer": "128",
    "number of samples per minibatch": "1024",
    "nonlinearity": "ReLU",
    "target smoothing coefficient (τ)": "0.01",
    "target update interval": "1",
    "gradient steps": "8",
    "regularizer factor(\u03b1)": "0.2",
}
SETTINGS: dict[str, Any] = {
    "environment": {"episode_length": 25},
    "training": {"replay_capacity": 1_000_000, "batch_size": 1024, "gradient_steps": 8},
    "algorithm_settings": {"learning_rate": 0.01, "gamma": 0.95, "hidden": 128, "tau": 0.01},
}


def made_run(
    task: str = "mpe/cooperative_navigation_30",
    algorithm: str = "ip",
    variant: str = "default",
    seed: int = 0,
    steps: tuple[int, int] = (1_500_000, 1_500_000),
    **changes: Any,
) -> Run:
    """A run of `steps` run and planned, with the settings of Table 2 but for `group__name=value`."""
    config: dict[str, Any] = {group: dict(settings) for group, settings in SETTINGS.items()} | {"total_steps": steps[1]}
    if algorithm == "ip":
        config["algorithm_settings"]["alpha"] = 0.2
    for name, value in changes.items():
        group, _, setting = name.partition("__")
        config[group][setting] = value
    status = Status("finished" if steps[0] == steps[1] else "running", steps[0], "", "", 1.0)
    return Run(RunKey(task, algorithm, variant, seed), config, {}, status, (), (), ())


def cells(results: Results) -> dict[str, dict[str, str]]:
    """Table 2 by parameter and column."""
    table = hyperparameters.table(Analysis(results))
    return {row[0][0]: dict(zip(table.header, (text for text, _ in row), strict=True)) for row in table.rows}


def test_table_2_has_the_papers_parameters_in_its_order() -> None:
    rows = cells(Results(()))
    assert {name: row["The paper"] for name, row in rows.items()} == PARAMETERS
    assert list(rows) == list(PARAMETERS)


@needs_paper
def test_table_2_is_copied_from_the_paper() -> None:
    lines = PAPER.read_text(encoding="utf-8").splitlines()
    first = lines.index("Parameter\tValue") + 1
    printed = dict(line.split("\t") for line in lines[first : first + len(PARAMETERS)])
    assert printed == PARAMETERS
    assert lines[first + len(PARAMETERS)].strip() == "", "the table ends there"


def test_table_2_of_runs_with_the_papers_settings() -> None:
    city: dict[str, Any] = {"environment__episode_seconds": 1000, "environment__decision_seconds": 10}
    runs = (
        made_run(),
        made_run(algorithm="iql", algorithm_settings__learning_rate=0.001),
        made_run("cityflow/synthetic_49", **city),
        made_run(variant="small", training__batch_size=64),
    )
    rows = cells(Results(runs))
    same = {name: row["Same"] for name, row in rows.items()}
    assert [name for name, verdict in same.items() if verdict != "yes"] == ["learning rate of all networks"]
    rate = rows["learning rate of all networks"]
    assert (rate["Here"], rate["Same"]) == ("0.01 (IP); 0.001 (IQL)", "no")
    assert "q-learning-rate" in rate["Deviation"]
    assert rows["number of samples per minibatch"]["Here"] == "1,024", "the small run is not looked at"
    assert rows["max episode length in CityFlow"]["Here"] == "100"
    assert "of variant default" in hyperparameters.table(Analysis(Results(runs))).caption
    table = hyperparameters.table(Analysis(Results(runs)))
    assert table.bold == {(1, table.header.index("Same"))}


def test_table_2_names_the_smaller_runs_where_there_are_no_others() -> None:
    runs = (made_run(variant="small", training__batch_size=64), made_run("magent/jungle_20", variant="team"))
    rows, table = cells(Results(runs)), hyperparameters.table(Analysis(Results(runs)))
    minibatch = rows["number of samples per minibatch"]
    assert minibatch["Here"] == "64 (Cooperative navigation, N = 30 (small)); 1,024 (Jungle, N = 20 (team))"
    assert (minibatch["Same"], minibatch["Deviation"]) == ("no", "small-batches")
    assert "smaller runs, because variant default was not run" in table.caption
    assert "Jungle, N = 20 (team)" in table.caption
    assert (rows["max episode length in CityFlow"]["Here"], rows["max episode length in CityFlow"]["Same"]) == (
        "not run",
        DASH,
    )


def test_settings_are_taken_from_the_papers_tasks_first() -> None:
    small = made_run("mpe/cooperative_navigation_3", variant="quick")
    paper = made_run(variant="small")
    usual = made_run(seed=3)
    assert setting_runs(Analysis(Results((small,)))) == (small,)
    assert setting_runs(Analysis(Results((small, paper)))) == (paper,)
    assert setting_runs(Analysis(Results((small, paper, usual)))) == (usual,)


def test_values_name_what_they_depend_on() -> None:
    one, two = made_run(), made_run(algorithm="pic")
    three, four = made_run("magent/jungle_20"), made_run("magent/jungle_20", algorithm="pic")
    assert describe([(1.0, one), (1.0, two)]) == "1"
    assert describe([(1.0, one), (0.5, two), (1.0, three)]) == "1 (IP); 0.5 (PIC)"
    assert describe([(1.0, one), (1.0, two), (2.0, three)]) == "1 (Cooperative navigation, N = 30); 2 (Jungle, N = 20)"
    mixed = describe([(1.0, one), (2.0, two), (2.0, three), (1.0, four)])
    assert mixed == (
        "1 (IP on Cooperative navigation, N = 30, PIC on Jungle, N = 20); "
        "2 (PIC on Cooperative navigation, N = 30, IP on Jungle, N = 20)"
    )


def test_a_setting_that_a_run_does_not_have_is_none() -> None:
    entries: dict[str, Entry] = {entry.text: entry for entry in load_paper() if entry.where == "Table 2"}
    assert setting_of(made_run(algorithm="pic"), entries["regularizer factor(\u03b1)"]) is None
    assert setting_of(made_run(), entries["max episode length in CityFlow"]) is None
    assert setting_of(made_run(), entries["max episode length in MPE, MAgent"]) == 25.0


def test_every_learner_has_adam_and_relu() -> None:
    """What Table 2 says here of the optimizer, the nonlinearity and the one exception."""
    assert "torch.optim.Adam(" in inspect.getsource(OffPolicyLearner.adam)
    sources = {path: path.read_text() for path in (ROOT / "algorithms").rglob("*.py")}
    makers = [
        path.name for path, text in sources.items() if "torch.optim." in text.replace("torch.optim.Optimizer", "")
    ]
    assert makers == ["learner.py"], "every optimiser is made there"
    others = ("leaky_relu(", "gelu(", "silu(", "functional.elu(", "nn.ELU(", "nn.Tanh(")
    assert {path.name for path, text in sources.items() if any(word in text for word in others)} == {"qmix.py"}


def test_table_1_has_the_papers_tasks() -> None:
    table = tasks.table(Analysis(Results(())))
    place = table.header.index("N")
    assert {row[2][0]: row[place][1] for row in table.rows} == {task.name: task.num_agents for task in TABLE_1}
    assert [row[2][0] for row in table.rows] == list(COMPARED_TASKS)
    assert all(row[3][0] == "not run" and row[4][0] == DASH == row[-1][0] for row in table.rows)


@needs_paper
def test_table_1_is_copied_from_the_paper() -> None:
    lines = PAPER.read_text(encoding="utf-8").splitlines()
    first = [line.split() for line in lines].index(["Env", "Scenarios", "#agents", "(N)"]) + 1
    block = lines[first : first + 8]
    entries = [entry for entry in load_paper() if entry.kind == "task"]
    assert {entry.line for entry in entries} == set(range(first + 1, first + 9)), "every line has its tasks"
    for entry in entries:
        line = block[entry.line - first - 1]
        sizes = [int(part) for part in line.split("N=")[1].split(", F")[0].split(", ")]
        assert entry.text in line
        assert entry.value in sizes
    assert sum(line.split("N=")[1].split(", F")[0].count(",") + 1 for line in block) == len(entries) == 13


def test_table_1_says_what_was_run() -> None:
    runs = (
        *(made_run(algorithm=name, seed=seed) for name in ("ip", "pic") for seed in (0, 1)),
        made_run("magent/jungle_20", variant="team", steps=(500, 1000)),
        made_run("magent/jungle_20", variant="team", seed=1, steps=(1000, 1000)),
        made_run("magent/jungle_20", "iql", "team", steps=(1000, 1000)),
    )
    rows = {row[2][0]: [text for text, _ in row] for row in tasks.table(Analysis(Results(runs))).rows}
    assert rows["mpe/cooperative_navigation_30"] == [
        "MPE",
        "Cooperative Nav.",
        "mpe/cooperative_navigation_30",
        "default",
        "2 algorithms \u00d7 2 seeds",
        "30",
        "1,500,000",
        "1,500,000",
    ]
    assert rows["magent/jungle_20"][3:] == ["team", "IP 1 of 2, IQL 1", "20", "1,000", "500 to 1,000"]


def test_tables_of_the_published_runs() -> None:
    results = load_results(ROOT / "results" / "published")
    rows = {row[2][0]: [text for text, _ in row] for row in tasks.table(Analysis(results)).rows}
    assert rows["cityflow/hangzhou_16"][3:] == ["table1", "7 algorithms \u00d7 3 seeds", "16", "30,000", "30,000"]
    second = cells(results)
    assert second["discount of reward"]["Here"] == "0.95"
    assert second["learning rate of all networks"]["Here"].startswith("0.003 (IP, MADDPG, MADDPGS, PIC)")
