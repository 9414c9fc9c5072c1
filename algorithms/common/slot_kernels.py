"""Compiled loops over neighbour lists: attention and sums, forward and backward. See `algorithms.common.slots`.

A batch is processed copy by copy and agent by agent on one thread, so that all sums have the same order, whatever the
number of threads elsewhere. Gradients that an agent receives from its neighbours are accumulated in rows that fit in
the cache.

Tensors are passed as addresses of float32 values, lists as int32 with -1 where there is no neighbour. A row is one
agent of one copy; `..._row` is the distance between consecutive rows, which may exceed the number of values read from
each. `x`, `y` and `z` are vectors of `lanes` values. Numba's cache does not notice changes in other files, so that
everything the kernels depend on is in this one.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple, no_type_check

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from envs.numba_cache import ensure_cache_folder

ensure_cache_folder(Path(__file__).parent)

_CHUNK = 16
"""Number of exponentials computed at once."""
_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


class _LanesType(types.Type):
    """A vector of float32 values in a register."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"Lanes({width})")


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: _LanesType) -> None:
        super().__init__(manager, lanes, ir.VectorType(_FLOAT, lanes.width))


def _place(builder: Any, address: Any, index: Any, kind: Any) -> Any:
    """Pointer to the element of type `kind` with index `index`."""
    return builder.gep(builder.inttoptr(address, kind.as_pointer()), [index])


@intrinsic(prefer_literal=True)
@no_type_check
def _load(typing_context, address, index, width):
    lanes = _LanesType(width.literal_value)

    def generate(context, builder, sig, args):
        vector = ir.VectorType(_FLOAT, lanes.width)
        place = builder.bitcast(_place(builder, args[0], args[1], _FLOAT), vector.as_pointer())
        return builder.load(place, align=4)

    return lanes(types.int64, types.int64, width), generate


@intrinsic
@no_type_check
def _store(typing_context, address, index, x):
    def generate(context, builder, sig, args):
        place = _place(builder, args[0], args[1], _FLOAT)
        builder.store(args[2], builder.bitcast(place, args[2].type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, x), generate


@intrinsic(prefer_literal=True)
@no_type_check
def _fill(typing_context, number, width):
    """A vector with the same number in every lane."""
    lanes = _LanesType(width.literal_value)

    def generate(context, builder, sig, args):
        return _splat(builder, args[0], lanes.width)

    return lanes(types.float32, width), generate


def _vector_function(builder: Any, name: str, vector: Any, arguments: int) -> Any:
    """An LLVM function on vectors."""
    function = ir.FunctionType(vector, [vector] * arguments)
    return cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.v{vector.count}f32")


def _splat(builder: Any, number: Any, width: int) -> Any:
    vector = ir.VectorType(_FLOAT, width)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(_INT32, 0))
    zeros = ir.Constant(ir.VectorType(_INT32, width), [0] * width)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


@intrinsic
@no_type_check
def _multiply_add(typing_context, x, y, z):
    """x * y + z, rounded once."""

    def generate(context, builder, sig, args):
        return builder.call(_vector_function(builder, "fmuladd", args[0].type, 3), args)

    return x(x, x, x), generate


@intrinsic
@no_type_check
def _at_least(typing_context, x, y):
    """The larger of x and y; x where that is NaN."""

    def generate(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[1], args[0])

    return x(x, x), generate


@intrinsic
@no_type_check
def _where_above(typing_context, x, y, z):
    """x where y is above z, otherwise zero."""

    def generate(context, builder, sig, args):
        zero = ir.Constant(args[0].type, [0.0] * args[0].type.count)
        return builder.select(builder.fcmp_ordered(">", args[1], args[2]), args[0], zero)

    return x(x, x, x), generate


