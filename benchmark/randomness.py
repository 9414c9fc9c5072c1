"""Named random streams: independent generators for weights, actions, replay and so on, derived from one root seed."""

from __future__ import annotations

import hashlib

import torch

STREAMS = ("environment", "weights", "actions", "replay", "update", "evaluation", "messages")


def stream_seed(root: int, name: str) -> int:
    """A 62-bit seed for stream `name` of root seed `root`; equal inputs give equal seeds on every machine."""
    if name not in STREAMS:
        raise ValueError(f"unknown random stream {name!r}: expected one of {', '.join(STREAMS)}")
    digest = hashlib.sha256(f"{root}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 2


def stream(root: int, name: str, device: torch.device) -> torch.Generator:
    """A generator on `device` for stream `name`."""
    return torch.Generator(device).manual_seed(stream_seed(root, name))
