"""One PostgreSQL data directory: created, its server started, attached to and stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tidemill.embedded.postmaster import (
    answers,
    disown_lock_files,
    exists,
    is_alive,
    read_postmaster,
)
from tidemill.embedded.system import (
    PORT,
    POSTGRES_MAJOR,
    Account,
    private_socket_dir,
    programs,
    run,
)
from tidemill.errors import (
    EmbeddedDirectoryUnwritable,
    EmbeddedDiskFull,
    EmbeddedLockStale,
    EmbeddedServerError,
    EmbeddedVersionMismatch,
)

__all__ = ["LAPTOP_SETTINGS", "attach", "check_version", "create", "launch", "stop"]

_LOG_BYTES_MAX = 10_000_000
_POLL_S = 0.005
# Recovery after a crash may replay up to max_wal_size of log before the server is ready.
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 20.0
# A server that says it is ready answers at once, and the orphans of a killed one end soon.
_ANSWER_TIMEOUT_S = 10.0

LAPTOP_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_permissions": "0700",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        "shared_buffers": "256MB",
        "work_mem": "48MB",
        "maintenance_work_mem": "128MB",
        "effective_cache_size": "1GB",
        "random_page_cost": "1.1",
        "max_parallel_workers_per_gather": "2",
        # Parallel queries share memory taken from here first: containers give /dev/shm only 64 MB.
        "min_dynamic_shared_memory": "256MB",
        # Compiling costs more than it saves on queries that take milliseconds.
        "jit": "off",
        "max_wal_size": "2GB",
        # No replicas: a table filled in the transaction that made it is synced instead of logged.
        "wal_level": "minimal",
        "max_wal_senders": "0",
    }
)
"""PostgreSQL settings of the embedded store: fully durable, sized for a laptop.

They are defaults: ``ALTER SYSTEM`` overrides any of them.
"""


def check_version(cluster: Path) -> None:
    """Refuse the data directory of another major version; one that does not exist yet is fine."""
    with contextlib.suppress(FileNotFoundError):
        version = (cluster / "PG_VERSION").read_text(encoding="utf-8").strip()
        if version != str(POSTGRES_MAJOR):
            raise EmbeddedVersionMismatch(cluster, version, str(POSTGRES_MAJOR))


def create(cluster: Path, account: Account | None) -> None:
    """Make the data directory in one step: a half-made one never gets the final name."""
    for unfinished in cluster.parent.glob("postgres.new-*"):
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed here
    fresh = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=cluster.parent))
    try:
        if account is not None:
            os.chown(fresh, account.uid, account.gid)
        made = run(
            str(programs() / "initdb"),
            *("--pgdata", str(fresh), "--username", "postgres", "--auth", "trust"),
            # One collation everywhere, by code point: the same order on every machine.
            *("--encoding", "UTF8", "--locale-provider", "builtin"),
            *("--builtin-locale", "C.UTF-8", "--locale", "C", "--no-instructions"),
            account=account,
        )
        if made.returncode:
            raise _failure(cluster, made.stdout)
        with (fresh / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.write("\ninclude_if_exists = 'tidemill.conf'\n")
        fresh.rename(cluster)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def launch(cluster: Path, account: Account | None, settings: Mapping[str, str]) -> Path:
    """Start the server, wait until it is ready and return the directory of its socket."""
    socket_dir = private_socket_dir(cluster, account)
    _write_settings(cluster, {**settings, "unix_socket_directories": f'"{socket_dir}"'})
    log = cluster / "log"
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(cluster / "log.old")
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    while True:
        disown_lock_files(cluster)
        logged = log.stat().st_size if log.exists() else 0
        # In a session of its own: the terminal's Ctrl-C is not for the server. The shell detaches
        # it and tells its number; paths go in as arguments, whatever characters they have.
        detach = '"$@" </dev/null >>"$0" 2>&1 & echo $!'
        server = [str(programs() / "postgres"), "-D", str(cluster)]
        words = run("/bin/sh", "-c", detach, str(log), *server, account=account).stdout
        if words.strip().isdigit() and _becomes_ready(cluster, int(words)):
            return socket_dir
        with contextlib.suppress(OSError), log.open(encoding="utf-8", errors="replace") as file:
            file.seek(logged)
            words = file.read() or words
        # A killed server's children notice within moments, unless they are in a long statement.
        if "pre-existing shared memory block" not in words or time.monotonic() > deadline:
            raise _failure(cluster, words)


def _becomes_ready(cluster: Path, pid: int) -> bool:
    """Wait for a server just started; False when it ended instead."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while exists(pid):
        found = read_postmaster(cluster)
        if found is not None and (found.pid, found.status) == (pid, "ready"):
            return True
        if time.monotonic() > deadline:
            raise EmbeddedLockStale(cluster / "postmaster.pid", pid)
        time.sleep(_POLL_S)
    return False