@intrinsic
@no_type_check
def _total(typing_context, x):
    """Sum of the lanes, by pairwise halving."""

    def generate(context, builder, sig, args):
        part, width = args[0], args[0].type.count
        while width > 1:
            width //= 2
            undefined = ir.Constant(part.type, ir.Undefined)
            low, high = (
                builder.shuffle_vector(
                    part, undefined, ir.Constant(ir.VectorType(_INT32, width), list(range(first, first + width)))
                )
                for first in (0, width)
            )
            part = builder.fadd(low, high)
        return builder.extract_element(part, ir.Constant(_INT32, 0))

    return types.float32(x), generate


@intrinsic
@no_type_check
def _exponential(typing_context, x):
    """exp of numbers up to zero; results below the smallest normal number are replaced by about that number."""

    def generate(context, builder, sig, args):
        width = args[0].type.count
        integers = ir.VectorType(_INT32, width)

        def number(value):
            return ir.Constant(args[0].type, [float(np.float32(value))] * width)

        fma = _vector_function(builder, "fmuladd", args[0].type, 3)
        floor = _vector_function(builder, "floor", args[0].type, 1)
        low = builder.fcmp_ordered("<", args[0], number(-87.0))
        given = builder.select(low, number(-87.0), args[0])
        # exp(x) = 2^n exp(r) with r from -log(2)/2 to log(2)/2
        power = builder.call(floor, [builder.call(fma, [given, number(1.4426950408889634), number(0.5)])])
        rest = builder.call(fma, [power, number(-0.693359375), given])
        rest = builder.call(fma, [power, number(2.12194440e-4), rest])
        result = number(1.0 / 5040.0)
        for factorial in (720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0):
            result = builder.call(fma, [result, rest, number(1.0 / factorial)])
        exponent = builder.add(builder.fptosi(power, integers), ir.Constant(integers, [127] * width))
        scale = builder.bitcast(builder.shl(exponent, ir.Constant(integers, [23] * width)), args[0].type)
        return builder.fmul(result, scale)

    return x(x), generate


@intrinsic
@no_type_check
def _read(typing_context, address, index):
    def generate(context, builder, sig, args):
        return builder.load(_place(builder, args[0], args[1], _FLOAT), align=4)

    return types.float32(types.int64, types.int64), generate


@intrinsic
@no_type_check
def _write(typing_context, address, index, number):
    def generate(context, builder, sig, args):
        builder.store(args[2], _place(builder, args[0], args[1], _FLOAT), align=4)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.float32), generate


@intrinsic
@no_type_check
def _read_integer(typing_context, address, index):
    def generate(context, builder, sig, args):
        return builder.sext(builder.load(_place(builder, args[0], args[1], _INT32), align=4), _INT64)

    return types.int64(types.int64, types.int64), generate


class Kernels(NamedTuple):
    """Compiled functions for vectors of one width."""

    attend: Any
    attend_backward: Any
    add: Any
    add_backward: Any


def kernels(size: int) -> Kernels:
    """The functions for heads, or sums, of `size` features; compiled at first use, which takes seconds, and cached
    between runs."""
    return _kernels(next(lanes for lanes in (16, 8, 1) if size % lanes == 0))


@functools.cache
def _kernels(lanes: int) -> Kernels:
    return Kernels(*_attention(lanes), *_sums(lanes))


# The cache finds functions by the contents of their closures, which must therefore be plain numbers.
_compiled = njit(cache=True, nogil=True, error_model="numpy")


