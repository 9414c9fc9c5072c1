"""What holds for all tests: which of them are skipped, the order in which they begin, and that none of them is a race.

No test fails because a machine is slow: none asserts seconds, examples of hypothesis have no deadline, and the limits
on waiting (pyproject.toml, `tests.patience`) are there to end what hangs.

Where a folder `shared/data` lies beside the project, it is the data folder of the tests (tests/beside.py), unless
IPB_DATA names another.

Where there is no GPU, Triton's interpreter runs kernels for one; it has to be asked for before Triton is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests import SHAPE_CHECKS

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
if BESIDE.is_dir():
    os.environ.setdefault("IPB_DATA", str(BESIDE))

settings.register_profile(
    "unhurried",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def _tasks_of_this_test() -> Iterator[None]:
    """Tasks that a test registers or locates are forgotten at its end."""
    from envs.foreign.names import FOUND
    from envs.mpe.scenarios import SCENARIOS
    from envs.traffic_names import CONFIGURED  # here, after the shape checks are set up

    registries: list[dict[str, Any]] = [SCENARIOS, CONFIGURED, FOUND]
    before = [dict(registry) for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry.clear()
        registry.update(entries)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """The option of pytest-benchmark in pyproject.toml, where a bare GPU node lacks the plugin."""
    if not pluginmanager.hasplugin("benchmark"):
        parser.addoption("--benchmark-disable", action="store_true", help="pytest-benchmark is not installed")


def pytest_report_header() -> str:
    """Whether shape annotations are executed."""
    return _shape_checks()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The same at the end where they are not, as `-q` has no header."""
    if not SHAPE_CHECKS:
        terminalreporter.write_line(_shape_checks())


def _shape_checks() -> str:
    return f"shape annotations: {'executed' if SHAPE_CHECKS else 'not executed, as beartype is not installed'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests whose files are not beside the project are skipped. Tests on a cluster wait most of their time: they come
    first, so that others run beside them."""
    for item in items:
        missing = [reason for mark in item.iter_markers("beside") for reason in mark.args if reason]
        if missing:
            item.add_marker(pytest.mark.skip(reason="; ".join(missing)), append=False)
    items.sort(key=lambda item: item.path.name != "test_sweep_on_slurm.py")
