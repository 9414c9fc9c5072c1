"""The tests mirror the tree.

`check` executes the shape annotations of the code under test (see pyproject.toml); an int passes for a float, as
everywhere in Python. Without beartype, as on a bare GPU node, annotations are left alone; pytest's header says so.
"""

from __future__ import annotations

from typing import Any

import pytest

try:
    from beartype import BeartypeConf, beartype
except ModuleNotFoundError:
    SHAPE_CHECKS = False

    def check(function: Any) -> Any:
        """The function as it is."""
        return function

else:
    SHAPE_CHECKS = True
    check = beartype(conf=BeartypeConf(is_pep484_tower=True))

needs_shape_checks = pytest.mark.skipif(not SHAPE_CHECKS, reason="beartype is not installed")
