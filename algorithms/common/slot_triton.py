"""The operators of `algorithms.common.slots` on CUDA, in Triton: attention and sums over neighbour lists.

Nothing is gathered into memory: a program reads the rows of the neighbours in place, computes scores, weights and
message in registers, and writes each result once. No sum depends on the order in which programs run: gradients that an
agent receives from its neighbours are accumulated by one program, in the order of the reverse lists
(`algorithms.common.slots.reverse_lists`). There are thus no atomic additions, and equal inputs give equal bits.
Products are summed in float32; there is no matrix product that TF32 could round.

Neighbour lists are not checked here, because the host would have to wait for the result. Where a list contains an
invalid index, its agent receives NaN, which ends a run with the name of the metric that is not finite.

This module needs Triton, which CPU builds of torch do not include, and is imported where it is used. Triton's
interpreter (`TRITON_INTERPRET=1`, set before Triton is imported) runs the same kernels on tensors of a CPU.
"""

from __future__ import annotations

import math
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from algorithms.common.slots import even_rows, fitting, parts, reverse_lists

TILE = 2048
"""Number of keys or values that a program holds at once, unless a single agent has more: 16 for each of 128 threads."""
COLUMNS = 128
"""Features that a program sums at once."""
READERS = 8
"""Number of receivers of an agent whose gradients are summed at once."""


@triton.jit
@no_type_check
def _read(rows, place, there, ACTIVATED: tl.constexpr):
    """The values at `place` where `there` holds, optionally through a ReLU, and zero elsewhere."""
    x = tl.load(rows + place, mask=there, other=0.0)
    if ACTIVATED:
        x = tl.where(x < 0, 0.0, x)
    return x


@triton.jit
@no_type_check
def _lists_of(lists, row, exists, agents, ONE_GRAPH: tl.constexpr, SLOTS: tl.constexpr, SLOTS_TILE: tl.constexpr):
    """The neighbours of a block of rows, -1 where there is none, and the mask of valid slots."""
    slot = tl.arange(0, SLOTS_TILE)
    is_slot = exists[:, None] & (slot < SLOTS)[None, :]
    listed = row % agents if ONE_GRAPH else row
    return tl.load(lists + listed[:, None] * SLOTS + slot[None, :], mask=is_slot, other=-1), is_slot


@triton.jit
@no_type_check
def _attend(
    query, query_row, key, key_row, value, value_row, lists, message, weights, rows, agents, heads, scale,
    ONE_GRAPH: tl.constexpr, SLOTS: tl.constexpr, SIZE: tl.constexpr, ACTIVATED: tl.constexpr, VALUES: tl.constexpr,
    ROWS_TILE: tl.constexpr, SLOTS_TILE: tl.constexpr, SIZE_TILE: tl.constexpr,
):  # fmt: skip
    """Message and weights of one head for a block of rows, which are the agents of all copies in sequence."""
    row = tl.program_id(0).to(tl.int64) * ROWS_TILE + tl.arange(0, ROWS_TILE)
    head = tl.program_id(1)
    column = tl.arange(0, SIZE_TILE)
    place = head * SIZE + column
    other, is_slot = _lists_of(lists, row, row < rows, agents, ONE_GRAPH, SLOTS, SLOTS_TILE)
    present = other >= 0
    readable = present & (other < agents)
    sender = (row - row % agents)[:, None] + other
    inside = (row < rows)[:, None] & (column < SIZE)[None, :]
    theirs = readable[:, :, None] & (column < SIZE)[None, None, :]

    asked = _read(query, row[:, None] * query_row + place[None, :], inside, ACTIVATED)
    told = _read(key, sender[:, :, None] * key_row + place[None, None, :], theirs, ACTIVATED)
    score = tl.sum(asked[:, None, :] * told, axis=2) * scale
    score = tl.where(present & ~readable, float("nan"), score)
    count = tl.sum(present.to(tl.int32), axis=1)
    highest = tl.where(count > 0, tl.max(tl.where(present, score, float("-inf")), axis=1), 0.0)
    share = tl.where(present, tl.exp(score - highest[:, None]), 0.0)
    share = share / tl.where(count > 0, tl.sum(share, axis=1), 1.0)[:, None]
    edge = (row[:, None] * SLOTS + tl.arange(0, SLOTS_TILE)[None, :]) * heads + head
    tl.store(weights + edge, share, mask=is_slot)
    if VALUES:
        told = _read(value, sender[:, :, None] * value_row + place[None, None, :], theirs, ACTIVATED)
        received = tl.sum(share[:, :, None] * told, axis=1)
        tl.store(message + row[:, None] * (heads * SIZE) + place[None, :], received, mask=inside)


