"""Checkpoint files: replaced atomically, rejected where damaged. torch is loaded on first use."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

from results.commands import lacks_memory
from results.errors import UserError
from results.files import REMEDY, readable_os_errors, write_atomically


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain values atomically; a failed write leaves the old one."""
    import torch  # imported late here and below, so that reading run folders is quick

    advice = "; the last checkpoint is intact: run the same command again to continue from it"
    with readable_os_errors(path, advice):
        try:
            write_atomically(path, lambda stream: torch.save(state, stream))
        except RuntimeError as error:
            # After a failed write torch closes its zip stream, which fails too: the first failure is the one to report.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


# Exceptions that torch.load raises for files that are truncated, overwritten or of another kind.
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


def load_checkpoint(path: Path, device: str, advice: str = REMEDY) -> dict[str, Any]:
    """Read a checkpoint. Raises UserError where the file cannot be read and, with `advice`, where it is damaged."""
    import torch

    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except _DAMAGE as error:
        if lacks_memory(error):
            raise
        detail = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # whose message is advice about pickles
            detail = "it is not a file that torch.save has written"
        raise UserError(f"{path} is damaged ({detail}); {advice}") from error
    if not isinstance(state, dict):
        raise UserError(f"{path} is not a checkpoint; {advice}")
    return state
