"""The pack of a lease: its results as at most 8 files of 16 MiB in one folder.

    lease.json      code, hardware, phases and tests; the runs, with the archive that contains each of them; the
                    checksums of the other files. It is written last.
    report.txt      the report printed during the lease
    timings.json    entries of `benchmark.profiling.gpu_timings`
    gpu_tests.txt   the end of the output of the tests
    runs-K.zip      the folders of finished runs, one to four archives of whole runs, and of reference policies

A pack is rewritten whenever runs have finished, so that a lease that is cut off loses only its unfinished runs.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results import layout
from results.files import read_json, write_atomically

FORMAT = 1
MANIFEST = "lease.json"
MOST_BYTES = 16 * 2**20
MOST_ARCHIVES = 4
ROOM = MOST_BYTES - 2**20
"""Bytes of compressed files in an archive; the rest is reserved for names and the format's overhead."""
TEXT_BYTES = 2**20
"""Bytes kept from the end of texts."""


@dataclass(slots=True)
class Archive:
    """The contents of one zip file."""

    files: list[Path] = field(default_factory=list)
    size: int = 0


class Packer:
    """Packs the finished runs of a results folder; compressed sizes of files are remembered between calls."""

    def __init__(self, results: Path, output: Path) -> None:
        self.results, self.output = results, output
        self._sizes: dict[Path, int] = {}

    def pack(self, record: Mapping[str, Any], texts: Mapping[str, str]) -> list[str]:
        """Write the pack: `record` holds the other fields of lease.json, `texts` the small files by name.

        Returns one sentence for everything that had to be left out. Raises OSError where the folder cannot be written.
        """
        archives, left_out = self._arranged()
        runs, contents = [], {}
        for name, text in texts.items():
            contents[name] = text.encode()[-TEXT_BYTES if name.endswith(".txt") else 0 :]
        for number, archive in enumerate(archives, 1):
            name = f"runs-{number}.zip"
            contents[name] = self._zipped(archive)
            folders = [file.parent for file in archive.files if file.name == layout.CONFIG]
            runs += [self._facts(folder, name) for folder in folders]
        files = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in contents.items()
        }
        for name, data in contents.items():
            write_atomically(self.output / name, data)
        whole = {"format": FORMAT, **record, "runs": runs, "left_out": left_out, "files": files}
        text = json.dumps(whole, indent=1, default=str) + "\n"
        write_atomically(self.output / MANIFEST, text)
        return left_out

    def finished(self) -> list[Path]:
        """The folders of all finished runs."""
        return [file.parent for file in sorted(self.results.rglob(layout.STATUS)) if _is_finished(file)]

    def _arranged(self) -> tuple[list[Archive], list[str]]:
        """Archives that hold whole runs, as few as possible, then trained policies where there is room; and what was
        left out."""
        archives: list[Archive] = [Archive()]
        references = sorted(self.results.rglob(layout.REFERENCES))
        self._add(archives[0], references)
        homes: dict[Path, Archive] = {}
        left_out = []
        for folder in self.finished():
            files = [folder / name for name in layout.RECORDS if (folder / name).exists()]
            size = sum(map(self._size, files))
            home = next((archive for archive in archives if archive.size + size <= ROOM), None)
            if home is None and len(archives) < MOST_ARCHIVES and size <= ROOM:
                home = Archive()
                archives.append(home)
            if home is None:
                left_out.append(f"{folder.relative_to(self.results)}: {size:,} bytes do not fit")
                continue
            self._add(home, files)
            homes[folder] = home
        for folder, home in homes.items():
            policy = folder / layout.POLICY
            if policy.exists() and home.size + self._size(policy) <= ROOM:
                self._add(home, [policy])
        return [archive for archive in archives if archive.files], left_out

    def _add(self, archive: Archive, files: Iterable[Path]) -> None:
        for file in files:
            archive.files.append(file)
            archive.size += self._size(file)

    def _size(self, file: Path) -> int:
        """Compressed size of a file in bytes."""
        if file not in self._sizes:
            self._sizes[file] = len(zlib.compress(file.read_bytes(), 6)) + 2 * len(str(file)) + 200
        return self._sizes[file]

    def _zipped(self, archive: Archive) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as zipped:
            for file in archive.files:
                zipped.write(file, file.relative_to(self.results).as_posix())
        return stream.getvalue()

    def _facts(self, folder: Path, archive: str) -> dict[str, Any]:
        config, status = read_json(folder / layout.CONFIG), read_json(folder / layout.STATUS)
        names = ("task", "algorithm", "variant", "seed", "config_hash")
        return {name: config[name] for name in names} | {"archive": archive, "wall_seconds": status["wall_seconds"]}


def _is_finished(status: Path) -> bool:
    return bool(read_json(status).get("state") == "finished")
