"""Faster training: a learner's `update`, or whole steps, compiled or captured as CUDA graphs (`training.acceleration`).

    none        eager execution of `update`
    compile     `torch.compile` of `update`, on any device. The losses and their gradients are compiled in parts, since
                tracing breaks at random sampling, at `zero_grad` and at `backward`. Optimiser steps are not compiled:
                each is one fused kernel already. Meant for GPUs: on one CPU thread it was 1.1 to 2 times slower than
                the eager update for every algorithm tried.
    cuda_graph  one whole update with its optimisers is captured as a CUDA graph at the first call and launched from
                then on, without the overhead of Python and kernel launches; tests/benchmark/test_gpu.py compares its
                numbers with those of the eager update
    cuda_blocks whole gradient steps are captured, with the sampling of the batch, the scaling of its rewards and the
                sums of metrics; so is acting together with the environment step, where the environment is `Capturable`
                (MPE and Jungle on a GPU). Python then only launches graphs; see benchmark/blocks.py
    auto        cuda_blocks on a GPU, none on a CPU

An update that is to be captured changes only networks and optimisers, samples only from the generator it is given, and
performs the same operations every time: Python numbers in it keep their values from the first call. This is why
learning rates on a GPU are tensors.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from algorithms.common.learner import OffPolicyLearner
from algorithms.protocols import Batch, Learner
from benchmark.config import ACCELERATIONS
from benchmark.errors import UserError

Update = Callable[[Batch, torch.Generator], dict[str, Tensor]]
"""One gradient step of every network, which returns metrics like `Learner.update`."""

Made = TypeVar("Made")

WARM_UPS = 3
"""Updates before a capture, so that everything created at first use (optimiser state, library workspaces) exists."""


def accelerate(learner: Learner, mode: str, device: torch.device) -> Update:
    """The learner's update in the chosen mode; the eager update where whole blocks are captured, of which it is a part.
    Raises what `require` raises, and ValueError for an unknown mode."""
    require(mode, str(device))
    if mode == "compile":
        return CompiledUpdate(learner)
    if mode == "cuda_graph":
        return CapturedUpdate(learner, device)
    return learner.update


def captures_blocks(mode: str, device: torch.device) -> bool:
    """Whether whole blocks are captured on this device."""
    return mode == "cuda_blocks" or (mode == "auto" and device.type == "cuda")


def require(mode: str, device: str) -> None:
    """Raises UserError where `device` does not support the mode, ValueError for an unknown mode."""
    if mode not in ACCELERATIONS:
        raise ValueError(f"acceleration = {mode!r}: expected one of {', '.join(ACCELERATIONS)}")
    on_gpu = device.startswith("cuda")
    if mode in ("cuda_graph", "cuda_blocks") and not on_gpu:
        raise UserError(
            f"training.acceleration={mode} needs a CUDA device, but the run is on {device}: "
            "choose --device cuda, or --set training.acceleration=compile or none"
        )
    if mode == "compile":
        missing = _missing_for_gpu() if on_gpu else _missing_for_cpu()
        if missing:
            raise UserError(
                f"training.acceleration=compile on {device} needs {missing}: "
                "install it, or choose --set training.acceleration=none"
            )


def _missing_for_cpu() -> str:
    compiler = os.environ.get("CXX", "g++")
    try:
        subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return f"a C++ compiler, and {compiler!r} does not work (the variable CXX names another)"
    return ""


def _missing_for_gpu() -> str:
    if importlib.util.find_spec("triton") is None:
        return "the package triton, which is not installed"
    compilers = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    if not any(shutil.which(name) for name in compilers):
        return f"a C compiler, and there is no {' or '.join(compilers)} (the variable CC names another)"
    return ""


class CompiledUpdate:
    """`learner.update`, compiled part by part at the first call (about a minute)."""

    def __init__(self, learner: Learner, backend: str | Callable[..., Any] = "inductor") -> None:
        for optimiser in _parts(learner, torch.optim.Optimizer):
            optimiser.step = torch.compiler.disable(optimiser.step)
        if isinstance(learner, OffPolicyLearner):  # measured by an update without data, which must not be traced
            learner.micro_batch_size = torch.compiler.disable(learner.micro_batch_size)  # type: ignore[method-assign]
        self.update = torch.compile(learner.update, backend=backend, dynamic=False)

    def __call__(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """One gradient step. Raises UserError where the compiler fails."""
        try:
            return self.update(batch, generator)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise UserError(f"the update cannot be compiled ({reason}): --set training.acceleration=none") from error


class CapturedUpdate:
    """`learner.update` as a CUDA graph, captured at the first call.

    Batches are copied into fixed buffers, so all must have the shapes and types of the first one, and the graph keeps
    the memory of one update. The graph refers to the learner's current tensors: a learner must be restored from a
    checkpoint before the first call.
    """

    def __init__(self, learner: Learner, device: torch.device) -> None:
        self.learner, self.device = learner, device
        self.run_graph: Callable[[], None] | None = None

    def __call__(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """One gradient step; returns copies of the metrics.

        Raises ValueError for a batch of other shapes or types or for another generator than at the first call, and
        RuntimeError where the learner has been restored since then.
        """
        if self.run_graph is None:
            self._capture(batch, generator)
            assert self.run_graph is not None
        self._check(batch, generator)
        for held, given in zip(_tensors(self.batch), _tensors(batch), strict=True):
            _held_once(held).copy_(_held_once(given))
        self.run_graph()
        return {name: value.clone() for name, value in self.metrics.items()}

    def _capture(self, batch: Batch, generator: torch.Generator) -> None:
        self.batch = _buffers_of(batch)
        self.generator = generator
        with left_unchanged(self.learner, generator):
            warm_up(self.learner.update, self.batch, generator, self.device)
        self.states = [(optimiser, optimiser.state) for optimiser in _parts(self.learner, torch.optim.Optimizer)]
        self.run_graph, self.metrics = capture_update(self.learner.update, self.batch, generator, self.device)

    def _check(self, batch: Batch, generator: torch.Generator) -> None:
        if generator is not self.generator:
            raise ValueError("a captured update samples from the generator it was captured with: pass that one")
        captured, given = ([(tuple(t.shape), t.dtype) for t in _tensors(some)] for some in (self.batch, batch))
        if captured != given:
            raise ValueError(f"the update was captured for tensors of {captured}, but the batch has {given}")
        if any(optimiser.state is not state for optimiser, state in self.states):
            raise RuntimeError("the learner was restored after its update had been captured: restore it before")


def warm_up(update: Update, batch: Batch, generator: torch.Generator, device: torch.device) -> None:
    """Updates on a side stream, which a capture requires before it."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                update(batch, generator)
        torch.cuda.current_stream().wait_stream(stream)