@triton.jit
@no_type_check
def _attend_backward_receivers(
    query, query_row, key, key_row, value, value_row, lists, weights, by_message, by_weights, by_query, by_query_row,
    slopes, rows, agents, heads, scale,
    ONE_GRAPH: tl.constexpr, SLOTS: tl.constexpr, SIZE: tl.constexpr, ACTIVATED: tl.constexpr,
    MESSAGE: tl.constexpr, WEIGHTS: tl.constexpr,
    ROWS_TILE: tl.constexpr, SLOTS_TILE: tl.constexpr, SIZE_TILE: tl.constexpr,
):  # fmt: skip
    """Gradients with respect to the queries of a block of rows and, for `_attend_backward_senders`, to the unscaled
    scores."""
    row = tl.program_id(0).to(tl.int64) * ROWS_TILE + tl.arange(0, ROWS_TILE)
    head = tl.program_id(1)
    column = tl.arange(0, SIZE_TILE)
    place = head * SIZE + column
    other, is_slot = _lists_of(lists, row, row < rows, agents, ONE_GRAPH, SLOTS, SLOTS_TILE)
    readable = (other >= 0) & (other < agents)
    sender = (row - row % agents)[:, None] + other
    inside = (row < rows)[:, None] & (column < SIZE)[None, :]
    theirs = readable[:, :, None] & (column < SIZE)[None, None, :]

    edge = (row[:, None] * SLOTS + tl.arange(0, SLOTS_TILE)[None, :]) * heads + head
    share = tl.load(weights + edge, mask=is_slot, other=0.0)
    slope = tl.zeros([ROWS_TILE, SLOTS_TILE], dtype=tl.float32)
    if MESSAGE:
        given = tl.load(by_message + row[:, None] * (heads * SIZE) + place[None, :], mask=inside, other=0.0)
        told = _read(value, sender[:, :, None] * value_row + place[None, None, :], theirs, ACTIVATED)
        slope = tl.sum(given[:, None, :] * told, axis=2)
    if WEIGHTS:
        slope += tl.load(by_weights + edge, mask=is_slot, other=0.0)
    slope = (slope - tl.sum(share * slope, axis=1)[:, None]) * share * scale
    tl.store(slopes + edge, slope, mask=is_slot)
    told = _read(key, sender[:, :, None] * key_row + place[None, None, :], theirs, ACTIVATED)
    gradient = tl.sum(slope[:, :, None] * told, axis=1)
    if ACTIVATED:
        asked = tl.load(query + row[:, None] * query_row + place[None, :], mask=inside, other=0.0)
        gradient = tl.where(asked > 0, gradient, 0.0)
    tl.store(by_query + row[:, None] * by_query_row + place[None, :], gradient, mask=inside)


