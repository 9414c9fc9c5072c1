"""Environments that compute on the host for a learner on another device: traffic, and compiled engines on request
(`backend=numba`).

A step synchronises with the device once, for the actions. Its output is transferred asynchronously through reused
pinned buffers; constant parts (masks, static graphs, flags) are transferred once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from envs.protocols import Environment, Graph, Interpretable, Step, Threaded, Unsaveable
from envs.shapes import Float

HOST = torch.device("cpu")
_MOST_KEPT = 2
"""Maximum number of tensors kept on the device under one name: a flag is either true or false for all copies."""


class Staging:
    """Copies between the host and a device through host buffers, which are pinned if the device is a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._on_gpu = device.type == "cuda"
        self._buffers: dict[tuple[str, torch.Size, torch.dtype], Tensor] = {}
        self._kept: dict[str, list[tuple[Tensor, int, Tensor]]] = {}
        self._sent: torch.cuda.Event | None = None

    def fetch(self, tensor: Tensor) -> Tensor:
        """The tensor on the host, after synchronising with the device; the next call overwrites it."""
        buffer = self._buffer("fetched", tensor)
        buffer.copy_(tensor, non_blocking=True)
        if self._on_gpu:
            torch.cuda.current_stream(self.device).synchronize()
        return buffer

    def begin(self) -> None:
        """Wait until the buffers may be overwritten, that is, until earlier transfers have completed; after `fetch`
        they have."""
        if self._sent is not None:
            self._sent.synchronize()

    def send(self, name: str, tensor: Tensor) -> Tensor:
        """A new tensor on the device with the values of one on the host, transferred asynchronously."""
        buffer = self._buffer(name, tensor)
        buffer.copy_(tensor)
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=self.device).copy_(buffer, non_blocking=True)

    def send_once(self, name: str, tensor: Tensor) -> Tensor:
        """Like `send`, but a tensor that was sent before and has not been modified since is not sent again. Tensors
        shared by all copies (stride 0) are sent once and expanded."""
        kept = self._kept.setdefault(name, [])
        for given, version, sent in kept:
            if given is tensor and version == tensor._version:
                return sent
        shared = tensor.dim() > 0 and tensor.stride(0) == 0
        sent = self.send(name, tensor[:1]).expand(tensor.shape) if shared else self.send(name, tensor)
        self._kept[name] = [*kept[-_MOST_KEPT + 1 :], (tensor, tensor._version, sent)]
        return sent

    def end(self) -> None:
        """Record an event after the transfers, for `begin`."""
        if self._on_gpu:
            self._sent = self._sent or torch.cuda.Event()
            self._sent.record(torch.cuda.current_stream(self.device))

    def _buffer(self, name: str, like: Tensor) -> Tensor:
        key = (name, like.shape, like.dtype)
        if key not in self._buffers:
            self._buffers[key] = torch.empty(like.shape, dtype=like.dtype, pin_memory=self._on_gpu)
        return self._buffers[key]


class HostEnvironment:
    """An environment on the host whose observations and rewards are on `device`; implements
    `envs.protocols.Environment`.

    States stay on the host. Reference policies, which read the state of the environment, are made for `host`.
    """

    def __init__(self, host: Environment, device: torch.device) -> None:
        self.host, self.device = host, device
        self.spec, self.num_envs = host.spec, host.num_envs
        self._staging = Staging(device)

    def reset(self, seed: int | None = None) -> Step:
        """Begin the next episodes or, with a seed, the first ones of that seed."""
        return self._sent(self.host.reset(seed))

    def step(self, actions: Tensor) -> Step:
        """Advance all copies by actions on the device. Raises what the environment on the host raises."""
        return self._sent(self.host.step(self._staging.fetch(actions)))

    def scores(self) -> dict[str, Float[Tensor, " env"]]:
        """Scores of the current episodes by name, on the device."""
        staging = self._staging
        staging.begin()
        scores = {name: staging.send(f"score {name}", value) for name, value in self.host.scores().items()}
        staging.end()
        return scores

    def state_dict(self) -> dict[str, Any]:
        """The state of the environment on the host, which can be restored without this wrapper."""
        return self.host.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly. Raises what the environment on the host raises."""
        self.host.load_state_dict(state)

    @property
    def continued(self) -> bool:
        """Whether the environment on the host continued exactly when last restored (`envs.protocols.Unsaveable`)."""
        return self.host.continued if isinstance(self.host, Unsaveable) else True

    def use_threads(self, count: int | None) -> None:
        """Step copies with `count` threads, if the environment on the host supports it."""
        if isinstance(self.host, Threaded):
            self.host.use_threads(count)

    def _sent(self, step: Step) -> Step:
        """The step on the device."""
        staging = self._staging
        staging.begin()
        send_neighbours = staging.send_once if self.spec.static_graph else staging.send
        sent = Step(
            staging.send("observation", step.observation),
            Graph(send_neighbours("neighbours", step.graph.neighbours), staging.send_once("mask", step.graph.mask)),
            staging.send("reward", step.reward),
            staging.send_once("terminated", step.terminated),
            staging.send_once("truncated", step.truncated),
        )
        staging.end()
        return sent


class InterpretableHostEnvironment(HostEnvironment):
    """A host environment with statistics (`envs.protocols.Interpretable`)."""

    def take_statistics(self) -> dict[str, dict[str, float]]:
        """Statistics of the environment on the host."""
        assert isinstance(self.host, Interpretable)
        return self.host.take_statistics()


def on_device(host: Environment, device: torch.device) -> Environment:
    """Wrap an environment on the host for `device`; on a CPU, returns it unchanged."""
    if device.type == "cpu":
        return host
    kind = InterpretableHostEnvironment if isinstance(host, Interpretable) else HostEnvironment
    return kind(host, device)
