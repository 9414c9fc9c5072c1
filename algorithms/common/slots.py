"""Attention and sums over neighbour lists as torch operators, with a cost proportional to the number of edges: compiled
loops on a CPU (`slot_kernels.py`), Triton kernels on CUDA (`slot_triton.py`).

Each operator registers its gradients and result shapes, so that it works in `torch.compile`, under
`torch.func.functional_call` and on the `meta` device, where nothing is computed. Tensors are float32; there are no
second derivatives. Sums have a fixed order: equal inputs give equal bits.

Lists (graphs, agent, slot) are int32 agent numbers within a copy, -1 in slots without a neighbour; one list may serve
all copies of a batch. Attention weights are (batch, agent, slot, head), zero in slots without a neighbour. An agent
without neighbours receives zeros. An invalid agent number raises IndexError on a CPU; on CUDA, where a check would
synchronise with the host, the agent whose list contains it receives NaN.

Gradients on CUDA are added along `readers`, the `reverse_lists` of the lists, which are computed at every call where
they are not given. A CPU does not need them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from envs.shapes import Int

FUSED = ("cuda",)
"""Devices with kernels that a run has to request (`training.kernels`)."""


@custom_op(
    "neighbours::attend",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor query, Tensor key, Tensor? value, Tensor lists, Tensor? readers=None) -> (Tensor, Tensor)",
)
def attend(
    query: Tensor, key: Tensor, value: Tensor | None, lists: Tensor, readers: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Message (batch, agent, message) and weights of scaled dot-product attention, from queries, keys and values
    (batch, agent, head, feature). Without values the message is empty."""
    return _compute(query, key, value, lists, -math.inf)


