"""Keeps numba from running kernels that were compiled from sources that have changed since.

With `cache=True` numba keeps compiled functions between runs, and compiles one again when the file that it stands in
has changed. But a kernel also contains the functions that it calls and the constants that it uses, often from other
files, and a change of those goes unnoticed. So a stamp beside the compiled functions tells of which sources they are;
where it differs from the sources at hand, they are deleted.

A process that began before a change and compiles its first kernel after it still leaves old code behind: end it first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
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


def forget_stale(package: str = "envs.traffic", folder: Path | None = None) -> bool:
    """Delete what numba keeps of a package's kernels if it was compiled from other sources; whether that was so.

    `folder` is where the package lies. Must be called before its first kernel is. Does nothing where numba keeps
    nothing, and leaves other versions of Python alone.
    """
    folder = Path(__file__).parent if folder is None else folder
    kept = cache_folder(folder)
    if kept is None:
        return False
    stamp, wanted = kept / STAMP, _fingerprint(package, folder)
    with contextlib.suppress(OSError):
        if stamp.read_text() == wanted:
            return False
    # Another process may do the same at the same time: whoever finds nothing to delete is content.
    with contextlib.suppress(OSError):
        for path in [*kept.glob(f"*.{_PYTHON}*.nbi"), *kept.glob(f"*.{_PYTHON}*.nbc")]:
            path.unlink(missing_ok=True)
        _write(stamp, wanted)
    return True


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
    """Texts, by name, of the modules in `folder` that have compiled functions, and of those that they import from
    their package: all that can change a kernel."""
    texts = {path.stem: path.read_bytes() for path in folder.glob("*.py")}
    start = rb"\n[ \t]*(?:from|import) +" + re.escape(package.encode())
    imports = re.compile(start + rb"(?:\.(\w+)| +import +(\([^)]*\)|[^\n]*))")
    found: dict[str, bytes] = {}
    pending = [module for module, text in texts.items() if any(mark in text for mark in _COMPILED)]
    while pending:
        module = pending.pop()
        if module in found or module not in texts:
            continue
        found[module] = texts[module]
        for direct, listed in imports.findall(texts[module]):
            pending += [part.decode() for part in ([direct] if direct else re.findall(rb"\w+", listed))]
    return found


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
