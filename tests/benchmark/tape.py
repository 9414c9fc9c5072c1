"""A stand-in for CUDA graphs on a CPU, true to what they hold: operations, with the memory and the plain numbers that
they were recorded with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique_dim")
"""Operations that tell the host what a tensor holds, which would wait for a GPU."""


class Tape(TorchDispatchMode):
    """Records the operations made inside; `play` repeats them on the same tensors and with the same numbers.

    Random numbers are drawn again, as from generators that are registered with a CUDA graph. An operation that gives a
    new tensor writes, when it is played, to the memory of the tensor that it gave when it was recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[Tensor]]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        """Memory that recording changed, and a copy of what was in it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, schema = func._schema.name.split("::")[1], func._schema
        assert name not in READS, f"{name} waits for the device"
        for place, argument in enumerate(schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self._keep(kwargs.get(argument.name) if argument.name in kwargs else args[place])
        made = func(*args, **kwargs)
        aliases = [returned.alias_info for returned in schema.returns]
        is_view = bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)
        if not is_view and not name.startswith(("empty", "new_empty")):
            self.operations.append((func, args, kwargs, _tensors(made)))
        return made

    def _keep(self, written: Any) -> None:
        for tensor in _tensors(written):
            whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
            self.before.setdefault(whole.data_ptr(), (whole, whole.clone()))

    def undo(self) -> None:
        """Put back what recording has changed: a capture does nothing."""
        for whole, content in self.before.values():
            whole.copy_(content)

    @torch.no_grad()
    def play(self) -> None:
        """Make all operations again."""
        for func, args, kwargs, held in self.operations:
            for tensor, made in zip(held, _tensors(func(*args, **kwargs)), strict=True):
                if made.data_ptr() != tensor.data_ptr():
                    tensor.copy_(made)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def capture(function: Callable[[], Any], generators: Sequence[torch.Generator], device: torch.device) -> Any:
    """As `benchmark.acceleration.capture`, with a tape for a graph. Draws from other generators are not allowed."""
    drawn = [generator.get_state() for generator in generators]
    default = torch.get_rng_state()
    tape = Tape()
    with tape:
        made = function()
    known = {generator._cdata for generator in generators}
    for func, args, kwargs, _ in tape.operations:
        used = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Generator)]
        assert all(generator._cdata in known for generator in used), (
            f"{func} draws from a generator that is not registered"
        )
    assert torch.equal(torch.get_rng_state(), default), "something draws from the default generator"
    tape.undo()
    for generator, state in zip(generators, drawn, strict=True):
        generator.set_state(state)
    return tape.play, made