@attend.register_fake
def _attend_shapes(
    query: Tensor, key: Tensor, value: Tensor | None, lists: Tensor, readers: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    copies, agents, heads, size = query.shape
    message = query.new_empty((copies, agents, heads * size) if value is not None else (0,))
    return message, query.new_empty(copies, agents, lists.shape[-1], heads)


@custom_op(
    "neighbours::attend_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor query, Tensor key, Tensor? value, Tensor lists, Tensor weights, Tensor? by_message, "
    "Tensor? by_weights, Tensor? readers=None) -> (Tensor, Tensor, Tensor)",
)
def attend_backward(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    lists: Tensor,
    weights: Tensor,
    by_message: Tensor | None,
    by_weights: Tensor | None,
    readers: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients with respect to query, key and value (empty without values), given those of message and weights."""
    results = _attend_backward_shapes(query, key, value, lists, weights, by_message, by_weights)
    _differentiate(query, key, value, lists, -math.inf, weights, by_message, by_weights, results)
    return results


@attend_backward.register_fake
def _attend_backward_shapes(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    lists: Tensor,
    weights: Tensor,
    by_message: Tensor | None,
    by_weights: Tensor | None,
    readers: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    by_value = query.new_empty(query.shape if value is not None else (0,))
    return query.new_empty(query.shape), query.new_empty(query.shape), by_value


def _keep_parts(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])
    ctx.set_materialize_grads(False)


def _attend_gradients(ctx: Any, by_message: Tensor | None, by_weights: Tensor | None) -> tuple[Tensor | None, ...]:
    query, key, value, lists, readers, weights = ctx.saved_tensors
    if value is None:
        by_message = None
    by_query, by_key, by_value = attend_backward(query, key, value, lists, weights, by_message, by_weights, readers)
    return by_query, by_key, None if value is None else by_value, None, None


attend.register_autograd(_attend_gradients, setup_context=_keep_parts)


@custom_op(
    "neighbours::attend_within",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor projected, Tensor lists, int heads, bool activated, Tensor? readers=None) -> (Tensor, Tensor)",
)
def attend_within(
    projected: Tensor, lists: Tensor, heads: int, activated: bool, readers: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`attend` on concatenated queries, keys and values (batch, agent, 3 * heads * feature), through a ReLU if
    `activated`. Neither the gradients nor the ReLU need copies."""
    return _compute(*parts(projected, heads), lists, 0.0 if activated else -math.inf)


@attend_within.register_fake
def _attend_within_shapes(
    projected: Tensor, lists: Tensor, heads: int, activated: bool, readers: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    return _attend_shapes(*parts(projected, heads), lists)


@custom_op(
    "neighbours::attend_within_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor projected, Tensor lists, bool activated, Tensor weights, Tensor? by_message, "
    "Tensor? by_weights, Tensor? readers=None) -> Tensor",
)
def attend_within_backward(
    projected: Tensor,
    lists: Tensor,
    activated: bool,
    weights: Tensor,
    by_message: Tensor | None,
    by_weights: Tensor | None,
    readers: Tensor | None = None,
) -> Tensor:
    """Gradient of `attend_within` with respect to `projected`."""
    result = torch.empty(projected.shape, dtype=projected.dtype)
    heads = weights.shape[-1]
    lowest = 0.0 if activated else -math.inf
    _differentiate(*parts(projected, heads), lists, lowest, weights, by_message, by_weights, parts(result, heads))
    return result


@attend_within_backward.register_fake
def _attend_within_backward_shapes(
    projected: Tensor,
    lists: Tensor,
    activated: bool,
    weights: Tensor,
    by_message: Tensor | None,
    by_weights: Tensor | None,
    readers: Tensor | None = None,
) -> Tensor:
    return projected.new_empty(projected.shape)


def _keep_projected(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:2], inputs[4], output[1])
    ctx.activated = inputs[3]
    ctx.set_materialize_grads(False)


def _attend_within_gradients(ctx: Any, by_message: Tensor | None, by_weights: Tensor | None) -> tuple[Any, ...]:
    projected, lists, readers, weights = ctx.saved_tensors
    by_projected = attend_within_backward(projected, lists, ctx.activated, weights, by_message, by_weights, readers)
    return by_projected, None, None, None, None


attend_within.register_autograd(_attend_within_gradients, setup_context=_keep_projected)


@custom_op(
    "neighbours::add",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor values, Tensor lists, bool mean, Tensor? readers=None) -> Tensor",
)
def add(values: Tensor, lists: Tensor, mean: bool, readers: Tensor | None = None) -> Tensor:
    """Sums or means of the neighbours' values (batch, agent, feature)."""
    from algorithms.common.slot_kernels import kernels

    result = _add_shape(values, lists, mean)
    width = values.shape[-1]
    readable = even_rows(values)
    fine = kernels(width).add(*_places([readable]), *_graphs(lists, values), width, mean, result.data_ptr())
    _check(fine, lists)
    return result


@add.register_fake
def _add_shape(values: Tensor, lists: Tensor, mean: bool, readers: Tensor | None = None) -> Tensor:
    return values.new_empty(values.shape)


@custom_op(
    "neighbours::add_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor by_result, Tensor lists, bool mean, Tensor? readers=None) -> Tensor",
)
def add_backward(by_result: Tensor, lists: Tensor, mean: bool, readers: Tensor | None = None) -> Tensor:
    """Gradient of `add` with respect to the values."""
    from algorithms.common.slot_kernels import kernels

    given, by_values = by_result.contiguous(), _add_shape(by_result, lists, mean)
    width = given.shape[-1]
    kernels(width).add_backward(*_graphs(lists, given), width, mean, given.data_ptr(), by_values.data_ptr())
    return by_values


@add_backward.register_fake
def _add_backward_shape(by_result: Tensor, lists: Tensor, mean: bool, readers: Tensor | None = None) -> Tensor:
    return by_result.new_empty(by_result.shape)


def _keep_lists(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1], inputs[3])
    ctx.mean = inputs[2]


def _add_gradients(ctx: Any, by_result: Tensor) -> tuple[Any, ...]:
    lists, readers = ctx.saved_tensors
    return add_backward(by_result, lists, ctx.mean, readers), None, None, None


add.register_autograd(_add_gradients, setup_context=_keep_lists)


def _on_cuda(name: str) -> Callable[..., Any]:
    """The function called `name` in `slot_triton`, which is imported at the first call."""
    return lambda *arguments: getattr(import_module("algorithms.common.slot_triton"), name)(*arguments)


OPERATORS = {
    "attend": attend,
    "attend_backward": attend_backward,
    "attend_within": attend_within,
    "attend_within_backward": attend_within_backward,
    "add": add,
    "add_backward": add_backward,
}
"""All operators by name."""
for _name, _operator in OPERATORS.items():
    _operator.register_kernel("cuda")(_on_cuda(_name))


def _compute(query: Tensor, key: Tensor, value: Tensor | None, lists: Tensor, lowest: float) -> tuple[Tensor, Tensor]:
    """Message and weights of queries, keys and values clamped from below at `lowest`."""
    from algorithms.common.slot_kernels import kernels

    fitting(lists, query, key, query if value is None else value)
    message, weights = _attend_shapes(query, key, value, lists)
    read = [None if part is None else even_rows(part) for part in (query, key, value)]  # copies must live until the end
    shape = (*_graphs(lists, query), *query.shape[2:])
    fine = kernels(query.shape[-1]).attend(*_places(read), *shape, lowest, message.data_ptr(), weights.data_ptr())
    _check(fine, lists)
    return message, weights


