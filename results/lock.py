"""Exclusive write access to a run folder, for processes on one machine or on several that share a file system.

The file `lock` is locked while its holder is alive and names the holder; its time stamp is renewed every few seconds.
On one machine the lock is sufficient. Where a shared file system does not propagate locks between machines, the time
stamp shows whether a holder elsewhere is alive. A holder with an old time stamp counts as dead after its file has not
changed for a while, because the clocks of machines differ.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import secrets
import threading
import time
from pathlib import Path
from typing import NamedTuple, TextIO

from results.errors import InUseError
from results.layout import LOCK

HEARTBEAT_SECONDS = 15.0
"""Seconds between renewals of the time stamp."""
STALE_SECONDS = 120.0
"""Seconds of silence after which a holder counts as dead: longer than a shared file system hides changes."""
WATCH_SECONDS = 40.0
"""Seconds for which the file of an apparently dead holder on another machine is watched for changes."""
SETTLE_SECONDS = 2.0
"""Seconds to wait for a competing process after taking over from a holder on another machine."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Error numbers of file systems without locks."""


class Holder(NamedTuple):
    """The current or previous holder of a folder's lock."""

    host: str
    pid: int
    job: str
    """Number of the scheduler's job; empty without one."""
    token: str
    """Random token of this acquisition of the lock."""
    age: float
    """Seconds since its last sign of life; negative where a clock is ahead of this one."""

    @property
    def alive(self) -> bool:
        """Whether the holder is alive, as far as this machine can tell.

        A time stamp far in the future counts as old: a process that takes over watches it for changes first. After a
        long silence a process with the holder's number may be another one, since numbers are reused. A holder on
        another machine with the number of this job is gone, since the scheduler has moved the job."""
        if abs(self.age) >= STALE_SECONDS:
            return False
        if self.host == platform.node():
            return _process_exists(self.pid)
        return not self.job or self.job != _job()

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        when = f"{self.age:.0f} s ago" if self.age > -1 else f"{-self.age:.0f} s ahead of this clock"
        return f"process {self.pid} on {self.host}{job}, last sign of life {when}"


def holder_of(folder: Path) -> Holder | None:
    """The holder of a folder's lock, including one that ended without releasing it; None where the lock is free."""
    file = folder / LOCK
    try:
        record = json.loads(file.read_bytes())
        host, job, token = (str(record[name]) for name in ("host", "job", "token"))
        return Holder(host, int(record["pid"]), job, token, time.time() - file.stat().st_mtime)
    except (OSError, ValueError, LookupError, TypeError):  # released, or damaged: no process writes such a file
        return None


class RunLock:
    """The lock of one folder, held from construction until `release`.

    Raises InUseError where another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.token = folder, secrets.token_hex(8)
        self.lost = False
        """Whether another process has taken the lock since, after a long silence of this process."""
        self._stream = self._take()
        self._ended = threading.Event()
        self._pulse = threading.Thread(target=self._beat, name="lock", daemon=True)
        self._pulse.start()

    def release(self) -> None:
        """Release the lock."""
        self._ended.set()
        self._pulse.join()
        with contextlib.suppress(OSError):
            if not self._taken_over():
                self._stream.truncate(0)
        self._stream.close()

    def _take(self) -> TextIO:
        stream = (self.folder / LOCK).open("a+")
        try:
            self._lock_file(stream)
            before = holder_of(self.folder)
            if before is not None and before.host != platform.node():
                self._outlast(before)
            stream.truncate(0)
            record = {"host": platform.node(), "pid": os.getpid(), "job": _job(), "token": self.token}
            stream.write(json.dumps(record) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
            if before is not None and before.host != platform.node():
                time.sleep(SETTLE_SECONDS)
                after = holder_of(self.folder)
                if after is not None and after.token != self.token:
                    raise self._in_use(after)
        except BaseException:
            stream.close()
            raise
        return stream

    def _outlast(self, holder: Holder) -> None:
        """Return once a holder on another machine is known to be dead. Raises InUseError where it is alive."""
        if holder.alive:
            raise self._in_use(holder)
        stamp = self._stamp()
        deadline = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < deadline:
            time.sleep(min(1.0, WATCH_SECONDS / 10))
            if self._stamp() != stamp:
                raise self._in_use(holder_of(self.folder) or holder)

    def _stamp(self) -> float:
        """Time of the last sign of life, by the clock of the file system; opening the file makes a shared file system
        refresh it."""
        with (self.folder / LOCK).open() as stream:
            return os.fstat(stream.fileno()).st_mtime

    def _lock_file(self, stream: TextIO) -> None:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise self._in_use(holder_of(self.folder)) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise

    def _in_use(self, holder: Holder | None) -> InUseError:
        who = f" ({holder})" if holder is not None else ""
        return InUseError(f"{self.folder} is in use by another process{who}: wait for it, or stop it first")

    def _beat(self) -> None:
        """Give signs of life until the end, or until the lock is lost."""
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a full or vanished disk is reported where results are written
                if self._taken_over():
                    self.lost = True
                    return
                os.utime(self.folder / LOCK)

    def _taken_over(self) -> bool:
        holder = holder_of(self.folder)
        return holder is not None and holder.token != self.token


def _job() -> str:
    """The scheduler's number of this job; empty outside a job."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def _process_exists(pid: int) -> bool:
    if pid <= 0:  # to `kill` these numbers mean a group of processes
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