def _attention(lanes: int) -> tuple[Any, Any]:
    """attend: message (copy, agent, head, feature) and weights (copy, agent, slot, head); returns False where a list
    contains an invalid index. Queries, keys and values below `lowest` are raised to it. Without values (address 0)
    there is no message.

    attend_backward: gradients of query, key and value, given those of message and weights (address 0 where there are
    none).
    """

    @_compiled
    @no_type_check
    def attend(
        query, query_row, key, key_row, value, value_row, lists, graphs, copies, agents, slots, heads, size,
        lowest, message, weights,
    ):  # fmt: skip
        width = heads * size
        floor = _fill(np.float32(lowest), lanes)
        scale = np.float32(1.0 / np.sqrt(size))
        scores = np.empty(slots * heads + _CHUNK, np.float32)  # of neighbours present, heads side by side
        sender, place = np.empty(slots, np.int64), np.empty(slots, np.int64)
        for row in range(copies * agents):
            copy, agent = row // agents, row % agents
            first = ((copy if graphs > 1 else 0) * agents + agent) * slots
            count = 0
            for slot in range(slots):
                other = _read_integer(lists, first + slot)
                if other >= agents:
                    return False
                if other >= 0:
                    sender[count], place[count] = copy * agents + other, slot
                    count += 1

            for m in range(count):
                for head in range(heads):
                    x = _fill(np.float32(0), lanes)
                    for c in range(head * size, head * size + size, lanes):
                        y = _at_least(_load(query, row * query_row + c, lanes), floor)
                        z = _at_least(_load(key, sender[m] * key_row + c, lanes), floor)
                        x = _multiply_add(y, z, x)
                    scores[m * heads + head] = _total(x) * scale
            for head in range(heads):
                highest = np.float32(-np.inf)
                for m in range(count):
                    highest = max(highest, scores[m * heads + head])
                for m in range(count):
                    scores[m * heads + head] -= highest
            for c in range(0, count * heads, _CHUNK):
                _store(scores.ctypes.data, c, _exponential(_load(scores.ctypes.data, c, _CHUNK)))
            for head in range(heads):
                total = np.float32(0)
                for m in range(count):
                    total += scores[m * heads + head]
                share = np.float32(1) / total
                for m in range(count):
                    scores[m * heads + head] *= share

            given = row * slots * heads
            if count < slots:
                for c in range(slots * heads):
                    _write(weights, given + c, np.float32(0))
            for m in range(count):
                for head in range(heads):
                    _write(weights, given + place[m] * heads + head, scores[m * heads + head])
            if value != 0:
                for head in range(heads):
                    for c in range(head * size, head * size + size, lanes):
                        x = _fill(np.float32(0), lanes)
                        for m in range(count):
                            weight = _fill(scores[m * heads + head], lanes)
                            y = _at_least(_load(value, sender[m] * value_row + c, lanes), floor)
                            x = _multiply_add(weight, y, x)
                        _store(message, row * width + c, x)
        return True

    @_compiled
    @no_type_check
    def attend_backward(
        query, query_row, key, key_row, value, value_row, lists, graphs, copies, agents, slots, heads, size,
        lowest, weights, by_message, by_weights, by_query, by_query_row, by_key, by_key_row, by_value, by_value_row,
    ):  # fmt: skip
        width = heads * size
        floor = _fill(np.float32(lowest), lanes)
        scale = np.float32(1.0 / np.sqrt(size))
        slope = np.empty(slots * heads, np.float32)
        zero = _fill(np.float32(0), lanes)
        for row in range(copies * agents):
            copy, agent = row // agents, row % agents
            if agent == 0:
                for other in range(row, row + agents):
                    for c in range(0, width, lanes):
                        _store(by_key, other * by_key_row + c, zero)
                        if value != 0:
                            _store(by_value, other * by_value_row + c, zero)
            first = ((copy if graphs > 1 else 0) * agents + agent) * slots
            given = row * slots * heads
            for slot in range(slots):
                other = _read_integer(lists, first + slot)
                for head in range(heads):
                    x = zero
                    if by_message != 0 and other >= 0:
                        sender = copy * agents + other
                        weight = _fill(_read(weights, given + slot * heads + head), lanes)
                        for c in range(head * size, head * size + size, lanes):
                            y = _load(by_message, row * width + c, lanes)
                            z = _at_least(_load(value, sender * value_row + c, lanes), floor)
                            x = _multiply_add(y, z, x)
                            z = _load(by_value, sender * by_value_row + c, lanes)
                            _store(by_value, sender * by_value_row + c, _multiply_add(weight, y, z))
                    slope[slot * heads + head] = _total(x)
            if by_weights != 0:
                for c in range(slots * heads):
                    slope[c] += _read(by_weights, given + c)
            for head in range(heads):
                mean = np.float32(0)
                for c in range(head, slots * heads, heads):
                    mean += _read(weights, given + c) * slope[c]
                for c in range(head, slots * heads, heads):
                    slope[c] = (slope[c] - mean) * _read(weights, given + c) * scale

            for c in range(0, width, lanes):
                _store(by_query, row * by_query_row + c, zero)
            for slot in range(slots):
                other = _read_integer(lists, first + slot)
                if other >= 0:
                    sender = copy * agents + other
                    for head in range(heads):
                        x = _fill(slope[slot * heads + head], lanes)
                        for c in range(head * size, head * size + size, lanes):
                            y = _at_least(_load(key, sender * key_row + c, lanes), floor)
                            z = _load(by_query, row * by_query_row + c, lanes)
                            _store(by_query, row * by_query_row + c, _multiply_add(x, y, z))
                            y = _at_least(_load(query, row * query_row + c, lanes), floor)
                            z = _load(by_key, sender * by_key_row + c, lanes)
                            _store(by_key, sender * by_key_row + c, _multiply_add(x, y, z))
            if agent == agents - 1 and lowest == 0:  # complete: they pass above the bound
                for other in range(row + 1 - agents, row + 1):
                    for c in range(0, width, lanes):
                        x = _load(by_query, other * by_query_row + c, lanes)
                        x = _where_above(x, _load(query, other * query_row + c, lanes), floor)
                        _store(by_query, other * by_query_row + c, x)
                        x = _load(by_key, other * by_key_row + c, lanes)
                        x = _where_above(x, _load(key, other * key_row + c, lanes), floor)
                        _store(by_key, other * by_key_row + c, x)
                        x = _load(by_value, other * by_value_row + c, lanes)
                        x = _where_above(x, _load(value, other * value_row + c, lanes), floor)
                        _store(by_value, other * by_value_row + c, x)

    return attend, attend_backward


