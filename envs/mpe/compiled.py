"""Compilation of this package's numba functions. Importing this module deletes cached kernels that were compiled from
other sources, before the first kernel is defined."""

from __future__ import annotations

from pathlib import Path

from numba import njit

from envs.numba_cache import delete_stale

delete_stale("envs.mpe", Path(__file__).parent)
kernel = njit(cache=True, nogil=True)
