"""Signals that stop a command after a checkpoint."""

from __future__ import annotations

import signal
import threading


def stopping(*wanted: signal.Signals) -> list[signal.Signals]:
    """Those of the signals to take handlers for, and SIGHUP, the end of a terminal, unless it is ignored, as under
    `nohup`. None outside of the main thread, where Python allows no handlers."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [*wanted, *([] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP])]
