"""Compiled and captured updates are the plain update, and what cannot be accelerated says why."""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import algorithms
from algorithms.protocols import Batch, EnvironmentSpec, Learner
from benchmark import acceleration, train
from benchmark.acceleration import CapturedUpdate, CompiledUpdate, Update, accelerate, left_unchanged
from benchmark.config import resolve
from benchmark.errors import UserError
from benchmark.profiling.synthetic import navigation_spec, random_batch
from benchmark.training import Training
from results.layout import run_folder
from tests.benchmark import moves
from tests.benchmark.conftest import SMALL, small_config
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
PROBLEM = navigation_spec(5)
MASKED = replace(PROBLEM, action_mask=((True,) * 5, (True, False, True, True, False)) * 2 + ((True,) * 5,))
"""The same where two agents lack two of five actions."""
UPDATES = 3


def build(name: str, problem: EnvironmentSpec = PROBLEM) -> Learner:
    return algorithms.make(name, problem, algorithms.config_type(name)(hidden=16), seed=3)


def batches(learner: Learner, count: int = UPDATES, problem: EnvironmentSpec = PROBLEM, size: int = 8) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [random_batch(problem, size, learner.action_width, generator) for _ in range(count)]


def learn(
    learner: Learner, update: Update, given: list[Batch], after_first: Callable[[], Any] = lambda: None
) -> list[dict[str, Tensor]]:
    """Updates with a learning rate that falls; their metrics, read at the end as the runner reads them."""
    generator, metrics = torch.Generator().manual_seed(1), []
    for step, batch in enumerate(given):
        learner.schedule(step, 2 * len(given))
        metrics.append(update(batch, generator))
        if step == 0:
            after_first()
    return metrics


def tensors(learner: Learner) -> dict[Any, Tensor]:
    return dict(acceleration.state_tensors(learner.state_dict()))


def assert_equal(one: Learner, two: Learner, tolerance: float) -> None:
    assert tensors(one).keys() == tensors(two).keys()
    for path, tensor in tensors(one).items():
        torch.testing.assert_close(tensors(two)[path], tensor, atol=tolerance, rtol=0)


def compare_compiled(name: str, backend: str, problem: EnvironmentSpec = PROBLEM, size: int = 8) -> None:
    """Compiled and plain updates of equal learners end in the same weights; run in another process, because the shape
    checks of the test suite cannot be traced."""
    from torch._dynamo.utils import counters

    torch.set_num_threads(1)
    plain, compiled = build(name, problem), build(name, problem)
    update = CompiledUpdate(compiled, backend)
    graphs: list[int] = []
    given = batches(plain, problem=problem, size=size)
    expected = learn(plain, plain.update, given)
    metrics = learn(compiled, update, given, lambda: graphs.append(counters["stats"]["unique_graphs"]))
    torch.testing.assert_close(metrics, expected, atol=1e-5, rtol=1e-5)
    for path, tensor in tensors(plain).items():
        if "step" not in path:
            torch.testing.assert_close(tensors(compiled)[path], tensor, atol=1e-6, rtol=0)
    assert graphs[0] >= 2, "something was compiled"
    assert counters["stats"]["unique_graphs"] == graphs[0], "and at the first update alone"


def fail_to_compile() -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no space left\nfor the compiler")

    learner = build("iql")
    with pytest.raises(UserError, match=r"cannot be compiled \(.*\): --set training\.acceleration=none") as caught:
        CompiledUpdate(learner, broken)(batches(learner)[0], torch.Generator())
    assert "\n" not in str(caught.value)


COMPILED: dict[str, Callable[[], None]] = {
    **{name: partial(compare_compiled, name, "aot_eager") for name in algorithms.ALGORITHMS},
    **{f"{name}, masked": partial(compare_compiled, name, "aot_eager", MASKED, 20) for name in ("iql", "ip")},
    "a failing compiler": fail_to_compile,
}
"""What is tried with the back end that runs the traced operations without a compiler. Masked: of a batch that is large
enough for the size of its micro-batches to be looked for."""


def try_compiled() -> None:
    """Print, as JSON, what each of them raised."""
    raised = {}
    for name, attempt in COMPILED.items():
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        try:
            attempt()
        except Exception:
            raised[name] = traceback.format_exc()
    print(json.dumps(raised))


