"""Replay buffer: one preallocated ring of whole episodes, on the training device.

Time-major storage of shape (episode slot, time, env, ...). Each episode takes `episode_length + 1` time slots, so an
observation is stored once and serves as the next observation of the step before it. All copies of a task run in
lockstep, which makes every slot of the ring valid or not by arithmetic alone.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from algorithms.protocols import Batch
from envs.protocols import EnvironmentSpec, Graph, Step

_MANY = 2**62


class Replay:
    """Ring of the last `capacity` transitions (rounded up to whole episodes of all copies)."""

    def __init__(
        self,
        spec: EnvironmentSpec,
        num_envs: int,
        capacity: int,
        device: torch.device,
        observation_dtype: torch.dtype = torch.float32,
        action_width: int = 0,
        counts_on_device: bool | None = None,
    ) -> None:
        """`counts_on_device`: whether counters that change with every step are also kept in a tensor, so that `write`
        and `sample` can be captured; None: on any device but a CPU. Sampling then uses the generator differently."""
        self.spec, self.num_envs, self.device = spec, num_envs, device
        self.length = spec.episode_length
        self.slots = episode_slots(spec, num_envs, capacity)
        shapes = storage_layout(spec, num_envs, self.slots, observation_dtype, action_width)
        self.storage = {name: torch.empty(shape, dtype=kind, device=device) for name, (shape, kind) in shapes.items()}
        self.static_graph: Graph | None = None
        self.episode = 0
        """Episodes begun before the current one."""
        self.time = 0
        """Steps of the current episode stored so far."""
        self.cursor: Tensor | None = None
        """Number of transitions that can be sampled, slot of the oldest, and row (slot, time) of the last
        observation."""
        if device.type != "cpu" if counts_on_device is None else counts_on_device:
            self.cursor = torch.zeros(3, dtype=torch.int64, device=device)
            self._stride = torch.zeros_like(self.cursor)
            self._stride[0].fill_(num_envs)
            self._stride[2].fill_(1)

    def __len__(self) -> int:
        """Number of transitions that can be sampled."""
        complete = min(self.episode, self.slots - 1)
        return (complete * self.length + self.time) * self.num_envs

    @property
    def nbytes(self) -> int:
        """Bytes of the whole ring."""
        return sum(tensor.nbytes for tensor in self.storage.values())

    def begin_episode(self, step: Step) -> None:
        """Start an episode with the observation after a reset. Raises RuntimeError inside an episode."""
        if self.time == self.length:
            self.episode, self.time = self.episode + 1, 0
        elif self.time:
            raise RuntimeError(f"an episode of {self.length} steps was restarted after {self.time} steps")
        self._place_cursor()
        self._write_observation(step, 0)

    def abandon_episode(self) -> None:
        """Discard the current episode, so that another can begin in its place."""
        self.time = 0

    def add(self, action: Tensor, step: Step) -> None:
        """Store the action taken and the resulting step. Raises RuntimeError past the end of an episode."""
        self._require_room()
        self.write(action, step)
        self.time += 1

    def write(self, action: Tensor, step: Step) -> None:
        """The part of `add` that operates on tensors."""
        self._put("action", action, 0)
        self._put("reward", step.reward, 0)
        self._put("terminated", step.terminated, 0)
        self._write_observation(step, 1)
        if self.cursor is not None:
            self.cursor += self._stride

    def count_step(self) -> None:
        """The part of `add` that counts in Python, for a step whose `write` was captured. Raises RuntimeError past the
        end of an episode."""
        self._require_room()
        self.time += 1

    def _require_room(self) -> None:
        if self.time == self.length:
            raise RuntimeError("the episode is complete: call begin_episode before adding more")

    def _put(self, name: str, value: Tensor, ahead: int) -> None:
        """Store a field of all copies at the current time of the episode, or `ahead` steps later."""
        store = self.storage[name]
        if self.cursor is None:
            store[self.episode % self.slots, self.time + ahead] = value
        else:
            store.flatten(0, 1).index_copy_(0, self.cursor[2:] + ahead, value[None].to(store.dtype))

    def _place_cursor(self) -> None:
        """Set the cursor from the counters, without synchronising with the device."""
        if self.cursor is not None:
            row = self.episode % self.slots * (self.length + 1) + self.time
            for place, value in enumerate((len(self), self._oldest(), row)):
                self.cursor[place].fill_(value)

    def _oldest(self) -> int:
        return max(0, self.episode - self.slots + 1)

    def _write_observation(self, step: Step, ahead: int) -> None:
        self._put("observation", step.observation, ahead)
        if self.spec.static_graph:
            if self.static_graph is None:
                self.static_graph = Graph(step.graph.neighbours[:1], step.graph.mask[:1])
            return
        self._put("neighbours", step.graph.neighbours, ahead)
        self._put("mask", step.graph.mask, ahead)

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """Sample transitions uniformly with replacement. Raises RuntimeError where there are none."""
        if not len(self):
            raise RuntimeError("the replay buffer is empty")
        oldest: int | Tensor
        if self.cursor is None:
            index = torch.randint(len(self), (batch_size,), generator=generator, device=self.device)
            oldest = self._oldest()
        else:  # `_MANY` is so large that the bias of its remainders is negligible
            index = torch.randint(_MANY, (batch_size,), generator=generator, device=self.device) % self.cursor[0]
            oldest = self.cursor[1]
        env, step = index % self.num_envs, index // self.num_envs
        slot = (oldest + step // self.length) % self.slots
        time = step % self.length
        store = self.storage
        action = store["action"][slot, time, env]
        return Batch(
            observation=store["observation"][slot, time, env].float(),
            graph=self._graph(slot, time, env),
            action=action if action.is_floating_point() else action.long(),
            reward=store["reward"][slot, time, env],
            next_observation=store["observation"][slot, time + 1, env].float(),
            next_graph=self._graph(slot, time + 1, env),
            terminated=store["terminated"][slot, time, env],
        )

    def _graph(self, slot: Tensor, time: Tensor, env: Tensor) -> Graph:
        if self.static_graph is not None:  # expanded, not copied: see `Graph`
            return Graph(*(part.expand(len(env), -1, -1) for part in self.static_graph))
        store = self.storage
        return Graph(store["neighbours"][slot, time, env].long(), store["mask"][slot, time, env])

    def state_dict(self) -> dict[str, Any]:
        """The filled part of the ring and its counters."""
        used = min(self.episode + 1, self.slots)
        # a view would be saved with the whole ring behind it, hence the copy of a ring that is not yet full
        full = used == self.slots
        storage = {name: tensor if full else tensor[:used].clone() for name, tensor in self.storage.items()}
        graph = None if self.static_graph is None else tuple(self.static_graph)
        return {"storage": storage, "episode": self.episode, "time": self.time, "static_graph": graph}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`, exactly."""
        for name, tensor in state["storage"].items():
            self.storage[name][: len(tensor)] = tensor
        self.episode, self.time = state["episode"], state["time"]
        self._place_cursor()
        if state["static_graph"] is not None:
            self.static_graph = Graph(*(part.to(self.device) for part in state["static_graph"]))


