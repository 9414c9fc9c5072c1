"""What would make the host wait for a GPU, or add numbers in no fixed order there, found without one.

Code runs on torch's `meta` device in place of a GPU. Tensors there have no values, so that a read is seen at once, and
a dispatch mode sees every operation, those of the backward pass included.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).resolve().parents[1]

READ, FETCHED, SENT, UNORDERED = "read", "fetched", "sent", "unordered"
"""Kinds of findings: the size or path of what follows hangs on a value of the device; a copy to the host; a copy to the
device, which waits unless it comes from page-locked memory and may be late; sums of floats in any order."""

READS = frozenset(
    {
        *("_local_scalar_dense", "is_nonzero", "equal", "allclose"),
        *("nonzero", "nonzero_static", "masked_select", "repeat_interleave"),
        *("_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount", "histc"),
    }
)
SCATTERS = frozenset({"scatter_add", "scatter_add_", "scatter_reduce", "scatter_reduce_"})
INDEX_SUMS = frozenset({"index_add", "index_add_", "index_reduce", "index_reduce_", "embedding_dense_backward"})
INDEXED = frozenset({"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"})
LOOKED_AT = READS | SCATTERS | INDEX_SUMS | INDEXED


class Finding(NamedTuple):
    """What was found and where."""

    kind: str
    operation: str
    place: str
    """File and function of this project that called the operation; in the backward pass, the node of autograd."""


class Waits(TorchDispatchMode):
    """Counts findings, and goes on after each of them as if the device held zeros."""

    def __init__(self, device: str = "meta") -> None:
        super().__init__()
        self.device = device
        self.found: Counter[Finding] = Counter()
        self._creations = _Creations(self)

    def __enter__(self) -> Waits:
        self._creations.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._creations.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.partition("::")[2]
        if name in ("copy_", "_to_copy"):
            moved = self._moved(name, args, kwargs)
            if moved is not None:
                return moved
        elif name in LOOKED_AT and self._is_here(args[0]):
            if name in INDEXED and any(_is_mask(index) for index in args[1]):
                self._note(READ, f"{name} by a mask")
            if self._adds_in_any_order(name, args, kwargs):
                self._note(UNORDERED, name)
            if name in READS:
                self._note(READ, name)
                if name == "_local_scalar_dense":
                    return torch.zeros((), dtype=args[0].dtype).item()
        return func(*args, **kwargs)

    def _is_here(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor) and tensor.device.type == self.device

    def _adds_in_any_order(self, name: str, args: Any, kwargs: Any) -> bool:
        """Whether floats may be added at one place in an order that a GPU does not fix. Along an axis on which there is
        one index, each place receives one number at most."""
        if not args[0].is_floating_point():
            return False
        if name in SCATTERS:
            dimension, index = args[1], args[2]
            return index.dim() > 0 and index.shape[dimension] > 1
        accumulates = name.rstrip("_").endswith(("index_put", "index_put_impl")) and (
            kwargs.get("accumulate", args[3] if len(args) > 3 else False)
        )
        return name in INDEX_SUMS or accumulates

    def _moved(self, name: str, args: Any, kwargs: Any) -> Tensor | None:
        """Note copies between host and device; what a copy from the device gives, which is zeros."""
        source = args[1] if name == "copy_" else args[0]
        target = args[0].device if name == "copy_" else torch.device(kwargs.get("device") or source.device)
        if self._is_here(source) and target.type == "cpu":
            self._note(FETCHED, name)
            if name == "copy_":
                return args[0].zero_()
            return torch.zeros(source.shape, dtype=kwargs.get("dtype") or source.dtype)
        if not self._is_here(source) and target.type == self.device:
            late = kwargs.get("non_blocking", name == "copy_" and len(args) > 2 and args[2])
            self._note(SENT, "asynchronous copy" if late else name)
        return None

    def note_creation(self, made: Any, function: Any) -> None:
        """A tensor of numbers that were on the host."""
        if isinstance(made, Tensor) and self._is_here(made):
            self._note(SENT, function.__name__)

    def _note(self, kind: str, operation: str) -> None:
        self.found[Finding(kind, operation, _place())] += 1


class _Creations(TorchFunctionMode):
    """Sees tensors that are made of Python's numbers, which are no operation on `meta`."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor):
            self.waits.note_creation(made, func)
        return made


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


def _place() -> str:
    node = torch._C._current_autograd_node()
    if node is not None:
        return f"backward of {node.name()}"
    frame = sys._getframe(1)
    while frame.f_back is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path != Path(__file__) and "site-packages" not in path.parts:
            return f"{path.relative_to(ROOT).as_posix()}:{frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"