@triton.jit
@no_type_check
def _attend_backward_senders(
    query, query_row, key, key_row, value, value_row, readers, weights, slopes, by_message, by_key, by_key_row,
    by_value, by_value_row, agents, heads,
    ONE_GRAPH: tl.constexpr, SLOTS: tl.constexpr, SIZE: tl.constexpr, ACTIVATED: tl.constexpr,
    MESSAGE: tl.constexpr, VALUES: tl.constexpr, READERS_TILE: tl.constexpr, COLUMNS_TILE: tl.constexpr,
):  # fmt: skip
    """Gradients with respect to the key and the value of one agent of one copy, with all heads side by side."""
    row = tl.program_id(0).to(tl.int64)
    first = row - row % agents
    place = tl.program_id(1) * COLUMNS_TILE + tl.arange(0, COLUMNS_TILE)
    within = place < heads * SIZE
    head = place // SIZE
    ends = readers if ONE_GRAPH else readers + (row // agents) * (agents + 1 + agents * SLOTS)
    begin, end = tl.load(ends + row % agents), tl.load(ends + row % agents + 1)
    by_told = tl.zeros([COLUMNS_TILE], dtype=tl.float32)
    by_sent = tl.zeros([COLUMNS_TILE], dtype=tl.float32)
    for start in range(begin, end, READERS_TILE):
        number = start + tl.arange(0, READERS_TILE)
        edge = tl.load(ends + agents + 1 + number, mask=number < end, other=0)
        receiver = first + edge // SLOTS
        there = (number < end)[:, None] & within[None, :]
        of_head = (first * SLOTS + edge)[:, None] * heads + head[None, :]
        slope = tl.load(slopes + of_head, mask=there, other=0.0)
        asked = tl.load(query + receiver[:, None] * query_row + place[None, :], mask=there, other=0.0)
        if ACTIVATED:
            asked = tl.where(asked < 0, 0.0, asked)
        by_told += tl.sum(slope * asked, axis=0)
        if MESSAGE:
            share = tl.load(weights + of_head, mask=there, other=0.0)
            given = tl.load(by_message + receiver[:, None] * (heads * SIZE) + place[None, :], mask=there, other=0.0)
            by_sent += tl.sum(share * given, axis=0)
    if ACTIVATED:
        told = tl.load(key + row * key_row + place, mask=within, other=0.0)
        by_told = tl.where(told > 0, by_told, 0.0)
    tl.store(by_key + row * by_key_row + place, by_told, mask=within)
    if VALUES:
        if ACTIVATED:
            sent = tl.load(value + row * value_row + place, mask=within, other=0.0)
            by_sent = tl.where(sent > 0, by_sent, 0.0)
        tl.store(by_value + row * by_value_row + place, by_sent, mask=within)


@triton.jit
@no_type_check
def _add(
    values, values_row, lists, result, rows, agents, width,
    ONE_GRAPH: tl.constexpr, SLOTS: tl.constexpr, MEAN: tl.constexpr,
    ROWS_TILE: tl.constexpr, SLOTS_TILE: tl.constexpr, COLUMNS_TILE: tl.constexpr,
):  # fmt: skip
    """Sums or means of the neighbours' values for a block of rows."""
    row = tl.program_id(0).to(tl.int64) * ROWS_TILE + tl.arange(0, ROWS_TILE)
    place = tl.program_id(1) * COLUMNS_TILE + tl.arange(0, COLUMNS_TILE)
    other, _ = _lists_of(lists, row, row < rows, agents, ONE_GRAPH, SLOTS, SLOTS_TILE)
    present = other >= 0
    readable = present & (other < agents)
    sender = (row - row % agents)[:, None] + other
    theirs = readable[:, :, None] & (place < width)[None, None, :]
    told = _read(values, sender[:, :, None] * values_row + place[None, None, :], theirs, False)
    total = tl.sum(tl.where((present & ~readable)[:, :, None], float("nan"), told), axis=1)
    if MEAN:
        count = tl.sum(present.to(tl.int32), axis=1)
        total = total / tl.where(count > 1, count, 1).to(tl.float32)[:, None]
    inside = (row < rows)[:, None] & (place < width)[None, :]
    tl.store(result + row[:, None] * width + place[None, :], total, mask=inside)


@triton.jit
@no_type_check
def _add_backward(
    by_result, lists, readers, by_values, agents, width,
    ONE_GRAPH: tl.constexpr, SLOTS: tl.constexpr, MEAN: tl.constexpr,
    READERS_TILE: tl.constexpr, SLOTS_TILE: tl.constexpr, COLUMNS_TILE: tl.constexpr,
):  # fmt: skip
    """Gradient of `_add` with respect to the values of one agent of one copy."""
    row = tl.program_id(0).to(tl.int64)
    first = row - row % agents
    place = tl.program_id(1) * COLUMNS_TILE + tl.arange(0, COLUMNS_TILE)
    ends = readers if ONE_GRAPH else readers + (row // agents) * (agents + 1 + agents * SLOTS)
    begin, end = tl.load(ends + row % agents), tl.load(ends + row % agents + 1)
    gradient = tl.zeros([COLUMNS_TILE], dtype=tl.float32)
    for start in range(begin, end, READERS_TILE):
        number = start + tl.arange(0, READERS_TILE)
        receiver = first + tl.load(ends + agents + 1 + number, mask=number < end, other=0) // SLOTS
        there = (number < end)[:, None] & (place < width)[None, :]
        given = tl.load(by_result + receiver[:, None] * width + place[None, :], mask=there, other=0.0)
        if MEAN:
            other, _ = _lists_of(lists, receiver, number < end, agents, ONE_GRAPH, SLOTS, SLOTS_TILE)
            count = tl.sum((other >= 0).to(tl.int32), axis=1)
            given = given / tl.where(count > 1, count, 1).to(tl.float32)[:, None]
        gradient += tl.sum(given, axis=0)
    tl.store(by_values + row * width + place, gradient, mask=place < width)


def attend(
    query: Tensor, key: Tensor, value: Tensor | None, lists: Tensor, readers: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`neighbours::attend`."""
    return _compute(query, key, value, lists, activated=False)


def attend_within(
    projected: Tensor, lists: Tensor, heads: int, activated: bool, readers: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`neighbours::attend_within`."""
    return _compute(*parts(projected, heads), lists, activated)


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
    """`neighbours::attend_backward`."""
    by_query, by_key, by_value = (query.new_empty(query.shape) for _ in range(3))
    results = (by_query, by_key, None if value is None else by_value)
    _differentiate(query, key, value, lists, False, weights, by_message, by_weights, readers, results)
    return by_query, by_key, query.new_empty(0) if value is None else by_value


def attend_within_backward(
    projected: Tensor,
    lists: Tensor,
    activated: bool,
    weights: Tensor,
    by_message: Tensor | None,
    by_weights: Tensor | None,
    readers: Tensor | None = None,
) -> Tensor:
    """`neighbours::attend_within_backward`."""
    result, heads = projected.new_empty(projected.shape), weights.shape[-1]
    told, results = parts(projected, heads), parts(result, heads)
    _differentiate(*told, lists, activated, weights, by_message, by_weights, readers, results)
    return result


def add(values: Tensor, lists: Tensor, mean: bool, readers: Tensor | None = None) -> Tensor:
    """`neighbours::add`."""
    fitting(lists, values)
    values, result = even_rows(values), values.new_empty(values.shape)
    copies, agents, width = values.shape
    slots = lists.shape[-1]
    slots_tile, columns_tile = _power(slots), min(COLUMNS, _power(width))
    rows_tile = max(1, TILE // (slots_tile * columns_tile))
    if result.numel():
        with torch.cuda.device_of(values):
            _add[(triton.cdiv(copies * agents, rows_tile), triton.cdiv(width, columns_tile))](
                values, _distance(values), lists, result, copies * agents, agents, width,
                ONE_GRAPH=len(lists) == 1, SLOTS=slots, MEAN=mean,
                ROWS_TILE=rows_tile, SLOTS_TILE=slots_tile, COLUMNS_TILE=columns_tile,
            )  # fmt: skip
    return result


def add_backward(by_result: Tensor, lists: Tensor, mean: bool, readers: Tensor | None = None) -> Tensor:
    """`neighbours::add_backward`."""
    fitting(lists, by_result)
    given, by_values = by_result.contiguous(), by_result.new_empty(by_result.shape)
    copies, agents, width = given.shape
    readers, slots = reverse_lists(lists) if readers is None else readers, lists.shape[-1]
    columns_tile = min(COLUMNS, _power(width))
    if given.numel():
        with torch.cuda.device_of(given):
            _add_backward[(copies * agents, triton.cdiv(width, columns_tile))](
                given, lists, readers, by_values, agents, width,
                ONE_GRAPH=len(lists) == 1, SLOTS=slots, MEAN=mean,
                READERS_TILE=READERS, SLOTS_TILE=_power(slots), COLUMNS_TILE=columns_tile,
            )  # fmt: skip
    return by_values


def _compute(query: Tensor, key: Tensor, value: Tensor | None, lists: Tensor, activated: bool) -> tuple[Tensor, Tensor]:
    """Message and weights; the message is empty without values."""
    fitting(lists, query, key, query if value is None else value)
    copies, agents, heads, size = query.shape
    rows, slots = copies * agents, lists.shape[-1]
    message = query.new_empty((copies, agents, heads * size) if value is not None else (0,))
    weights = query.new_empty(copies, agents, slots, heads)
    query, key, told = even_rows(query), even_rows(key), query if value is None else even_rows(value)
    slots_tile, size_tile = _power(slots), _power(size)
    rows_tile = max(1, TILE // (slots_tile * size_tile))
    if query.numel():
        with torch.cuda.device_of(query):
            _attend[(triton.cdiv(rows, rows_tile), heads)](
                query, _distance(query), key, _distance(key), told, _distance(told), lists, message, weights,
                rows, agents, heads, 1.0 / math.sqrt(size),
                ONE_GRAPH=len(lists) == 1, SLOTS=slots, SIZE=size, ACTIVATED=activated, VALUES=value is not None,
                ROWS_TILE=rows_tile, SLOTS_TILE=slots_tile, SIZE_TILE=size_tile,
            )  # fmt: skip
    return message, weights


def _differentiate(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    lists: Tensor,
    activated: bool,
    weights: Tensor,
    by_message: Tensor | None,
    by_weights: Tensor | None,
    readers: Tensor | None,
    results: tuple[Tensor, Tensor, Tensor | None],
) -> None:
    """Write the gradients of `_compute` with respect to query, key and value into `results`."""
    fitting(lists, query, key, query if value is None else value)
    readers = reverse_lists(lists) if readers is None else readers
    copies, agents, heads, size = query.shape
    rows, slots = copies * agents, lists.shape[-1]
    if not query.numel():
        return
    by_query, by_key, by_value = results[0], results[1], results[1] if results[2] is None else results[2]
    query, key, told = even_rows(query), even_rows(key), query if value is None else even_rows(value)
    given = query if by_message is None else by_message.contiguous()
    change = query if by_weights is None else by_weights.contiguous()
    slopes = torch.empty_like(weights)
    slots_tile, size_tile, columns_tile = _power(slots), _power(size), min(COLUMNS, _power(heads * size))
    rows_tile = max(1, TILE // (slots_tile * size_tile))
    read = (query, _distance(query), key, _distance(key), told, _distance(told))
    common = {"ONE_GRAPH": len(lists) == 1, "SLOTS": slots, "SIZE": size, "ACTIVATED": activated}
    common["MESSAGE"] = by_message is not None and value is not None
    with torch.cuda.device_of(query):
        _attend_backward_receivers[(triton.cdiv(rows, rows_tile), heads)](
            *read, lists, weights, given, change, by_query, _distance(by_query), slopes,
            rows, agents, heads, 1.0 / math.sqrt(size), **common, WEIGHTS=by_weights is not None,
            ROWS_TILE=rows_tile, SLOTS_TILE=slots_tile, SIZE_TILE=size_tile,
        )  # fmt: skip
        _attend_backward_senders[(rows, triton.cdiv(heads * size, columns_tile))](
            *read, readers, weights, slopes, given, by_key, _distance(by_key), by_value, _distance(by_value),
            agents, heads, **common, VALUES=value is not None,
            READERS_TILE=READERS, COLUMNS_TILE=columns_tile,
        )  # fmt: skip


def _power(number: int) -> int:
    """The next power of two, as required for block sizes."""
    return triton.next_power_of_2(max(number, 1))


def _distance(part: Tensor) -> int:
    """Distance between consecutive rows, each of which is one agent of one copy."""
    return part.stride(1) if part.shape[1] > 1 else part.stride(0)
