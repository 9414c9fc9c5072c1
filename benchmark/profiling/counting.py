"""The work of a GPU, counted without one: operations, FLOPs and bytes of the steps of a run.

Steps are executed on torch's `meta` device, where tensors have shapes but no data, under a dispatch mode that sees
every operation. `benchmark.profiling.device_model` converts the counts to seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

import algorithms
import envs
from algorithms.common.graph import chosen_kernel
from algorithms.common.memory import blank_batch
from algorithms.protocols import Batch
from benchmark.replay import Replay
from benchmark.rewards import RewardScale
from envs.protocols import EnvironmentSpec

META = torch.device("meta")
FUSED_NAMESPACE = "neighbours"
"""Namespace of the operators of `algorithms.common.slots`, whose schemas say what a fused kernel over neighbour lists
reads and writes: on `meta` they stand for the GPU's kernel."""
BACKWARD_PASSES = 2
"""Kernels of the backward pass of fused attention: one by queries, one by keys and values over the reverse lists."""
NO_KERNEL = frozenset(
    [
        "empty",
        "empty_strided",
        "empty_like",
        "new_empty",
        "new_empty_strided",
        "lift_fresh",
        "_unsafe_view",
        "detach",
        "detach_",
        "_reshape_alias",
        "requires_grad_",
        "set_",
        "resize_",
    ]
)
"""Operations that launch no kernel although their schema does not mark them as views."""
SEVERAL_KERNELS = {"sort": 4, "argsort": 4, "topk": 3, "randperm": 3, "one_hot": 2, "_foreach_norm": 2}
"""Operations for which CUDA launches several kernels, with their number according to torch's sources, not measured."""
GATHERS = ("index", "gather", "index_select", "embedding")
"""Operations that read only the rows they gather, not their whole input."""
FOREACH = ("linalg_vector_norm", "mul_")
"""Operations applied to one parameter after the other, launched together where a device has `_foreach` kernels."""
DRAWS = ("rand", "randn", "randint")
LARGEST_BATCH = 1 << 20
"""Largest number of transitions whose gradients are computed at once."""
PARAMETER_PASSES = 7
"""Number of times that fused Adam reads or writes the bytes of the parameters: it reads parameters, gradients and two
moments, and writes all of them but the gradients."""


@dataclass(slots=True)
class Count:
    """The operations of a step, in order."""

    operations: list[tuple[int, int, int]] = field(default_factory=list)
    """FLOPs of matrix products, bytes moved, and kernels launched, for every operation that launches a kernel."""
    views: int = 0
    """Number of operations that launch nothing but take time on the host."""

    @property
    def flops(self) -> int:
        """FLOPs of all operations."""
        return sum(operation[0] for operation in self.operations)

    @property
    def bytes(self) -> int:
        """Bytes moved by all operations, each counted separately."""
        return sum(operation[1] for operation in self.operations)

    @property
    def kernels(self) -> int:
        """Kernels launched by all operations."""
        return sum(operation[2] for operation in self.operations)


