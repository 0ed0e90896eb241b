"""What is known of a server from outside: its lock files, its process, its socket."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple

from tidemill.embedded.system import PORT

__all__ = ["Postmaster", "answers", "disown_lock_files", "exists", "is_alive", "read_postmaster"]

# A number no process has: larger than any system gives out.
_NOBODYS_PID = 2**31 - 1


class Postmaster(NamedTuple):
    """What ``postmaster.pid`` says of a server."""

    pid: int
    cluster: str  # the data directory, as the server was told
    socket_dir: Path
    status: str  # starting, ready, stopping or standby


def read_postmaster(cluster: Path) -> Postmaster | None:
    """The running or crashed server of a cluster; None when it was stopped in order."""
    try:
        text = (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None
    # pid, data directory, start time, port, socket directory, host, shared memory, status; the
    # last lines come while the server starts.
    lines = [*text.splitlines(), *[""] * 8]
    pid = int(lines[0]) if lines[0].strip().isdigit() else 0
    return Postmaster(pid, lines[1], Path(lines[4].strip()), lines[7].strip() or "starting")


def answers(socket_dir: Path) -> bool:
    """Whether somebody listens on the server's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(socket_dir / f".s.PGSQL.{PORT}"))
        except OSError:
            return False
    return True


def is_alive(postmaster: Postmaster) -> bool:
    """Whether the process of this number is still that server.

    After a crash or the restart of a container another program may own the number of the dead
    server; PostgreSQL itself cannot tell, and would refuse to start.
    """
    try:
        if Path("/proc/self/cmdline").exists():
            command = Path(f"/proc/{postmaster.pid}/cmdline").read_bytes()  # empty for a zombie
        else:
            ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(postmaster.pid)]
            command = subprocess.run(ps, capture_output=True, check=False).stdout
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"postgres" in command and os.fsencode(postmaster.cluster) in command


def exists(pid: int) -> bool:
    """Whether a process has this number and has not ended."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return stat.rpartition(b")")[2].split()[0] != b"Z"  # ended, but nobody took note yet
    return _is_taken(pid)


def _is_taken(pid: int) -> bool:
    """Whether the number is in use, be it by a process that ended and nobody took note of."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def disown_lock_files(cluster: Path) -> None:
    """Make PostgreSQL see that the server named in its lock files is dead.

    Needed when another program has its number now, when nobody took note of its end (in a
    container), or when the file is empty. Only the number is replaced: from the rest of the file
    PostgreSQL learns whether children of the dead server still work in the directory.
    """
    postmaster = read_postmaster(cluster)
    if postmaster is None or (postmaster.pid and not _is_taken(postmaster.pid)):
        return
    lock_files = [cluster / "postmaster.pid"]
    if postmaster.socket_dir.is_absolute():
        lock_files.append(postmaster.socket_dir / f".s.PGSQL.{PORT}.lock")
    for lock_file in lock_files:
        with contextlib.suppress(FileNotFoundError):
            _, _, rest = lock_file.read_bytes().partition(b"\n")
            lock_file.write_bytes(b"%d\n%b" % (_NOBODYS_PID, rest))
