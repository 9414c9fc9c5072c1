"""The command: its arguments, early ends, and a complete rehearsal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import UserError
from benchmark.lease import __main__ as lease
from benchmark.lease import programme
from benchmark.lease.pack import MANIFEST
from benchmark.modes import KEYS, MODES, PLAIN
from benchmark.profiling import gpu_timings
from benchmark.suites import SUITES
from results.paper import COMPARED_ALGORITHMS
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[3]


def begin(output: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmark.lease", "--output", str(output), *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seconds", "3"], "--seconds 3: expected 30 or more"),
        (["--seconds", "nan"], "argument --seconds: expected a number, not 'nan'"),
        (["--seconds", "60", "--earlier", "nowhere"], "nowhere: not a pack of a lease"),
    ],
)
def test_mistakes_are_found_at_once(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        lease.parse_arguments(["--output", "x", *arguments])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_ends_at_once_and_says_so(tmp_path: Path) -> None:
    process = begin(tmp_path, "--seconds", "600")
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 2
    assert "the device cannot be used: error: --device cuda: this machine has 0 CUDA devices" in said
    record = json.loads((tmp_path / MANIFEST).read_text())
    assert (record["runs"], [phase["name"] for phase in record["phases"]]) == ([], ["facts"])
    assert "the device cannot be used" in (tmp_path / "report.txt").read_text()


def test_sigterm_packs_what_is_there(tmp_path: Path) -> None:
    """During the tests, and while reference policies are evaluated: no process is left running."""
    process = begin(tmp_path, "--seconds", "1500", "--rehearse")
    assert process.stdout is not None
    for line in process.stdout:
        if "== tests" in line:
            break
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0
    assert "stopped by a signal: packing the results so far" in said
    record = json.loads((tmp_path / MANIFEST).read_text())
    assert record["machine"]["device"] == "cpu"
    assert [phase["name"] for phase in record["phases"]] == ["facts"]


def test_a_lease_needs_few_packages() -> None:
    """What it imports is torch, numpy, numba and tqdm, as for training; what the tests need is looked up, not
    imported."""
    code = (
        "import sys\n"
        "for name in ('scipy', 'pandas', 'matplotlib', 'pettingzoo', 'PIL', 'pyarrow', 'jaxtyping', 'beartype',"
        " 'submitit', 'gymnasium', 'magent2', 'hypothesis', 'pytest'):\n"
        "    sys.modules[name] = None\n"
        "from benchmark.lease import __main__, work\n"
        "assert work.facts('cpu')['packages']['pytest'] is None\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


def test_the_time_begins_with_the_process() -> None:
    code = (
        "import time; time.sleep(0.5); from benchmark.lease.site import process_start;"
        "print(time.monotonic() - process_start())"
    )
    before = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 0.5 < float(done.stdout) <= time.monotonic() - before + 0.1


def test_the_paper_comes_in_its_order() -> None:
    """All of suite `all`, the four first tasks first."""
    wanted = programme.paper()
    assert sorted(map(str, wanted.requests)) == sorted(map(str, SUITES["all"]()))
    assert tuple(dict.fromkeys(request.key.task for request in wanted.requests))[:4] == programme.FIRST_TASKS
    runs = [wanted.request_in_mode(request, "graph").overrides for request in wanted.requests]
    assert {settings["training.acceleration"] for settings in runs} == {"cuda_graph"}
    assert runs[0]["training.num_envs"] == 100
    plain = [wanted.request_in_mode(request, PLAIN).overrides for request in wanted.requests]
    assert all(KEYS.isdisjoint(settings) for settings in plain), "nothing is left of the settings of another mode"


def test_timings_cover_every_mode_and_begin_with_what_runs_need(tmp_path: Path) -> None:
    items = programme.paper().items(list(MODES), tmp_path)
    keys = [gpu_timings.key_of({"gpu": "g", **item}) for item in items]
    assert len(set(keys)) == len(keys)
    asked = {(i["task"], i["algorithm"], i["mode"]) for i in items if i["what"] == "training"}
    for agents in (15, 30, 100, 200):
        for name in COMPARED_ALGORITHMS:
            assert all((f"mpe/cooperative_navigation_{agents}", name, mode) in asked for mode in MODES)
    steps = {(i["task"], i["copies"]) for i in items if i["what"] == "environment"}
    assert steps == {(task, copies) for task in programme.STEPPED for copies in (4, 20, 100)}
    fastest = list(MODES)[-1]
    first = items[: len(COMPARED_ALGORITHMS)]
    assert all((i["task"], i["mode"]) == (programme.FIRST_TASKS[0], fastest) for i in first)
    plain = next(i for i in items if i.get("mode") == PLAIN)
    assert "training.num_envs" not in plain["settings"]


def made_up(tmp_path: Path, **arguments: Any) -> lease.Lease:
    """A lease that has not started, with a pack of one run and a published set of another."""
    run = {"task": programme.FIRST_TASKS[0], "algorithm": "iql", "variant": "default", "seed": 0}
    states = [run | {"seed": 1, "status": {"state": "finished"}}, run | {"seed": 2, "status": {"state": "failed"}}]
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "manifest.json").write_text(json.dumps({"runs": states}))
    (tmp_path / "earlier").mkdir()
    tests = {"passed": 3, "failures": [], "note": ""}
    record = {"runs": [run], "machine": {"commit": "abc"}, "tests": tests, "mode": "graph"}
    (tmp_path / "earlier" / MANIFEST).write_text(json.dumps(record))
    line = ["--output", str(tmp_path), "--seconds", "600", "--published", str(tmp_path / "published")]
    line += ["--earlier", str(tmp_path / "earlier"), "--timings", str(tmp_path / "none.json")]
    (tmp_path / "work").mkdir()
    made = lease.Lease(lease.parse_arguments(line), tmp_path / "work")
    made.site.facts = {"machine": {"commit": "abc", "gpu": "g", "torch": "2"}, "packages": {}}
    return made


def test_leases_add_up(tmp_path: Path) -> None:
    """A run that is published or packed is done; one that failed is not."""
    done = {(*key[1:3], key[3]) for key in made_up(tmp_path).done()}
    assert done == {("iql", "default", 0), ("iql", "default", 1)}


def test_tests_that_passed_with_the_same_code_are_not_repeated(tmp_path: Path) -> None:
    made = made_up(tmp_path)
    made.test()
    assert made.tests.note == "passed in an earlier lease of this commit"
    made.site.facts["machine"]["commit"] = "def"
    made.test()
    assert made.tests.note == "pytest, hypothesis, jaxtyping missing here"


@pytest.mark.slow
def test_rehearsal(tmp_path: Path) -> None:
    """All phases on the CPU; the pack is read back, merged and drawn, and a second lease has nothing left to do."""
    output, published, drawn = tmp_path / "pack", tmp_path / "published", tmp_path / "drawn"
    process = begin(output, "--seconds", str(PATIENCE), "--rehearse", "--published", str(published))
    said = process.communicate(timeout=2 * PATIENCE)[0]
    assert process.returncode == 0, said
    assert [phase["name"] for phase in json.loads((output / MANIFEST).read_text())["phases"]] == [
        "facts",
        "tests",
        "timings",
        "runs",
    ]
    files = sorted(output.iterdir())
    assert len(files) <= 8
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", path.name) and path.stat().st_size <= 2**24 for path in files)
    timings = json.loads((output / "timings.json").read_text())["timings"]
    assert {entry["what"] for entry in timings} == {"training", "environment", "together"}
    assert re.search(r"mode fused: \S+", said)
    assert "0 failed" in said

    def call(*line: str) -> str:
        done = subprocess.run([sys.executable, "-m", *line], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout

    merge = ["results.publish", "--packs", str(output), "--output", str(published), "--suite", "all", "--rehearsed"]
    text = call(*merge, "--timings", str(tmp_path / "timings.json"))
    assert "6 of 6 runs added" in text
    assert json.loads((published / "manifest.json").read_text())["hardware"][0]["cores"] == os.cpu_count()
    call("figures", "--results", str(published), "--output", str(drawn))
    assert "cooperative_navigation_3" in (drawn / "scores.csv").read_text()
    assert (drawn / "report.html").stat().st_size > 10_000

    again = [*("--seconds", str(PATIENCE), "--rehearse", "--published", str(published)), "--earlier", str(output)]
    process = begin(tmp_path / "second", *again)
    said = process.communicate(timeout=2 * PATIENCE)[0]
    taken = re.search(r"(\d+) timings, (\d+) of them known", said)
    assert taken is not None
    assert taken[1] == taken[2] == str(len(timings))
    assert "0 runs are missing" in said