class Counter(TorchDispatchMode):
    """Dispatch mode that counts operations on the `meta` device. A value read from the device is 1, so that code that
    waits for the device continues; random numbers are drawn on `meta`, whatever the device of the generator."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Count()
        self._last = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func._schema.name.split("::")[1]
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        read = [tensor for tensor in given if tensor.device == META]
        if name == "_local_scalar_dense" and read:
            return (read[0].dtype.is_floating_point and 1.0) or 1
        if name == "_to_copy" and read and kwargs.get("device") == torch.device("cpu"):
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if name in DRAWS:
            kwargs["device"] = META
        result = func(*args, **kwargs)
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if read or any(tensor.device == META for tensor in written):
            self._add(func, name, args, kwargs, read, written, result)
        return result

    def _add(
        self, func: Any, name: str, args: Any, kwargs: Any, read: list[Tensor], written: list[Tensor], result: Any
    ) -> None:
        previous, self._last = self._last, name
        returns = func._schema.returns
        if name in NO_KERNEL or (returns and all(r.alias_info and not r.alias_info.is_write for r in returns)):
            self.count.views += 1
            return
        moved = sum(map(_bytes, read)) + sum(_bytes(t) for t in written if not any(t is source for source in read))
        flops, kernels = 0, SEVERAL_KERNELS.get(name, 1)
        if func.namespace == FUSED_NAMESPACE:
            flops, kernels = fused_cost(name, args)
        elif func._overloadpacket in flop_registry:
            flops = flop_registry[func._overloadpacket](*args, **kwargs, out_val=result)
        elif name in GATHERS:
            moved = 2 * sum(map(_bytes, written)) + sum(_bytes(t) for t in read if t.dtype == torch.int64)
        if name in FOREACH and previous == name:
            kernels = 0
        self.count.operations.append((int(flops), moved, kernels))


def fused_cost(name: str, args: tuple[Any, ...]) -> tuple[int, int]:
    """FLOPs and kernels of an operator over neighbour lists, computed from its edges.

    In the forward pass each edge and feature takes a product and a sum for the score, and the same for the message; the
    backward pass takes twice that, and recomputes the scores, which are not kept. Sums over neighbours take one
    addition.
    """
    lists = next(argument for argument in args if isinstance(argument, Tensor) and argument.dtype == torch.int32)
    first = args[0]
    copies, agents = first.shape[:2]
    edges = copies * agents * lists.shape[-1]
    if name.startswith("add"):
        return edges * first.shape[-1], 1
    width = first.shape[-1] // 3 if "within" in name else first.shape[-2] * first.shape[-1]
    forward = 4 * edges * width
    return (forward * 5 // 2, BACKWARD_PASSES) if name.endswith("backward") else (forward, 1)


def _bytes(tensor: Tensor) -> int:
    """Bytes of a tensor that have to be moved: expanded rows are in the cache after the first."""
    size = tensor.element_size()
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        size *= length if stride else 1
    return size


def counted(call: Callable[[], Any]) -> Count:
    """Count of the operations of a call on the `meta` device."""
    with Counter() as counter:
        call()
    return counter.count


@lru_cache(maxsize=256)
def gradient_step(algorithm: str, spec: EnvironmentSpec, batch_size: int, fused: bool) -> Count:
    """Count of one gradient step on a GPU with the algorithm's default settings: sampling a batch from the replay
    memory, scaling its rewards, and updating every network.

    Args:
        fused: use the fused attention kernel over neighbour lists, instead of the kernel that `auto` selects on a GPU.
    """
    learner = _learner(algorithm, spec, fused)
    count = counted(lambda: learner.update(_sampled(spec, learner.action_width, batch_size), torch.Generator()))
    for optimiser in _optimisers(learner):
        size = sum(parameter.nbytes for group in optimiser.param_groups for parameter in group["params"])
        count.operations.append((0, PARAMETER_PASSES * size, 1))
    return count


@lru_cache(maxsize=256)
def choice_of_actions(algorithm: str, spec: EnvironmentSpec, copies: int, fused: bool) -> Count:
    """Count of one choice of actions for `copies` copies of a task, with the algorithm's default settings."""
    learner = _learner(algorithm, spec, fused)
    batch = blank_batch(spec, copies, learner.action_width)
    return counted(lambda: learner.act(batch.observation, batch.graph, torch.Generator(), False))


@lru_cache(maxsize=64)
def environment_step(task: str, copies: int) -> Count:
    """Count of one step of `copies` copies of a particle task or of Jungle, whose environments work on tensors."""
    with Counter():
        environment = envs.make(task, copies, "meta")
        environment.reset(0)
        actions = torch.empty(copies, environment.spec.num_agents, dtype=torch.int64, device=META)
        environment.step(actions)
    return counted(lambda: environment.step(actions))


def _learner(algorithm: str, spec: EnvironmentSpec, fused: bool) -> Any:
    """A learner on `meta` that uses the kernels of a GPU, and whose optimisers make no steps: they are one fused kernel
    on a GPU, many operations here."""
    settings = dataclasses.replace(algorithms.config_type(algorithm)(), micro_batch=LARGEST_BATCH)
    heads = getattr(settings, "heads", 1)
    if hasattr(settings, "kernel"):
        kernel = "slots" if fused else chosen_kernel("auto", spec.num_agents, spec.max_neighbours, heads, False)
        settings = dataclasses.replace(settings, kernel=kernel)  # type: ignore[call-arg]
    with Counter(), torch.random.fork_rng(devices=[]), META:
        learner = algorithms.learner_type(algorithm)(spec, settings, META)
    for optimiser in _optimisers(learner):
        optimiser.step = lambda: None
    return learner


def _optimisers(learner: Any) -> list[Any]:
    return [part for part in vars(learner).values() if isinstance(part, torch.optim.Optimizer)]


def _sampled(spec: EnvironmentSpec, action_width: int, batch_size: int) -> Batch:
    """A batch sampled from a replay buffer of two episodes."""
    replay = Replay(spec, 1, 2 * spec.episode_length, META, action_width=action_width)
    replay.episode = 2
    if spec.static_graph:
        replay.static_graph = blank_batch(spec, 1, action_width).graph
    batch = replay.sample(batch_size, torch.Generator())
    return batch._replace(reward=RewardScale("standardise", spec.num_agents, META).apply(batch.reward))
