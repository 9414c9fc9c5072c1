"""Deletes numba's cached kernels when their sources have changed.

With `cache=True`, numba caches compiled functions between runs and recompiles a function when its file has changed. But
a kernel also contains the functions that it calls and the constants that it uses, often from other files, and numba
does not notice changes of those. A stamp next to the cached kernels therefore identifies their sources; if it differs
from the current sources, the kernels are deleted.

A process that started before a change and compiles its first kernel after it still caches old code: end it first.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import njit

_COMPILED = (b"njit(", b"@njit", b"@kernel", b"@inlined", b"@intrinsic")
"""Every file with compiled functions contains one of these."""
_PYTHON = f"py{sys.version_info.major}{sys.version_info.minor}"
STAMP = f"kernels.{_PYTHON}.stamp"
"""Name of the file that identifies the sources of the cached kernels."""


def delete_stale(package: str, folder: Path) -> bool:
    """Delete the cached kernels of a package and its subpackages if they were compiled from other sources; returns
    whether that was the case.

    `folder` is the folder of the package. Must be called before the package's first kernel is. Does nothing if numba is
    disabled, and keeps the kernels of other Python versions. Raises what `ensure_cache_folder` raises.
    """
    folders = sorted({path.parent for path in _kernel_files(folder)} | {folder})
    for each in folders:
        ensure_cache_folder(each)
    kept = [place for each in folders if (place := cache_folder(each)) is not None]
    if not kept:
        return False
    wanted = _fingerprint(package, folder)
    stale = [_delete_stale_in(place, wanted) for place in kept]
    return any(stale)


def _delete_stale_in(kept: Path, wanted: str) -> bool:
    """Delete the kernels in a cache folder unless its stamp is the given one; returns whether they were deleted."""
    stamp = kept / STAMP
    with contextlib.suppress(OSError):
        if stamp.read_text() == wanted:
            return False
    # Another process may do the same at the same time, so that files may already be gone.
    with contextlib.suppress(OSError):
        for path in [*kept.glob(f"*.{_PYTHON}*.nbi"), *kept.glob(f"*.{_PYTHON}*.nbc")]:
            path.unlink(missing_ok=True)
        _write(stamp, wanted)
    return True


def ensure_cache_folder(folder: Path) -> None:
    """Give numba a temporary cache folder if it can write neither next to the files in `folder`, nor to
    NUMBA_CACHE_DIR, nor to the user's cache folder; without one it would refuse to compile.

    The temporary folder serves this process and those that it starts, and is removed at the end. Raises
    EnvironmentNotAvailableError if it cannot be made.
    """
    config: Any = numba.config
    if config.DISABLE_JIT or cache_folder(folder) is not None:
        return
    try:
        temporary = tempfile.mkdtemp(prefix="numba-")
    except OSError as error:
        from envs.errors import EnvironmentNotAvailableError

        raise EnvironmentNotAvailableError(
            f"numba has no writable folder for compiled code, not even a temporary one ({error.strerror}): set "
            "NUMBA_CACHE_DIR to a folder you can write to"
        ) from error
    os.environ["NUMBA_CACHE_DIR"] = config.CACHE_DIR = temporary
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)  # not run by processes that were forked


def cache_folder(folder: Path) -> Path | None:
    """Numba's cache folder for the files in `folder`; None if it caches nothing.

    Numba chooses it depending on NUMBA_CACHE_DIR and on whether the folder is writable.
    """
    names: dict[str, Any] = {}
    exec(compile("def probe(): pass", str(folder / "__init__.py"), "exec"), names)  # a function of a file there
    try:
        statistics = getattr(njit(cache=True)(names["probe"]), "stats", None)  # None where numba is switched off
    except RuntimeError:  # no folder can be written to
        return None
    return None if statistics is None else Path(statistics.cache_path)


def kernel_sources(package: str, folder: Path) -> dict[str, bytes]:
    """Texts, by name, of the modules in and below `folder` that contain compiled functions, and of all modules of the
    top-level package that these import, directly or indirectly: everything that can change a kernel."""
    top, depth = package.partition(".")[0], package.count(".")
    root = folder.parents[depth]
    """The folder that contains the top-level package."""
    imports = re.compile(rf"^[ \t]*(?:from|import) +({top}(?:\.\w+)*)(?: +import +(\([^)]*\)|[^\n]*))?", re.MULTILINE)
    found: dict[str, bytes] = {}
    pending = [".".join((package, *path.relative_to(folder).with_suffix("").parts)) for path in _kernel_files(folder)]
    while pending:
        module = pending.pop()
        place = root.joinpath(*module.split("."))
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        around = f"{package}.".startswith(
            f"{module}."
        )  # the packages that contain the kernels import everything else, too
        if module in found or around or not path.is_file():
            continue
        found[module] = path.read_bytes()
        for source, names in imports.findall(found[module].decode()):
            pending += [source, *(f"{source}.{name}" for name in re.findall(r"\w+", names))]
    return found


def _kernel_files(folder: Path) -> list[Path]:
    """The files in a folder and its subfolders that contain compiled functions."""
    return [path for path in folder.rglob("*.py") if any(mark in path.read_bytes() for mark in _COMPILED)]


def _fingerprint(package: str, folder: Path) -> str:
    """Digest of everything that compiled kernels depend on."""
    digest = hashlib.sha256(repr((numba.__version__, llvmlite.__version__, np.__version__)).encode())
    for module, text in sorted(kernel_sources(package, folder).items()):
        digest.update(repr((module, len(text))).encode() + text)
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    """Replace a file atomically."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


ensure_cache_folder(Path(__file__).parent)  # before any kernel is defined
