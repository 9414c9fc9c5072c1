"""Signals that stop a command after a checkpoint."""

from __future__ import annotations

import signal
import threading


def stopping(*wanted: signal.Signals) -> list[signal.Signals]:
    """Signals to handle: the stopping signals, and SIGHUP, sent when a terminal closes, unless it is ignored, as under
    `nohup`. None outside the main thread, where Python allows no handlers."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [*wanted, *([] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP])]
