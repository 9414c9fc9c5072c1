"""The table of costs holds what was measured, and says why where nothing could be."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import memory
from benchmark.errors import UserError
from benchmark.profiling import cost, measure, update_cost
from benchmark.profiling.cost import Cell, Cost, csv_text, describe, fill, markdown, measure_apart
from benchmark.profiling.synthetic import ROAD_GRID_AGENTS, problem
from benchmark.units import GIB
from envs import traffic_names
from envs.traffic.synthetic.grid import write_grid
from envs.traffic.synthetic.trips import GridFlow


def test_the_command_writes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--algorithms", "ip", "iql", "--agents", "3", "--batch", "64", "--csv"]
    assert cost.main([*command, "--output", str(tmp_path / "cost.md")]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "2 of 2: iql, 3 agents ... " in said.err
    lines = (tmp_path / "cost.md").read_text().splitlines()
    assert lines[2:4] == ["| algorithm | 3 agents |", "|---|---:|"]
    assert [line.split(" | ")[0] for line in lines[4:]] == ["| ip", "| iql"]
    with (tmp_path / "cost.csv").open() as stream:
        rows = {row["algorithm"]: row for row in csv.DictReader(stream)}
    assert len(rows) == 2
    assert all(row["agents"] == "3" and row["batch"] == "64" and row["note"] == "" for row in rows.values())
    assert all(int(row["bytes"]) > 0 for row in rows.values())
    assert float(rows["ip"]["seconds"]) > float(rows["iql"]["seconds"]) > 0


def test_memory_grows_with_the_batch() -> None:
    """By at least what the activations of one hidden layer take, and at most twice what is set aside."""
    small, large = (measure_apart(Cell("iql", 100), batch, "cpu") for batch in (64, 512))
    assert small.bytes is not None
    assert large.bytes is not None
    grown = (512 - 64) * 100 * 4
    assert large.bytes - small.bytes > 128 * grown
    settings = update_cost.algorithms.config_type("iql")()
    assert large.bytes < 2 * memory.reserved_bytes("iql", problem(100), settings, 512, "cpu")


def test_a_measurement_is_four_updates_after_a_small_one_of_another_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = update_cost.algorithms.learner_type("iql")
    update, calls = kind.update, []

    def counted(self, batch, generator):  # type: ignore[no-untyped-def]
        if batch.observation.device.type != "meta":  # where its memory is told
            calls.append(tuple(batch.observation.shape))
        return update(self, batch, generator)

    monkeypatch.setattr(kind, "update", counted)
    result = update_cost.measure("iql", 5, 16, "cpu")
    assert calls == [(2, 5, 26)] + [(16, 5, 26)] * 4
    assert (result.batch, result.note) == (16, "")
    assert result.seconds is not None
    assert result.seconds > 0


@pytest.mark.parametrize("algorithm", ["ip", "iql"])
def test_the_batch_of_the_road_grid_is_halved_until_it_fits(algorithm: str) -> None:
    settings = update_cost.algorithms.config_type(algorithm)()
    spec, device = problem(ROAD_GRID_AGENTS), "cuda"  # whose micro-batches are larger than those of a CPU
    one = memory.reserved_bytes(algorithm, spec, settings, 1, device)
    assert update_cost.fit(algorithm, spec, settings, 1024, 1025 * one, device) == (1024, "")
    assert update_cost.fit(algorithm, spec, settings, 1024, 20 * one, device) == (16, "")
    size, note = update_cost.fit(algorithm, spec, settings, 1024, one // 2, device)
    assert size == 1
    assert "a batch of 1 needs about" in note
    size, note = update_cost.fit(algorithm, problem(15), settings, 1024, 10_000, device)
    assert (size, "a batch of 1024 needs about" in note) == (1024, True), "other problems keep their batch"


def test_what_does_not_fit_has_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: GIB // 10)
    result = update_cost.measure("ip", 200, 1024, "cpu")
    assert result.seconds is None
    assert "GiB, but 0.1 GiB are free" in result.note

    def full(*_: object) -> Cost:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(update_cost, "_measure", full)
    assert update_cost.measure("iql", 3, 8, "cpu").note == "ran out of memory on cpu at a batch of 8"


@pytest.mark.parametrize(
    ("code", "note"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "stopped by signal 9, as when memory runs out"),
        ("raise ImportError('half a module')", "ImportError: half a module"),
        ("import sys; sys.exit('error: no such thing')", "no such thing"),
        ("import sys; sys.exit(3)", "exit status 3"),
    ],
)
def test_a_failing_cell_leaves_the_table_whole(code: str, note: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run
    monkeypatch.setattr(cost.subprocess, "run", lambda command, **rest: run([sys.executable, "-c", code], **rest))
    assert measure_apart(Cell("ip", 3), 8, "cpu") == Cost(8, note=note)
    table, complete = fill([Cell("ip", 3), Cell("iql", 3)], 8, "cpu")
    assert complete
    assert [result.note for result in table.values()] == [note, note]


def test_interrupted_tables_hold_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [Cell("ip", 3), Cell("ip", 6), Cell("iql", 3), Cell("iql", 6)]

    def measured(cell: Cell, batch: int, device: str, acceleration: str) -> Cost:
        if cell == Cell("iql", 3):
            raise KeyboardInterrupt
        return Cost(batch, 0.0123, 5 * 2**20) if cell.agents == 3 else Cost(batch, note="it is too large")

    monkeypatch.setattr(cost, "measure_apart", measured)
    table, complete = fill(cells, 8, "cpu")
    assert not complete
    lines = markdown(table, cells, 8, "cpu").splitlines()
    assert lines[4:6] == ["| ip | 12.3 ms, 5 MiB | - (1) |", "| iql | - (2) | - (3) |"]
    assert lines[7:] == [
        "1. ip, 6 agents: it is too large",
        "2. iql, 3 agents: not measured",
        "3. iql, 6 agents: not measured",
    ]
    assert csv_text(table).splitlines()[1:] == ["ip,3,8,0.0123,5242880,", "ip,6,8,,,it is too large"]


def test_accelerated_costs_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode reaches the measurement, and the table names it."""
    modes = []
    monkeypatch.setattr(update_cost, "accelerate", lambda learner, mode, device: modes.append(mode) or learner.update)
    measure.main(["--algorithm", "iql", "--agents", "3", "--batch", "8", "--acceleration", "compile"])
    assert modes == ["compile"]
    commands = []
    failed = subprocess.CompletedProcess([], 1, "", "")
    monkeypatch.setattr(cost.subprocess, "run", lambda command, **rest: commands.append(command) or failed)
    table, _ = fill([Cell("iql", 3)], 8, "cpu", "compile")
    assert commands[0][-2:] == ["--acceleration", "compile"]
    assert "with acceleration=compile, torch" in markdown(table, list(table), 8, "cpu", "compile")


