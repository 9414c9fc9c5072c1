"""Robust files: read with errors that name file and line, replaced atomically, appended to with known lengths."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from results.errors import FULL, NoSpaceError, ResultsError, UserError

PARTIAL = ".partial"
"""Suffix of the hidden names of incomplete files."""
REMEDY = "restore it or create it again"


def read_json(path: Path, remedy: str = REMEDY) -> dict[str, Any]:
    """The JSON object in `path`. Raises ResultsError, with the remedy, where it is unreadable or contains anything
    else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ResultsError(f"corrupt file {path}, line {error.lineno}: not JSON ({error.msg}); {remedy}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"cannot read {path}: {error}; {remedy}") from error
    if not isinstance(value, dict):
        raise ResultsError(f"corrupt file {path}: expected a JSON object, found a {type(value).__name__}; {remedy}")
    return value


def read_json_lines(path: Path, may_be_truncated: bool) -> tuple[list[tuple[int, dict[str, Any]]], str | None]:
    """The objects of a JSON-lines file, each with its line number (from 1), and a note on a truncated last line.

    A process killed while it writes leaves an incomplete line. It is accepted only as the last line, and only with
    `may_be_truncated`, for runs that have not finished; anywhere else it raises ResultsError with file and line. A
    missing file has no lines.
    """
    if not path.exists():
        return [], None
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error}") from error
    if lines[-1] == b"":
        lines.pop()
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line.decode("utf-8"))
        except ValueError as error:
            if may_be_truncated and number == len(lines):
                return rows, f"{path.name} ends in a truncated line ({number}), which was left out"
            hint = "is truncated, although the run finished" if number == len(lines) else "is not JSON"
            raise ResultsError(f"corrupt file {path}, line {number}: {hint}; rerun this seed") from error
        if not isinstance(row, dict):
            raise ResultsError(f"corrupt file {path}, line {number}: expected a JSON object")
        rows.append((number, row))
    return rows, None


@contextlib.contextmanager
def readable_os_errors(path: Path, advice: str = "", option: str = "--results") -> Iterator[None]:
    """Turn OS errors, such as a full disk or a read-only folder, into a UserError that says what to do; `option` is the
    one that chooses the folder."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full: free some space",
            errno.EDQUOT: "the disk quota is exceeded: free some space",
            errno.EROFS: f"the file system is read-only: choose another {option} folder",
            errno.EACCES: f"permission denied: choose a {option} folder you can write to",
            errno.EPERM: f"permission denied: choose a {option} folder you can write to",
            errno.ENOTDIR: f"part of this path is a file, not a folder: choose another {option} folder",
            errno.EEXIST: f"a file is in the way: choose another {option} folder",
            errno.EISDIR: "a folder is in the way: remove it",
        }
        reason = reasons.get(error.errno or 0)
        if reason is None:
            reason = f"{error.strerror or error}: choose another {option} folder"
        kind = NoSpaceError if error.errno in FULL else UserError
        raise kind(f"cannot write {path}: {reason}{advice}") from error


def write_atomically(path: Path, content: str | bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file atomically: under a hidden name in the same folder, flushed to the disk and renamed. `content` may
    be a function that writes to a stream."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with temporary.open("wb") as stream:
            if callable(content):
                content(stream)
            else:
                stream.write(content.encode("utf-8") if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def remove_partial(folder: Path) -> None:
    """Remove partial files left by killed processes in a folder whose lock this process holds."""
    for pattern in (f".*{PARTIAL}", "*.tmp"):  # the second pattern is that of earlier versions
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a readable JSON file atomically."""
    write_atomically(path, json.dumps(record, indent=2, default=str) + "\n")


def write_output(path: Path, content: str | bytes, option: str = "--output") -> None:
    """Write a file that a command was asked for atomically, creating its folder; `option` is the one that chooses it.
    Raises UserError where it cannot be written."""
    with readable_os_errors(path, option=option):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write several files of a folder together, possibly in subfolders, and leave other files unchanged.

    All files are first written to a hidden folder and then moved to their places in the given order, so that an earlier
    failure leaves the old files unchanged. Raises UserError where the folder cannot be written.
    """
    with readable_os_errors(folder, option="--output"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=PARTIAL) as hidden:
            for name, data in contents.items():
                path = Path(hidden) / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
            for name in contents:
                (folder / name).parent.mkdir(exist_ok=True)
                (Path(hidden) / name).replace(folder / name)


class AppendLog:
    """An append-only file of JSON lines whose length and digest are known.

    A checkpoint stores `position()`; a resumed run calls `rewind` with it, which drops everything written after the
    checkpoint and rejects a file whose kept part has changed.
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
        """Flush everything appended to the disk."""
        if self.path.exists():
            with readable_os_errors(self.path), self.path.open("ab") as stream:
                os.fsync(stream.fileno())

    def position(self) -> dict[str, Any]:
        """Length in bytes and digest of everything appended."""
        return {"length": self.length, "sha256": self.digest.hexdigest()}

    def rewind(self, position: dict[str, Any]) -> None:
        """Truncate the file to `position`. Raises UserError where the part to keep is missing or has changed."""
        length = position["length"]
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror or error}; restore the file") from error
        kept = content[:length]
        if len(kept) < length or hashlib.sha256(kept).hexdigest() != position["sha256"]:
            raise UserError(
                f"{self.path} is damaged: its first {length} bytes are not what the checkpoint recorded; "
                f"restore the file, or delete {self.path.parent} to rerun it"
            )
        if len(content) > length:
            with readable_os_errors(self.path), self.path.open("r+b") as stream:
                stream.truncate(length)
        self.length, self.digest = length, hashlib.sha256(kept)
