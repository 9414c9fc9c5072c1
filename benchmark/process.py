"""Process-wide settings of a run, which all runs in one process must share."""

from __future__ import annotations

from typing import Any

from benchmark.config import RunConfig


def process_state(config: RunConfig) -> dict[str, Any]:
    """The process-wide settings by name."""
    state = {"device": config.device, "training.threads": config.training.threads}
    return state | {"training.tf32": config.training.tf32} if config.device.startswith("cuda") else state


def set_process_state(config: RunConfig) -> None:
    """Apply the process-wide settings."""
    import torch

    torch.set_num_threads(config.training.threads)
    if config.device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = config.training.tf32
