"""Requirements of `training.kernels`."""

from __future__ import annotations

import importlib.util

from benchmark.config import MESSAGE_KERNELS
from benchmark.errors import UserError


def require(kernels: str, device: str) -> None:
    """Raises UserError where `device` does not support the kernels, ValueError for unknown kernels."""
    if kernels not in MESSAGE_KERNELS:
        raise ValueError(f"kernels = {kernels!r}: expected one of {', '.join(MESSAGE_KERNELS)}")
    if kernels == "reference":
        return
    if not device.startswith("cuda"):
        raise UserError(
            f"training.kernels=fused needs a CUDA device, but the run is on {device}, which has compiled loops: "
            "choose --device cuda, or --set training.kernels=reference"
        )
    if importlib.util.find_spec("triton") is None:
        raise UserError(
            "training.kernels=fused needs the package triton, which is not installed: "
            "pip install triton, or choose --set training.kernels=reference"
        )
