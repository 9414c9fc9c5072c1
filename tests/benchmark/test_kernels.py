"""`training.kernels`: what it needs, and what it means for a run's identity."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from benchmark import kernels, train
from benchmark.config import RunConfig, resolve
from benchmark.errors import UserError
from benchmark.plan import PlannedRun, refuse_what_cannot_run
from benchmark.requests import RunRequest
from results.keys import RunKey
from tests.benchmark.conftest import SMALL


def config(device: str = "cpu", **overrides: Any) -> RunConfig:
    return resolve("mpe/cooperative_navigation_3", "ip", 0, 900, SMALL | overrides, "kernels", device)


FUSED = {"training.kernels": "fused"}


def test_runs_without_them_are_what_they_were() -> None:
    """The default adds nothing to what makes two runs the same; fused kernels make another run."""
    assert "kernels" not in config().identity()["training"]
    assert config(**{"training.kernels": "reference"}).digest() == config().digest()
    assert config(**FUSED).identity()["training"]["kernels"] == "fused"
    assert config(**FUSED).digest() != config().digest()


def test_unknown_kernels_are_refused() -> None:
    with pytest.raises(UserError, match="expected one of reference, fused"):
        config(**{"training.kernels": "triton"})
    with pytest.raises(ValueError, match="expected one of reference, fused"):
        kernels.require("triton", "cpu")


def test_a_cpu_refuses_fused_kernels(tmp_path: Path) -> None:
    """With a one-line error that says what to do, before anything is written; also in a plan."""
    with pytest.raises(UserError, match=r"needs a CUDA device, but the run is on cpu.*kernels=reference") as error:
        train.run(config(**FUSED), tmp_path, quiet=True)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
    request = RunRequest(RunKey("mpe/cooperative_navigation_3", "ip", "kernels", 0), 900, {})
    planned = PlannedRun(request, config(**FUSED), "missing")
    refuse_what_cannot_run([planned])
    assert planned.state == "refused"
    assert "kernels=fused" in planned.reason


def test_missing_triton_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels.require("reference", "cpu")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package triton"):
        kernels.require("fused", "cuda:0")
