"""A process's hold on the embedded server: shared with others, the last one stops it."""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from tidemill.embedded.cluster import LAPTOP_SETTINGS, attach, check_version, create, launch, stop
from tidemill.embedded.system import PORT, open_doors, server_account
from tidemill.errors import EmbeddedDirectoryUnwritable, EmbeddedDiskFull

__all__ = ["EmbeddedServer"]


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
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket_dir))}&port={PORT}"

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
            check_version(self.cluster)
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
                stop(self.cluster)
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
        self._socket_dir = attach(self.cluster)
        if self._socket_dir is not None:
            return
        start = _Lock(self.data_dir / "postgres.start")
        try:
            start.exclusive()
            # Somebody else may have started it while we waited.
            self._socket_dir = attach(self.cluster)
            if self._socket_dir is None:
                account = server_account()
                if account is not None:
                    open_doors(self.cluster)
                if not (self.cluster / "PG_VERSION").exists():
                    create(self.cluster, account)
                self._socket_dir = launch(self.cluster, account, self._settings)
        finally:
            start.close()


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
