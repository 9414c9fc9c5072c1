"""What holds for all tests: the order in which they begin."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on a cluster wait most of their time: they come first, so that others run beside them."""
    items.sort(key=lambda item: item.path.name != "test_sweep_on_slurm.py")