def _write_settings(cluster: Path, settings: Mapping[str, str]) -> None:
    lines = ["# Written by Tidemill when it starts the server. To override: ALTER SYSTEM SET ..."]
    for name, value in settings.items():
        quoted = value.replace("'", "''")
        lines.append(f"{name} = '{quoted}'")
    text = "\n".join([*lines, ""])
    conf = cluster / "tidemill.conf"
    if not conf.exists() or conf.read_text(encoding="utf-8") != text:
        conf.write_text(text, encoding="utf-8")
        conf.chmod(0o644)  # written by root, read by the server's account


def attach(cluster: Path) -> Path | None:
    """The socket directory of the running server; None when none runs.

    Waits while a server starts or stops.
    """
    began = time.monotonic()
    while (postmaster := read_postmaster(cluster)) is not None:
        # First, because what a killed server leaves behind may hold its socket a moment longer.
        if not is_alive(postmaster):
            return None
        ready = postmaster.status == "ready"
        if ready and answers(postmaster.socket_dir):
            return postmaster.socket_dir
        if time.monotonic() > began + (_ANSWER_TIMEOUT_S if ready else _START_TIMEOUT_S):
            raise EmbeddedLockStale(cluster / "postmaster.pid", postmaster.pid)
        time.sleep(_POLL_S)
    return None


def stop(cluster: Path) -> None:
    """Stop the server with all its connections, and wait until it is gone."""
    postmaster = read_postmaster(cluster)
    if postmaster is None or not is_alive(postmaster):
        return
    # SIGINT: roll back, write everything down, end. A server that is told so while it repairs
    # itself after a crash may wait forever (seen with 18.4). SIGQUIT ends it at once and loses
    # nothing: the next start replays the log.
    for order, patience_s in ((signal.SIGINT, _STOP_TIMEOUT_S), (signal.SIGQUIT, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(postmaster.pid, order)
        deadline = time.monotonic() + patience_s
        while is_alive(postmaster):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        else:
            break
    if postmaster.socket_dir != cluster:
        with contextlib.suppress(OSError):
            postmaster.socket_dir.rmdir()  # the one in /tmp; PostgreSQL emptied it


def _failure(cluster: Path, words: str) -> EmbeddedServerError:
    """The error for what PostgreSQL said when it could not be created or started."""
    said = " / ".join([line.strip() for line in words.splitlines() if line.strip()][-3:])
    place = cluster if cluster.exists() else cluster.parent
    # A full disk can leave it without a place to say so.
    if "No space left on device" in words or shutil.disk_usage(place).free < 1 << 20:
        return EmbeddedDiskFull(cluster)
    if "pre-existing shared memory block" in words:
        return EmbeddedServerError(
            f"Processes of a PostgreSQL server that was killed still work in {cluster}.",
            hint="Wait until they are done, or end them, then try again.",
        )
    if any(word in words for word in ("Permission denied", "ownership", "invalid permissions")):
        return EmbeddedDirectoryUnwritable(cluster, said)
    return EmbeddedServerError(
        f"PostgreSQL did not start: {said}", hint=f"Its log is {cluster / 'log'}."
    )
