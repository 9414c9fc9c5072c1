"""Shape annotations such as `Float[Tensor, "env agent feature"]`.

They are documentation for readers and are executed in the tests only (jaxtyping with beartype). A machine without
jaxtyping, such as a bare GPU node, can still train: annotations are never evaluated there.

Axis words: env (parallel copies), agent, neighbour, feature, action, batch, head, entity, xy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ModuleNotFoundError:
        Bool = Float = Int = None

__all__ = ["Bool", "Float", "Int"]
