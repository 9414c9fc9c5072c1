"""What a block of training is made of where it is recorded (`training.acceleration=cuda_blocks`).

A CUDA graph holds kernels with the addresses and the plain numbers that they had when they were recorded. Whatever
changes from step to step is therefore kept in tensors that stay where they are: the replay's cursor, learning rates and
epsilon, moments of the rewards, sums of metrics, state and clock of the environment, and the step that it last gave.
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
    """A function on tensors that stay where they are. The first calls run it as it is written, which warms up what is
    made at first use; then it is captured, and replayed from there on."""

    def __init__(
        self, function: Callable[[], None], generators: Sequence[torch.Generator], device: torch.device
    ) -> None:
        """generators: all that the function draws from."""
        self.function, self.generators, self.device = function, generators, device
        self.calls = 0
        """Before the capture."""
        self.run_graph: Callable[[], None] | None = None

    def __call__(self) -> None:
        """Do once what the function does."""
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
    """What is to be captured later must not have been on the default stream before."""
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
        """Gradient steps summed up. It is the caller's to raise, as what is recorded cannot."""

    def add(self, metrics: Metrics) -> None:
        """Add the metrics of one gradient step to the sums, in place."""
        known = [name for name in metrics if name in self.sums]
        if known:
            torch._foreach_add_([self.sums[name] for name in known], [metrics[name] for name in known])
        self.sums |= {name: value.detach().clone() for name, value in metrics.items() if name not in self.sums}

    def clear(self, in_place: bool) -> None:
        """Begin anew. in_place: the tensors stay, as what is recorded adds to them."""
        if in_place:
            for total in self.sums.values():
                total.zero_()
        else:
            self.sums = {}
        self.count = 0


def read(tensors: Sequence[Tensor]) -> list[float]:
    """Numbers on the device, brought here by one copy."""
    return torch.stack([tensor.double() for tensor in tensors]).tolist()


def copied_step(step: Step) -> Step:
    """A copy of a step in memory that nothing else writes to."""
    observation, graph, *rest = step
    return Step(_copy(observation), Graph(*map(_copy, graph)), *map(_copy, rest))


def _copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def overwrite(held: Step, step: Step) -> None:
    """Put a step in the place of another."""
    pairs = zip((*held[:1], *held.graph, *held[2:]), (*step[:1], *step.graph, *step[2:]), strict=True)
    for tensor, value in pairs:
        tensor.copy_(value)
