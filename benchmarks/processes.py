"""What processes use, as Linux tells it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import func, select

from tidemill.database import Database

__all__ = ["busy_s", "of_server", "peak_mb", "used_s"]


def used_s(pids: Iterable[int]) -> float:
    """The processor time of processes so far, with that of their children that have ended."""
    return sum(_ticks(_stat(pid)[11:15]) for pid in pids)


def busy_s() -> float:
    """The processor time that this machine has given to anybody since it started."""
    user, nice, system, _idle, _waiting, *others = _cpu()
    # Virtual machines count the time of their guests twice: as theirs, and as their user's.
    return _ticks([user, nice, system, *others[:3]])


def of_server(store: Database) -> list[int]:
    """The database server's processes."""
    with store.connect() as connection:
        backend = connection.execute(select(func.pg_backend_pid())).scalar_one()
    server = int(_stat(backend)[1])
    return [server, *_children(server)]


def peak_mb(pid: int) -> float:
    """The most memory a process ever had resident."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _children(parent: int) -> list[int]:
    pids = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
    return [pid for pid in pids if (told := _stat(pid)) and int(told[1]) == parent]


def _stat(pid: int) -> list[str]:
    """What is said of a process, from its state on; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _cpu() -> list[str]:
    with Path("/proc/stat").open() as lines:
        return next(lines).split()[1:]


def _ticks(counted: Iterable[str]) -> float:
    return sum(map(int, counted)) / os.sysconf("SC_CLK_TCK")