def drawable(steps: int, slots: int, length: int) -> int:
    """Transitions per copy that can be sampled after `steps` steps from a ring of `slots` episodes, before a completed
    episode is followed by the next."""
    episode = max(0, steps - 1) // length
    return min(episode, slots - 1) * length + steps - episode * length


def episode_slots(spec: EnvironmentSpec, num_envs: int, capacity: int) -> int:
    """Episodes of all copies that hold `capacity` transitions, and one more that is being written."""
    return math.ceil(capacity / (spec.episode_length * num_envs)) + 1


def storage_layout(
    spec: EnvironmentSpec, num_envs: int, slots: int, observation_dtype: torch.dtype, action_width: int = 0
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shape and type of every stored field. Actions are indices, or vectors where `action_width` is not 0."""
    agents, front = spec.num_agents, (slots, spec.episode_length + 1, num_envs)
    index = torch.uint8 if agents <= 256 else torch.int16
    layout: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
        "observation": ((*front, agents, spec.observation_dim), observation_dtype),
        "action": ((*front, agents, action_width), torch.float32) if action_width else ((*front, agents), torch.uint8),
        "reward": ((*front, agents), torch.float32),
        "terminated": (front, torch.bool),
    }
    if not spec.static_graph:
        layout["neighbours"] = ((*front, agents, spec.max_neighbours), index)
        layout["mask"] = ((*front, agents, spec.max_neighbours), torch.bool)
    return layout


def replay_bytes(
    spec: EnvironmentSpec, num_envs: int, capacity: int, observation_dtype: torch.dtype, action_width: int = 0
) -> int:
    """Memory of a replay buffer of `capacity` transitions in bytes."""
    layout = storage_layout(spec, num_envs, episode_slots(spec, num_envs, capacity), observation_dtype, action_width)
    return sum(math.prod(shape) * kind.itemsize for shape, kind in layout.values())
