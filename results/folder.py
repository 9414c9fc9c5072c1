"""The folder of one run, opened for writing: its lock, and the check that it belongs to the requested settings.

Its files are described in `results.layout`.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results import layout
from results.errors import UserError
from results.files import AppendLog, readable_os_errors, remove_partial, write_json
from results.forms import read_config, read_machine, read_status
from results.identity import changed_files, digest_of, identity_of
from results.keys import RunKey
from results.layout import AGAIN, LOST_CONFIG, LOST_STATUS, WITHOUT_IT, lost_config, lost_status, run_folder
from results.lock import RunLock


def status_of(folder: Path) -> dict[str, Any]:
    """The status record of a run folder; state `absent` where there is none. Raises ResultsError for a damaged one."""
    file = folder / layout.STATUS
    return read_status(file, WITHOUT_IT) if file.exists() else {"state": "absent", "step": 0, "wall_seconds": 0.0}


def is_finished(folder: Path, total_steps: int) -> bool:
    """Whether a folder has a finished run of at least `total_steps` environment steps."""
    status = status_of(folder)
    return status["state"] == "finished" and status.get("total_steps", total_steps) >= total_steps


class RunFolder:
    """Open folder of a run, locked against a second writer."""

    def __init__(self, results: Path, record: Mapping[str, Any]) -> None:
        """`record`: the settings of the run as given by `RunConfig.record`, the contents of config.json.

        Raises InUseError where another process has locked the folder, and UserError where it was made with other
        settings.
        """
        self.record, self.key = record, RunKey.of(record)
        self.path = run_folder(results, self.key)
        self.grown_from: int | None = None
        """Previous length of a run that is extended to more steps."""
        with readable_os_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock = RunLock(self.path)
            try:
                remove_partial(self.path)
                self._check_or_write_config()
            except BaseException:
                self.lock.release()
                raise
        self.metrics, self.evaluation, self.timing, self.interpretation = (
            AppendLog(self.path / name) for name in layout.LOGS
        )
        self.checkpoint = self.path / layout.CHECKPOINT
        self.policy = self.path / layout.POLICY
        self.full_evaluation = self.path / layout.FULL_EVALUATION

    @property
    def logs(self) -> dict[str, AppendLog]:
        """All logs by their names in checkpoints."""
        return {log.path.stem: log for log in (self.metrics, self.evaluation, self.timing, self.interpretation)}

    def _check_or_write_config(self) -> None:
        if lost_config(self.path):
            raise UserError(f"{self.path}: {LOST_CONFIG}")
        if lost_status(self.path):
            raise UserError(f"{self.path}: {LOST_STATUS}")
        file = self.path / layout.CONFIG
        if not file.exists():
            self._write_config()
            return
        record = read_config(file, AGAIN)
        found, wanted = identity_of(record), identity_of(self.record)
        if found == wanted:
            return
        if files := changed_files(found, wanted):
            before, now = (settings["environment"].get("map") for settings in (record, self.record))
            raise UserError(
                f"{self.path} was made with other files of {self.key.task}: {files} (configuration then {before}, "
                f"now {now}); restore the files, use --variant NAME or another --results folder, or delete that folder"
            )
        if found | {"total_steps": wanted["total_steps"]} == wanted and found["total_steps"] < wanted["total_steps"]:
            self._grow(found["total_steps"])
            return
        different = sorted(_differences(found, wanted))
        raise UserError(
            f"{self.path} was made with other settings ({'; '.join(different[:4])}): "
            "use --variant NAME or another --results folder, or delete that folder"
        )

    def _write_config(self) -> None:
        write_json(self.path / layout.CONFIG, {**self.record, "config_hash": digest_of(self.record)})

    def _grow(self, earlier: int) -> None:
        """Extend the run, which continues from its last checkpoint. Raises UserError where there is no checkpoint."""
        if not (self.path / layout.CHECKPOINT).exists():
            raise UserError(
                f"{self.path} has a run of {earlier} steps without a checkpoint, from which "
                f"{self.record['total_steps']} steps could go on: runs made with --keep-checkpoint can be given more; "
                "use --variant NAME or another --results folder, or delete that folder"
            )
        status = status_of(self.path)
        self.write_status("running", status["step"], status["wall_seconds"], scores=status.get("scores"))
        self._write_config()
        self.grown_from = earlier

    def write_status(
        self,
        state: str,
        step: int,
        wall_seconds: float,
        message: str = "",
        scores: Mapping[str, float] | None = None,
    ) -> None:
        """Replace status.json; `scores` are mean returns of the last evaluation by policy."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        record = {
            "state": state,
            "step": step,
            "total_steps": self.record["total_steps"],
            "wall_seconds": round(wall_seconds, 3),
            "message": message,
            "scores": dict(scores or {}),
            "updated": now,
        }
        with readable_os_errors(self.path):
            write_json(self.path / layout.STATUS, record)

    def mark_failed(self, message: str) -> None:
        """Record that the run failed; its last checkpoint stays. Errors of this write on a full disk are ignored, since
        the caller raises the error behind `message`."""
        with contextlib.suppress(UserError):
            status = status_of(self.path)
            self.write_status("failed", status["step"], status["wall_seconds"], message, status.get("scores"))

    def record_start(self, facts: Mapping[str, Any]) -> None:
        """Add the machine and code of this start to machine.json."""
        file = self.path / layout.MACHINE
        record = read_machine(file, WITHOUT_IT) if file.exists() else dict(facts)
        with readable_os_errors(self.path):
            write_json(file, record | {"starts": [*record.get("starts", []), dict(facts)]})

    def close(self) -> None:
        """Release the lock."""
        self.lock.release()


def _differences(found: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    rows: list[str] = []
    for key in found.keys() | wanted.keys():
        before, now = found.get(key), wanted.get(key)
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            rows += _differences(before, now, f"{prefix}{key}.")
        else:
            rows.append(f"{prefix}{key} was {before}, now {now}")
    return rows