def capture_update(
    update: Update, batch: Batch, generator: torch.Generator, device: torch.device
) -> tuple[Callable[[], None], dict[str, Tensor]]:
    """Capture an update without running it. Returns a function that runs it on the contents of `batch`, and its
    metrics."""
    return capture(lambda: update(batch, generator), [generator], device)


def capture(
    function: Callable[[], Made], generators: Sequence[torch.Generator], device: torch.device
) -> tuple[Callable[[], None], Made]:
    """Capture the kernels of a function as a CUDA graph without running them. Returns a function that launches the
    graph, and the result of `function`, whose tensors the graph overwrites.

    No other thread may use the device during the capture. The current stream is used unless it is the default stream:
    libraries keep a workspace per stream, which graphs that run concurrently must not share.
    """
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream()
        given = None if stream == torch.cuda.default_stream() else stream
        with torch.cuda.graph(graph, stream=given):
            made = function()
    return graph.replay, made


@contextmanager
def left_unchanged(learner: Learner, generator: torch.Generator) -> Iterator[None]:
    """Restore networks, optimisers and generator in place on exit.

    Optimiser state created inside the context is kept and set to zero, the initial value of Adam's moments and step
    counts.
    """
    before = {path: tensor.clone() for path, tensor in state_tensors(learner.state_dict())}
    drawn = generator.get_state()
    yield
    with torch.no_grad():
        for path, tensor in state_tensors(learner.state_dict()):
            if path in before:
                tensor.copy_(before[path])
            else:
                tensor.zero_()
    for network in _parts(learner, nn.Module):
        network.zero_grad(set_to_none=True)
    generator.set_state(drawn)


def _parts(learner: Learner, kind: type) -> list[Any]:
    """The learner's networks or optimisers."""
    return [part for part in vars(learner).values() if isinstance(part, kind)]


def state_tensors(state: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    """The tensors in a state dictionary with their paths; they share the learner's memory."""
    if isinstance(state, Tensor):
        yield path, state
    elif isinstance(state, Mapping):
        for key, value in state.items():
            yield from state_tensors(value, (*path, key))
    elif isinstance(state, list | tuple):
        for index, value in enumerate(state):
            yield from state_tensors(value, (*path, index))


def _tensors(batch: Any) -> Iterator[Tensor]:
    """The tensors of a batch, graphs included."""
    for part in batch:
        if isinstance(part, Tensor):
            yield part
        else:
            yield from _tensors(part)


def _held_once(part: Tensor) -> Tensor:
    """The first row of a tensor that repeats one row in memory (a static graph); otherwise the tensor."""
    return part[:1] if part.dim() and part.stride(0) == 0 else part


def _buffers_of(batch: Any) -> Any:
    """A copy of a batch or of one of its graphs; tensors that repeat one row in memory still do."""
    copies = (
        _held_once(part).clone(memory_format=torch.contiguous_format).expand(part.shape)
        if isinstance(part, Tensor)
        else _buffers_of(part)
        for part in batch
    )
    return type(batch)(*copies)