def _differentiate(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    lists: Tensor,
    lowest: float,
    weights: Tensor,
    by_message: Tensor | None,
    by_weights: Tensor | None,
    results: tuple[Tensor, ...],
) -> None:
    """Write the gradients of `_compute` with respect to query, key and value into `results`."""
    from algorithms.common.slot_kernels import kernels

    told = [None if part is None else part.contiguous() for part in (by_message, by_weights)]
    read = [None if part is None else even_rows(part) for part in (query, key, value)]
    compiled = kernels(query.shape[-1]).attend_backward
    addresses = [0 if part is None else part.data_ptr() for part in (weights, *told)]
    compiled(*_places(read), *_graphs(lists, query), *query.shape[2:], lowest, *addresses, *_places(list(results)))


def takes(values: Tensor, fused: bool = False) -> bool:
    """Whether the operators support the type and device of `values`; a GPU only if `fused`."""
    device = values.device.type
    return values.dtype == torch.float32 and (device in ("cpu", "meta") or (fused and device in FUSED))


def parts(projected: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Views of concatenated queries, keys and values, each (batch, agent, head, feature)."""
    query, key, value = projected.unflatten(-1, (3, heads, -1)).unbind(2)
    return query, key, value


def reverse_lists(lists: Int[Tensor, "graphs agent slot"]) -> Int[Tensor, "graphs entry"]:
    """The reverse graph, computed without synchronising with the device: for each agent, the edges that read it.

    Each graph has agents + 1 offsets, followed by the readers agent by agent, as edges receiver * slots + slot in
    increasing order. Edges of empty slots come last.
    """
    graphs, agents, _ = lists.shape
    senders = torch.where((lists < 0) | (lists >= agents), agents, lists).flatten(1)
    senders, edges = senders.sort(dim=1, stable=True)
    numbers = torch.arange(agents + 1, dtype=lists.dtype, device=lists.device).repeat(graphs, 1)
    return torch.cat([torch.searchsorted(senders, numbers, out_int32=True), edges.int()], dim=1)


def even_rows(part: Tensor) -> Tensor:
    """The tensor itself if the rows of all copies and agents have one stride and are contiguous, otherwise a copy."""
    copies, agents = part.shape[:2]
    even = copies == 1 or agents == 1 or part.stride(0) == agents * part.stride(1)
    return part if even and part[0, 0].is_contiguous() else part.contiguous()


def fitting(lists: Tensor, values: Tensor, *others: Tensor) -> None:
    """Raises TypeError or ValueError for tensors that the kernels do not support or whose shapes disagree."""
    for other in others:
        if other.shape != values.shape or other.dtype != values.dtype:
            raise ValueError(
                f"queries are {values.dtype} {tuple(values.shape)}, "
                f"but keys or values {other.dtype} {tuple(other.shape)}"
            )
    if values.dtype != torch.float32 or lists.dtype != torch.int32 or not lists.is_contiguous():
        raise TypeError(f"expected float32 and contiguous lists of int32, found {values.dtype} and {lists.dtype}")
    if lists.shape[0] not in (1, values.shape[0]) or lists.shape[1] != values.shape[1]:
        raise ValueError(f"lists {tuple(lists.shape)} do not fit values {tuple(values.shape)}: other copies or agents")


def _places(parts: list[Tensor | None]) -> list[int]:
    """Address and row stride of each tensor; zeros for a missing or empty one."""
    places = []
    for part in parts:
        if part is None or not part.numel():
            places += [0, 0]
        else:
            places += [part.data_ptr(), part.stride(1) if part.shape[1] > 1 else part.stride(0)]
    return places


def _graphs(lists: Tensor, values: Tensor) -> list[int]:
    """Arguments of the compiled loops: address of the lists, graphs, copies, agents, slots. Raises like `fitting`."""
    fitting(lists, values)
    return [lists.data_ptr(), lists.shape[0], *values.shape[:2], lists.shape[2]]


def _check(fine: bool, lists: Tensor) -> None:
    if not fine:
        raise IndexError(f"a neighbour list has an invalid agent number: expected 0 to {lists.shape[1] - 1}")