def test_costs_in_words() -> None:
    assert describe(Cost(64, 1.234567, 3 * GIB), 64) == "1.23 s, 3 GiB"
    assert describe(Cost(64, 0.000512, GIB // 2), 1024) == "0.512 ms, 512 MiB (batch 64)"
    assert describe(Cost(64, note="no"), 64) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--algorithms", "ipp"], r"did you mean ip\?"),
        (["--agents", "1"], "--agents 1: expected two or more"),
        (["--batch", "0"], "--batch 0: expected a positive number"),
        (["--device", "tpu"], "--device tpu: expected auto, cpu, cuda"),
        (["--acceleration", "cuda_graph"], "cuda_graph needs a CUDA device"),
        (["--output", "cost.csv"], "expected a name that ends in .md"),
        (["--output", "missing/cost.md"], "there is no folder missing; make it first"),
    ],
)
def test_mistakes_are_found_before_anything_is_measured(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "fill", None)
    with pytest.raises((UserError, ValueError), match=message):
        cost.main(arguments)


def test_cost_of_tasks_by_name_and_by_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two signals of a configuration, which make no square, and a listed task; columns have their names."""
    write_grid(tmp_path / "town", 1, 2, GridFlow(horizon=60))
    tasks = ["--tasks", str(tmp_path / "town"), "game/climbing_2"]
    try:
        assert cost.main(["--algorithms", "iql", *tasks, "--batch", "8", "--csv"]) == 0
    finally:
        traffic_names.CONFIGURED.pop("cityflow/town_2")
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| algorithm | cityflow/town_2 | game/climbing_2 |"
    rows = list(csv.DictReader(lines[-3:]))
    assert [(row["agents"], row["task"], row["note"]) for row in rows] == [
        ("2", "cityflow/town_2", ""),
        ("2", "game/climbing_2", ""),
    ]
    assert all(float(row["seconds"]) > 0 for row in rows)
