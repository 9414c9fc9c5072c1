"""Small faults at the edge of what people do: other systems, optimised bytecode, large numbers."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import algorithms
from benchmark import memory
from benchmark.config import MOST_SEED, resolve
from benchmark.errors import UserError
from benchmark.randomness import stream

ROOT = Path(__file__).resolve().parents[2]
TASK = "mpe/cooperative_navigation_3"


@pytest.mark.parametrize("known", [("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"), ("SC_PHYS_PAGES",), ()])
def test_memory_of_a_system_without_proc(
    known: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"SC_AVPHYS_PAGES": 1000, "SC_PHYS_PAGES": 4000, "SC_PAGE_SIZE": 4096}

    def sysconf(name: str) -> int:
        if name not in (*known, "SC_PAGE_SIZE"):
            raise ValueError("unrecognized configuration name")
        return sizes[name]

    monkeypatch.setattr(os, "sysconf", sysconf)
    for content in (None, "MemTotal: 5 kB\n"):
        monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
        if content is not None:
            memory.MEMINFO.write_text(content)
        if known:
            assert memory.available_bytes("cpu") == sizes[known[0]] * 4096
        else:
            with pytest.raises(UserError, match="does not say how much memory it has"):
                memory.available_bytes("cpu")


def test_memory_under_a_limit_of_address_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ulimit -v` counts what is mapped, of which the first number of statm is the pages."""
    unlimited = memory.available_bytes("cpu")
    monkeypatch.setattr(memory, "MAPPED", tmp_path / "statm")
    memory.MAPPED.write_text("100 7 3 1 0 5 0\n")
    page = resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (130 * page, 140 * page))
    assert memory.available_bytes("cpu") == 30 * page < unlimited
    with pytest.raises(UserError, match=r"but 0\.00 GiB are free: lower --set"):
        memory.require(resolve(TASK, "ip", 0, 30_000))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert memory.available_bytes("cpu") > 30 * page


def test_copies_for_evaluation_need_memory() -> None:
    """An observation of 18 numbers, 2 neighbours and a reward for each of 3 agents, now and next."""
    few, many = (
        memory.estimate(resolve(TASK, "ip", 0, 30_000, {"training.evaluation_episodes": episodes}))
        for episodes in (100, 1_000_000)
    )
    spec = resolve(TASK, "ip", 0, 30_000).spec()
    shown = 2 * 3 * (4 * (spec.observation_dim + 1) + 9 * spec.max_neighbours * (not spec.static_graph))
    assert few.copies == 104 * shown
    assert many.copies > 1_000_004 * shown + 10**9
    assert (many.replay, many.update) == (few.replay, few.update)
    with pytest.raises(UserError, match=r"lower --set .*training\.evaluation_episodes"):
        memory.require(resolve(TASK, "ip", 0, 30_000, {"training.evaluation_episodes": 10**10}))


@pytest.mark.parametrize("value", [2**33, 2**62, 10**24])
@pytest.mark.parametrize("setting", ["algorithm.hidden", "training.batch_size"])
def test_sizes_beyond_64_bits_are_one_line(setting: str, value: int) -> None:
    with pytest.raises(UserError, match=r"too large for any machine|GiB are free") as raised:
        memory.require(resolve(TASK, "iql", 0, 30_000, {setting: value}))
    assert "\n" not in str(raised.value)


def test_other_errors_of_an_algorithm_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(algorithms, "update_bytes", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        memory.require(resolve(TASK, "iql", 0, 30_000))


@pytest.mark.parametrize("setting", ["training.threads", "training.environment_threads"])
def test_numbers_of_threads_have_a_limit(setting: str) -> None:
    """torch.set_num_threads ends the process for 100,000."""
    assert resolve(TASK, "iql", 0, 30_000, {setting: 1024}).training
    with pytest.raises(UserError, match=f"{setting}=100000: expected .*a whole number from 1 to 1024"):
        resolve(TASK, "iql", 0, 30_000, {setting: "100000"})


@pytest.mark.parametrize("algorithm", algorithms.ALGORITHMS)
def test_memory_of_acting_is_known_for_every_algorithm(algorithm: str) -> None:
    config = resolve(TASK, algorithm, 0, 30_000)
    one, ten = (
        algorithms.act_bytes(algorithm, config.spec(), config.algorithm_settings, copies) for copies in (1000, 10_000)
    )
    assert 0 < one < ten
    assert ten == pytest.approx(10 * one, rel=1e-3)


def test_seeds_that_no_generator_or_set_can_hold() -> None:
    largest = resolve(TASK, "iql", MOST_SEED, 30_000, {"training.evaluation_seed": 2**63 - 1})
    environment = largest.make_environment(1)
    environment.reset(largest.training.evaluation_seed)
    stream(largest.training.evaluation_seed, "evaluation", environment.device)
    with pytest.raises(
        UserError, match=r"evaluation_seed = 9223372036854775808: expected a whole number from 0 to 2\^63 - 1"
    ):
        resolve(TASK, "iql", 0, 30_000, {"training.evaluation_seed": 2**63})
    with pytest.raises(UserError, match="--seed 2147483648: expected at most 2147483647"):
        resolve(TASK, "iql", MOST_SEED + 1, 30_000)


@pytest.mark.parametrize(
    "module", ["train", "sweep", "together", "record", "references", "profiling.cost", "profiling.measure"]
)
def test_help_without_docstrings(module: str) -> None:
    command = [sys.executable, "-OO", "-m", f"benchmark.{module}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