@pytest.fixture(scope="module")
def raised() -> dict[str, str]:
    """They share a process, as loading the tracer takes longer than any of them."""
    return dict(json.loads(in_a_process("try_compiled()").splitlines()[-1]))


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_compiled_updates_are_the_plain_ones(name: str, raised: dict[str, str]) -> None:
    assert name not in raised, raised[name]


@pytest.mark.parametrize("name", ["iql", "ip"])
def test_compiled_updates_mask_what_agents_lack(name: str, raised: dict[str, str]) -> None:
    assert f"{name}, masked" not in raised, raised[f"{name}, masked"]


def test_a_failing_compiler_is_one_line(raised: dict[str, str]) -> None:
    assert "a failing compiler" not in raised, raised["a failing compiler"]


@pytest.mark.slow
def test_compiled_updates_with_a_compiler(tmp_path: Path) -> None:
    in_a_process("compare_compiled('iql', 'inductor')")
    command = [sys.executable, "-m", "benchmark.train", "--task", "mpe/cooperative_navigation_3", "--algorithm", "iql"]
    command += ["--total-steps", "900", "--variant", "test", "--quiet", "--device", "cpu", "--results", str(tmp_path)]
    for key, value in (SMALL | {"training.acceleration": "compile"}).items():
        command += ["--set", f"{key}={value}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE)
    plain = train.run(small_config("iql"), tmp_path / "plain", quiet=True)
    one, two = (
        json.loads((path / "metrics.jsonl").read_text().splitlines()[0])
        for path in (plain, run_folder(tmp_path, small_config("iql").key))
    )
    assert two == pytest.approx(one, rel=1e-3)


def in_a_process(call: str) -> str:
    """What a call of a function of this file printed."""
    code = f"from tests.benchmark.test_acceleration import *; {call}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def capture_on_cpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands for CUDA graphs: warms up, runs the update at every replay on the buffers of the capture, and writes its
    metrics to the same memory every time. The list says what was done."""
    done: list[str] = []

    def warm_up(update: Update, batch: Batch, generator: torch.Generator, device: torch.device) -> None:
        done.append("warm-up")
        for _ in range(acceleration.WARM_UPS):
            update(batch, generator)

    def capture_update(update: Update, batch: Batch, generator: torch.Generator, device: torch.device) -> Any:
        done.append("capture")
        metrics: dict[str, Tensor] = {}

        def replay() -> None:
            done.append("replay")
            for name, value in update(batch, generator).items():
                metrics.setdefault(name, torch.empty_like(value)).copy_(value)

        return replay, metrics

    monkeypatch.setattr(acceleration, "warm_up", warm_up)
    monkeypatch.setattr(acceleration, "capture_update", capture_update)
    monkeypatch.setattr(acceleration, "require", lambda mode, device: None)
    return done


@pytest.mark.parametrize("problem", [PROBLEM, MASKED], ids=["all actions", "some actions"])
@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_captured_updates_are_the_plain_ones(name: str, problem: EnvironmentSpec, capture_on_cpu: list[str]) -> None:
    """Bit for bit, metrics of earlier updates included, for a learner that is new and one that is resumed."""
    plain, captured, resumed = (build(name, problem) for _ in range(3))
    first, then = batches(plain, 2, problem), batches(plain, problem=problem)
    before = learn(plain, plain.update, first)
    torch.testing.assert_close(learn(captured, CapturedUpdate(captured, CPU), first), before)
    assert_equal(captured, plain, 0.0)
    assert capture_on_cpu == ["warm-up", "capture", "replay", "replay"]
    resumed.load_state_dict(plain.state_dict())
    expected = learn(plain, plain.update, then)
    torch.testing.assert_close(learn(resumed, CapturedUpdate(resumed, CPU), then), expected, atol=0, rtol=0)
    assert_equal(resumed, plain, 0.0)


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_updates_can_be_undone_in_place(name: str) -> None:
    learner, fresh, generator = build(name), build(name), torch.Generator().manual_seed(2)
    memory = {path: tensor.data_ptr() for path, tensor in tensors(learner).items()}
    drawn = generator.get_state()
    with left_unchanged(learner, generator):
        learner.update(batches(learner)[0], generator)
    assert torch.equal(generator.get_state(), drawn)
    after = tensors(learner)
    assert {path: after[path].data_ptr() for path in memory} == memory
    assert all(torch.equal(after[path], tensor) for path, tensor in tensors(fresh).items())
    made = [tensor for path, tensor in after.items() if path not in memory]
    assert made
    assert not any(tensor.any() for tensor in made)


def test_a_whole_run_with_captured_updates(tmp_path: Path, capture_on_cpu: list[str]) -> None:
    """The runner uses them, and the files are those of a plain run."""
    logs = []
    for mode in ("none", "cuda_graph"):
        path = train.run(small_config("ip", training_acceleration=mode), tmp_path / mode, quiet=True)
        logs.append([(path / name).read_text() for name in ("metrics.jsonl", "evaluation.jsonl")])
    assert logs[0] == logs[1]
    assert capture_on_cpu.count("replay") == 8 * 900 // 100


def test_captured_updates_refuse_what_they_were_not_captured_for(capture_on_cpu: list[str]) -> None:
    learner, generator = build("iql"), torch.Generator()
    update = CapturedUpdate(learner, CPU)
    batch, small = (random_batch(PROBLEM, size, 0, generator) for size in (8, 4))
    update(batch, generator)
    with pytest.raises(ValueError, match=r"captured for tensors of \[\(\(8, 5, 26\)"):
        update(small, generator)
    with pytest.raises(ValueError, match=r"torch\.float64"):
        update(batch._replace(reward=batch.reward.double()), generator)
    with pytest.raises(ValueError, match="pass that one"):
        update(batch, torch.Generator())
    learner.load_state_dict(learner.state_dict())
    with pytest.raises(RuntimeError, match="restored after its update had been captured"):
        update(batch, generator)


def test_what_cannot_be_accelerated_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = build("iql")
    assert accelerate(learner, "none", CPU) == learner.update
    with pytest.raises(ValueError, match="expected one of none, compile, cuda_graph"):
        accelerate(learner, "fast", CPU)
    with pytest.raises(UserError, match="cuda_graph needs a CUDA device, but the run is on cpu: choose --device cuda"):
        train.run(small_config(training_acceleration="cuda_graph"), tmp_path, quiet=True)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"compile on cpu needs a C\+\+ compiler, and 'no-such-compiler' does not work"):
        train.run(small_config(training_acceleration="compile"), tmp_path, quiet=True)
    assert not any(tmp_path.iterdir()), "nothing is written for a run that cannot work"
    monkeypatch.setattr(acceleration.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="compile on cuda:1 needs the package triton"):
        acceleration.require("compile", "cuda:1")
    with pytest.raises(UserError, match="expected one of none, compile, cuda_graph"):
        resolve("mpe/cooperative_navigation_3", "iql", 0, 100, {"training.acceleration": "jit"})


def test_acceleration_is_part_of_what_makes_a_run() -> None:
    """Compiled code rounds differently, so its runs have a folder of their own."""
    assert small_config().digest() != small_config(training_acceleration="compile").digest()
    assert isinstance(Training(small_config(training_acceleration="compile")).learn, CompiledUpdate)


@pytest.mark.parametrize("algorithm", ["iql", "maddpg"])
def test_moves_tell_rounding_from_a_lost_update(algorithm: str) -> None:
    """The comparison of captured updates on a GPU: weights that begin a millionth apart end alike, an update that is
    left out or made at an old learning rate does not pass."""
    config = small_config(algorithm, steps=300, **{k.replace(".", "_", 1): v for k, v in moves.SETTINGS.items()})
    ends, before = {}, {}
    for change in ("none", "rounding", "lost", "old rate"):
        training = moves.smooth_training(config)
        before[change] = moves.tensors(training)
        if change == "rounding":
            for path, tensor in acceleration.state_tensors(training.learner.state_dict()):
                if tensor.is_floating_point() and "state" not in path:
                    tensor.mul_(1 + 1e-6)
        training.advance()
        if change == "lost":
            training.learn = lambda batch, generator, learn=training.learn: {}  # type: ignore[misc]
        if change == "old rate":
            training.learner.schedule = lambda *step: None  # type: ignore[method-assign]
        training.advance()
        ends[change] = moves.tensors(training)
    assert moves.unequal(before["none"], ends["none"], ends["rounding"]) == []
    assert moves.unequal(before["none"], ends["none"], ends["lost"])
    assert moves.unequal(before["none"], ends["none"], ends["old rate"])
