"""Keeps numba from running kernels that were compiled from sources that have changed since.

With `cache=True` numba keeps compiled functions between runs, and compiles one again when the file that it stands in
has changed. But a kernel also contains the functions that it calls and the constants that it uses, often from other
files, and a change of those goes unnoticed. So a stamp beside the compiled functions tells of which sources they are;
where it differs from the sources at hand, they are deleted.

A process that began before a change and compiles its first kernel after it still leaves old code behind: end it first.
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
"""A file with compiled functions contains one of these."""
_PYTHON = f"py{sys.version_info.major}{sys.version_info.minor}"
STAMP = f"kernels.{_PYTHON}.stamp"
"""Name of the file that tells of which sources the kept kernels are."""


def forget_stale(package: str, folder: Path) -> bool:
    """Delete what numba keeps of the kernels of a package and its subpackages if it was compiled from other sources;
    whether that was so.

    `folder` is where the package lies. Must be called before its first kernel is. Does nothing where numba is switched
    off, and leaves other versions of Python alone. Raises what `keep_somewhere` raises.
    """
    folders = sorted({path.parent for path in _kernel_files(folder)} | {folder})
    for each in folders:
        keep_somewhere(each)
    kept = [place for each in folders if (place := cache_folder(each)) is not None]
    if not kept:
        return False
    wanted = _fingerprint(package, folder)
    stale = [_forget_in(place, wanted) for place in kept]
    return any(stale)


def _forget_in(kept: Path, wanted: str) -> bool:
    """Delete the kernels in a folder of numba's where its stamp is not the one wanted; whether that was so."""
    stamp = kept / STAMP
    with contextlib.suppress(OSError):
        if stamp.read_text() == wanted:
            return False
    # Another process may do the same at the same time: whoever finds nothing to delete is content.
    with contextlib.suppress(OSError):
        for path in [*kept.glob(f"*.{_PYTHON}*.nbi"), *kept.glob(f"*.{_PYTHON}*.nbc")]:
            path.unlink(missing_ok=True)
        _write(stamp, wanted)
    return True


def keep_somewhere(folder: Path) -> None:
    """Let numba compile files in `folder` where it can write neither beside them, nor to NUMBA_CACHE_DIR, nor to the
    user's cache folder, and would refuse.

    It gets a temporary folder then, for this process and those that it starts, which is removed at the end. Raises
    EnvironmentNotAvailableError where that cannot be made either.
    """
    config: Any = numba.config
    if config.DISABLE_JIT or cache_folder(folder) is not None:
        return
    try:
        temporary = tempfile.mkdtemp(prefix="numba-")
    except OSError as error:
        from envs.errors import EnvironmentNotAvailableError

        raise EnvironmentNotAvailableError(
            f"numba finds no folder for compiled code, not even a temporary one ({error.strerror}): set "
            "NUMBA_CACHE_DIR to a folder you can write to"
        ) from error
    os.environ["NUMBA_CACHE_DIR"] = config.CACHE_DIR = temporary
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)  # not run by processes that were forked


def cache_folder(folder: Path) -> Path | None:
    """Where numba keeps what it compiles of the files in `folder`; None if it keeps nothing.

    It is asked for its choice, which depends on NUMBA_CACHE_DIR and on whether the folder can be written to.
    """
    names: dict[str, Any] = {}
    exec(compile("def probe(): pass", str(folder / "__init__.py"), "exec"), names)  # a function of a file there
    try:
        statistics = getattr(njit(cache=True)(names["probe"]), "stats", None)  # None where numba is switched off
    except RuntimeError:  # no folder can be written to
        return None
    return None if statistics is None else Path(statistics.cache_path)


def kernel_sources(package: str, folder: Path) -> dict[str, bytes]:
    """Texts, by name, of the modules in `folder` and below that have compiled functions, and of all that these import
    from the top-level package, directly or not: all that can change a kernel."""
    top, depth = package.partition(".")[0], package.count(".")
    root = folder.parents[depth]
    """The folder that the top-level package lies in."""
    imports = re.compile(rf"^[ \t]*(?:from|import) +({top}(?:\.\w+)*)(?: +import +(\([^)]*\)|[^\n]*))?", re.MULTILINE)
    found: dict[str, bytes] = {}
    pending = [".".join((package, *path.relative_to(folder).with_suffix("").parts)) for path in _kernel_files(folder)]
    while pending:
        module = pending.pop()
        place = root.joinpath(*module.split("."))
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        around = f"{package}.".startswith(f"{module}.")  # the packages that the kernels lie in bring all else, too
        if module in found or around or not path.is_file():
            continue
        found[module] = path.read_bytes()
        for source, names in imports.findall(found[module].decode()):
            pending += [source, *(f"{source}.{name}" for name in re.findall(r"\w+", names))]
    return found


def _kernel_files(folder: Path) -> list[Path]:
    """The files in a folder and its subfolders that have compiled functions."""
    return [path for path in folder.rglob("*.py") if any(mark in path.read_bytes() for mark in _COMPILED)]


def _fingerprint(package: str, folder: Path) -> str:
    """What compiled kernels depend on, as a number."""
    digest = hashlib.sha256(repr((numba.__version__, llvmlite.__version__, np.__version__)).encode())
    for module, text in sorted(kernel_sources(package, folder).items()):
        digest.update(repr((module, len(text))).encode() + text)
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


keep_somewhere(Path(__file__).parent)  # before any kernel is defined
