"""Compiles the kernels of `slot_triton` for an H100, which need not be there, as its operators launch them.

    python -m tests.algorithms.compile_for_gpu AGENTS,GRAPHS,HEADS,SIZE ...

Prints a line for each launch: the sizes, the kernel, and its instructions that add in no fixed order. The last of all
sizes is that of a kernel which has some, to show that they are found.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from algorithms.common import slot_triton, slots

H100 = GPUTarget("cuda", 90, 32)


@triton.jit
def counted(total, numbers, SIZE: tl.constexpr):
    place = tl.arange(0, SIZE)
    tl.atomic_add(total + place % 2, tl.load(numbers + place))


def assembly(kernel: Any, arguments: dict[str, Any]) -> str:
    """PTX of a kernel for the types of such arguments; like its launcher it takes numbers that are 1 for constants."""
    types, constants = {}, {}
    for name in kernel.arg_names:
        value = arguments[name]
        if isinstance(value, torch.Tensor):
            types[name] = "*i32" if value.dtype == torch.int32 else "*fp32"
        elif name.isupper() or value == 1:
            types[name], constants[name] = "constexpr", value
        else:
            types[name] = "fp32" if isinstance(value, float) else "i32"
    source = ASTSource(fn=kernel, signature=types, constexprs=constants)
    return triton.compile(source, target=H100).asm["ptx"]


def launch(kernel: Any, *positional: Any, grid: Any, warmup: bool, **named: Any) -> None:
    """In place of `JITFunction.run`."""
    text = assembly(kernel, dict(zip(kernel.arg_names, positional, strict=False)) | named)
    assert ".visible .entry" in text
    print(case, kernel.fn.__name__, len(re.findall(r"\b(?:atom|red)\.", text)))


case = ""
"""The sizes that are being compiled for."""


def compile_for(agents: int, graphs: int, heads: int, size: int) -> None:
    """Launch everything once."""
    lists = torch.zeros(graphs, agents, 3, dtype=torch.int32)
    projected = torch.zeros(2, agents, 3 * heads * size)
    query, key, value = slots.parts(projected, heads)
    message, weights = slot_triton.attend(query, key, value, lists)
    slot_triton.attend_within(projected, lists, heads, True)
    slot_triton.attend(query, key, None, lists)
    slot_triton.attend_backward(query, key, value, lists, weights, message, weights)
    slot_triton.attend_backward(query, key, None, lists, weights, None, weights)
    slot_triton.attend_within_backward(projected, lists, True, weights, message, None)
    for mean in (True, False):
        slot_triton.add_backward(slot_triton.add(projected, lists, mean), lists, mean)
    counted[(1,)](torch.zeros(2), torch.zeros(64), SIZE=64)


if __name__ == "__main__":
    triton.runtime.JITFunction.run = launch
    for case in sys.argv[1:]:
        compile_for(*map(int, case.split(",")))
