"""Ends processes that are not our children, and waits for it."""

from __future__ import annotations

import os
import select
import signal

__all__ = ["kill"]


def kill(pid: int) -> None:
    """Kill a process as ``kill -9`` does and return when it is gone."""
    watched = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        ended, _, _ = select.select([watched], [], [], 30)
        assert ended, f"process {pid} is still there"
    finally:
        os.close(watched)
