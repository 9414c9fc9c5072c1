"""What jobs know about the machine that submitted them."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs.data_folder import EARLIER, VARIABLE
from slurm.launcher import surroundings


def test_jobs_find_code_and_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the folder is named relative to here, as jobs begin elsewhere."""
    code = f"export PYTHONPATH='{tmp_path / 'my code'}'"
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(EARLIER, raising=False)
    assert surroundings(tmp_path / "my code") == [code]
    monkeypatch.chdir(tmp_path)
    for name in (VARIABLE, EARLIER):
        with monkeypatch.context() as patch:
            patch.setenv(name, "data")
            assert surroundings(tmp_path / "my code") == [code, f"export {VARIABLE}={tmp_path / 'data'}"]
