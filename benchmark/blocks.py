"""Building blocks of captured training (`training.acceleration=cuda_blocks`).

A CUDA graph holds kernels with the addresses and Python numbers of the time of capture. Everything that changes from
step to step is therefore kept in tensors at fixed addresses: the cursor of the replay buffer, learning rates and
epsilon, moments of the rewards, sums of metrics, the environment's state and clock, and the latest step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from algorithms.common.micro_batches import Metrics
from benchmark import acceleration
from envs.protocols import Graph, Step


class CapturedFunction:
    """A function on tensors at fixed addresses. The first calls run it eagerly as a warm-up; then it is captured, and
    later calls launch the graph."""

    def __init__(
        self, function: Callable[[], None], generators: Sequence[torch.Generator], device: torch.device
    ) -> None:
        """`generators` are all generators that the function samples from."""
        self.function, self.generators, self.device = function, generators, device
        self.calls = 0
        """Calls before the capture."""
        self.run_graph: Callable[[], None] | None = None

    def __call__(self) -> None:
        """Run the function once."""
        if self.run_graph is None and self.calls < acceleration.WARM_UPS:
            self.calls += 1
            with _off_default_stream(self.device):
                self.function()
            return
        if self.run_graph is None:
            self.run_graph, _ = acceleration.capture(self.function, self.generators, self.device)
        self.run_graph()


@contextmanager
def _off_default_stream(device: torch.device) -> Iterator[None]:
    """A side stream, because a function to be captured must not have run on the default stream before."""
    present = torch.cuda.current_stream(device) if device.type == "cuda" else None
    if present is None or present != torch.cuda.default_stream(device):
        yield
        return
    side = torch.cuda.Stream(device)
    side.wait_stream(present)
    with torch.cuda.stream(side):
        yield
    present.wait_stream(side)


class MetricSums:
    """Sums of metrics over gradient steps, on the device."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        """Number of gradient steps in the sums. The caller increments it, as captured code cannot."""

    def add(self, metrics: Metrics) -> None:
        """Add the metrics of one gradient step to the sums, in place."""
        known = [name for name in metrics if name in self.sums]
        if known:
            torch._foreach_add_([self.sums[name] for name in known], [metrics[name] for name in known])
        self.sums |= {name: value.detach().clone() for name, value in metrics.items() if name not in self.sums}

    def clear(self, in_place: bool) -> None:
        """Reset the sums; `in_place` keeps their tensors, to which captured code adds."""
        if in_place:
            for total in self.sums.values():
                total.zero_()
        else:
            self.sums = {}
        self.count = 0


def read(tensors: Sequence[Tensor]) -> list[float]:
    """Values of scalars on the device, transferred by one copy."""
    return torch.stack([tensor.double() for tensor in tensors]).tolist()


def copied_step(step: Step) -> Step:
    """A copy of a step."""
    observation, graph, *rest = step
    return Step(_copy(observation), Graph(*map(_copy, graph)), *map(_copy, rest))


def _copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def overwrite(held: Step, step: Step) -> None:
    """Copy a step into the tensors of another."""
    pairs = zip((*held[:1], *held.graph, *held[2:]), (*step[:1], *step.graph, *step[2:]), strict=True)
    for tensor, value in pairs:
        tensor.copy_(value)
