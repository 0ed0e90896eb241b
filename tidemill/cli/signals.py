"""What ends a command that goes on until it is told to end."""

from __future__ import annotations

import signal
import sys
from threading import Event

__all__ = ["end_in_good_order"]


def end_in_good_order(stop: Event) -> None:
    """Have Ctrl-C and SIGTERM set `stop`, and end the process at once the second time."""

    def end(number: int) -> None:
        if stop.is_set():
            sys.exit(128 + number)
        stop.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _: end(number))
