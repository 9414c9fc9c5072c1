"""Checkpoint files: what cannot be read is not called damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from results.checkpoints import load_checkpoint, save_checkpoint
from results.errors import UserError


def test_a_damaged_file_is_named_with_advice(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", {"weights": torch.ones(3)})
    (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:100])
    with pytest.raises(UserError, match=r"b\.pt is damaged \(.*\); delete it"):
        load_checkpoint(tmp_path / "b.pt", "cpu", "delete it")


def test_a_file_that_is_not_there_is_not_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*none\.pt: No such file or directory$"):
        load_checkpoint(tmp_path / "none.pt", "cpu", "delete it")


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), OSError(12, "memory")])
def test_too_little_memory_is_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise error

    save_checkpoint(tmp_path / "a.pt", {})
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(type(error)):
        load_checkpoint(tmp_path / "a.pt", "cpu", "delete it")