def _sums(lanes: int) -> tuple[Any, Any]:
    """add: sums or means of the neighbours' values (copy, agent, feature); returns False where a list contains an
    invalid index. add_backward: gradients of the values."""

    @_compiled
    @no_type_check
    def add(values, values_row, lists, graphs, copies, agents, slots, width, mean, result):
        for row in range(copies * agents):
            copy, agent = row // agents, row % agents
            first = ((copy if graphs > 1 else 0) * agents + agent) * slots
            count = 0
            for slot in range(slots):
                other = _read_integer(lists, first + slot)
                if other >= agents:
                    return False
                count += other >= 0
            share = _fill(np.float32(1) / np.float32(max(count, 1)) if mean else np.float32(1), lanes)
            for c in range(0, width, lanes):
                x = _fill(np.float32(0), lanes)
                for slot in range(slots):
                    other = _read_integer(lists, first + slot)
                    if other >= 0:
                        x = _multiply_add(share, _load(values, (copy * agents + other) * values_row + c, lanes), x)
                _store(result, row * width + c, x)
        return True

    @_compiled
    @no_type_check
    def add_backward(lists, graphs, copies, agents, slots, width, mean, by_result, by_values):
        zero = _fill(np.float32(0), lanes)
        for row in range(copies * agents):
            copy, agent = row // agents, row % agents
            if agent == 0:
                for c in range(row * width, (row + agents) * width, lanes):
                    _store(by_values, c, zero)
            first = ((copy if graphs > 1 else 0) * agents + agent) * slots
            count = 0
            for slot in range(slots):
                count += _read_integer(lists, first + slot) >= 0
            share = _fill(np.float32(1) / np.float32(max(count, 1)) if mean else np.float32(1), lanes)
            for slot in range(slots):
                other = _read_integer(lists, first + slot)
                if other >= 0:
                    for c in range(0, width, lanes):
                        there = (copy * agents + other) * width + c
                        x = _multiply_add(
                            share, _load(by_result, row * width + c, lanes), _load(by_values, there, lanes)
                        )
                        _store(by_values, there, x)

    return add, add_backward
