"""Arrays as bare pointers, for compiled code that passes many of them around.

In compiled code a numpy array consists of seven machine words and a reference count. A step of the traffic engine works
on some thirty arrays in dozens of small functions, and copying those words took nine tenths of its time. A pointer is
one word, the address of the first element. Elements are read and written by index, without bounds checks; records are
read as references, so that `vehicles[v].speed = 3.0` works.

Python passes a tuple of arrays as one array of addresses (`addresses`), which compiled code converts to pointers
(`pointer_to`). The arrays must outlive the call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model


def addresses(*groups: Iterable[np.ndarray | int]) -> np.ndarray:
    """Addresses of the arrays in the given tuples, in order, (part,) int64; integers are passed through.

    Raises ValueError for an array that is not contiguous.
    """
    result = []
    for group in groups:
        for part in group:
            if isinstance(part, np.ndarray):
                if not part.flags.c_contiguous:
                    raise ValueError("only contiguous arrays can be handed over by their address")
                result.append(part.ctypes.data)
            else:
                result.append(int(part))
    return np.array(result, dtype=np.int64)


def pointer_to(dtype: Any) -> Callable[[int], Any]:
    """A function for compiled code that converts an address to a pointer to elements of type `dtype`."""
    pointer_type = _PointerType(from_dtype(np.dtype(dtype)))

    @intrinsic
    def at(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

        return pointer_type(types.int64), generate

    return at  # type: ignore[return-value]


class _PointerType(types.Type):
    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(name=f"Pointer({dtype})")


@register_model(_PointerType)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, manager: Any, pointer_type: _PointerType) -> None:
        super().__init__(manager, pointer_type, ir.IntType(8).as_pointer())


def _element(context: Any, builder: Any, pointer_type: _PointerType, pointer: Any, index: Any) -> Any:
    """The address of an element."""
    data = context.get_data_type(pointer_type.dtype).as_pointer()
    return builder.gep(builder.bitcast(pointer, data), [index])


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        pointer, index = args
        if isinstance(pointer, _PointerType) and isinstance(index, types.Integer):
            return signature(pointer.dtype, pointer, types.intp)
        return None


@lower_builtin(operator.getitem, _PointerType, types.intp)
def _lower_getitem(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    place = _element(context, builder, sig.args[0], *args)
    return context.unpack_value(builder, sig.args[0].dtype, place)


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        pointer, index, _ = args
        if isinstance(pointer, _PointerType) and isinstance(index, types.Integer):
            return signature(types.none, pointer, types.intp, pointer.dtype)
        return None


@lower_builtin(operator.setitem, _PointerType, types.intp, types.Any)
def _lower_setitem(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    pointer_type, value = sig.args[0], args[2]
    place = _element(context, builder, pointer_type, args[0], args[1])
    if isinstance(pointer_type.dtype, types.Record):
        size = context.get_constant(types.intp, pointer_type.dtype.size)
        cgutils.raw_memcpy(builder, place, value, size, 1)
    else:
        context.pack_value(builder, pointer_type.dtype, value, place)
    return context.get_dummy_value()


@intrinsic
def _prefetch(typing_context: Any, pointer: Any, index: Any, offset: Any) -> Any:

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = builder.bitcast(_element(context, builder, sig.args[0], args[0], args[1]), ir.IntType(8).as_pointer())
        place = builder.gep(place, [args[2]])
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, word, word, word])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(fetch, [place, word(0), word(3), word(1)])  # for reading, to be kept, data
        return context.get_dummy_value()

    if not isinstance(pointer, _PointerType):
        return None
    return types.none(pointer, types.intp, types.intp), generate


prefetch: Any = _prefetch
"""`prefetch(pointer, index, offset)` starts loading the memory `offset` bytes after the start of an element into the
cache, without waiting. Nothing is read, so the index may be any number."""
