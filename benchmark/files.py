"""Files that survive: atomic replacement, append-only logs with verified lengths, checkpoints."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from benchmark.errors import FULL, NoSpaceError, UserError


@contextlib.contextmanager
def readable_os_errors(path: Path, advice: str = "") -> Iterator[None]:
    """Turn a full disk, a read-only folder and the like into a UserError that says what to do."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full: free some space",
            errno.EDQUOT: "the disk quota is used up: free some space",
            errno.EROFS: "the file system is read-only: choose another --results folder",
            errno.EACCES: "permission denied: choose a --results folder you can write to",
            errno.EPERM: "permission denied: choose a --results folder you can write to",
            errno.ENOTDIR: "a part of this path is a file, not a folder: choose another --results folder",
            errno.EEXIST: "a file is in the way: choose another --results folder",
            errno.EISDIR: "a folder is in the way: remove it",
        }
        reason = reasons.get(error.errno or 0)
        if reason is None:
            reason = f"{error.strerror or error}"
        kind = NoSpaceError if error.errno in FULL else UserError
        raise kind(f"cannot write {path}: {reason}{advice}") from error


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file under a temporary name, flush it to the disk and rename it: readers see the old or the new whole."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a readable JSON file atomically."""
    text = json.dumps(record, indent=2, default=str) + "\n"
    write_atomically(path, lambda stream: _write_all(stream, text.encode()))


def _write_all(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file; a damaged one is a UserError."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; delete its folder to make the run again") from error
    if not isinstance(record, dict):
        raise UserError(f"cannot read {path}: expected a JSON object; delete its folder to make the run again")
    return record


class AppendLog:
    """An append-only file of JSON lines whose written part is known by length and digest.

    A checkpoint stores `position()`; a resumed run calls `rewind` with it, which drops what was written after the
    checkpoint and refuses a file whose kept part has changed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.length = 0
        self.digest = hashlib.sha256()

    def append(self, record: dict[str, Any]) -> None:
        """Add one line and hand it to the operating system."""
        line = (json.dumps(record, separators=(",", ":")) + "\n").encode()
        with readable_os_errors(self.path, "; then run the same command again"), self.path.open("ab") as stream:
            stream.write(line)
        self.length += len(line)
        self.digest.update(line)

    def sync(self) -> None:
        """Flush to the disk what has been appended."""
        if self.path.exists():
            with readable_os_errors(self.path), self.path.open("ab") as stream:
                os.fsync(stream.fileno())

    def position(self) -> dict[str, Any]:
        """Length in bytes and digest of all that has been appended."""
        return {"length": self.length, "sha256": self.digest.hexdigest()}

    def rewind(self, position: dict[str, Any]) -> None:
        """Cut the file back to `position`. Raises UserError where the part to keep is missing or has changed."""
        length = position["length"]
        content = self.path.read_bytes() if self.path.exists() else b""
        kept = content[:length]
        if len(kept) < length or hashlib.sha256(kept).hexdigest() != position["sha256"]:
            raise UserError(
                f"{self.path} is damaged: its first {length} bytes are not what the checkpoint recorded; "
                f"restore the file, or delete {self.path.parent} to make the run again"
            )
        if len(content) > length:
            with readable_os_errors(self.path), self.path.open("r+b") as stream:
                stream.truncate(length)
        self.length, self.digest = length, hashlib.sha256(kept)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain values atomically; a failed write leaves the old one."""
    import torch  # here, so that looking at run folders is quick

    advice = "; the last checkpoint is intact: run the same command again to go on from it"
    with readable_os_errors(path, advice):
        try:
            write_atomically(path, lambda stream: torch.save(state, stream))
        except RuntimeError as error:
            # After a failed write torch closes its zip stream, which fails too: the first failure is the one to report.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


# What torch.load has been seen to raise for files cut short, overwritten or made by something else.
_DAMAGE = (
    OSError,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


def load_checkpoint(path: Path, device: str, advice: str = "restore it or make it again") -> dict[str, Any]:
    """Read a checkpoint. Raises UserError, with `advice`, where the file is damaged."""
    import torch

    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except _DAMAGE as error:
        detail = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged ({detail}); {advice}") from error
    if not isinstance(state, dict):
        raise UserError(f"{path} is not a checkpoint; {advice}")
    return state
