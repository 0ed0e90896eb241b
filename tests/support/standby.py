"""A hot standby: a second server that follows a first one by streaming, and only answers."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from sqlalchemy.engine import make_url

from tests.conftest import TEST_SETTINGS
from tidemill.embedded import EmbeddedServer
from tidemill.embedded.system import programs, run, server_account

__all__ = ["Pair", "primary_and_standby"]

# The embedded server's settings leave out what a standby needs.
_PRIMARY: Final = {**TEST_SETTINGS, "wal_level": "replica", "max_wal_senders": "4"}
_CATCHING_UP_S: Final = 30.0


@dataclass(frozen=True)
class Pair:
    """A server and its standby."""

    primary: EmbeddedServer
    socket_dir: Path

    def standby_url(self, address: str) -> str:
        """The address of the same database, with the same role, on the standby."""
        url = make_url(address).set(query={"host": str(self.socket_dir), "port": "5432"})
        return url.render_as_string(hide_password=False)

    def catch_up(self) -> None:
        """Wait until the standby holds all that the primary has written."""
        address = self.primary.url()
        with psycopg.connect(address) as primary:
            insert = "SELECT pg_current_wal_insert_lsn()::text"
            [written] = primary.execute(insert).fetchone() or [None]
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        deadline = time.monotonic() + _CATCHING_UP_S
        with psycopg.connect(self.standby_url(address), autocommit=True) as standby:
            while standby.execute(replayed, [written]).fetchone() != (True,):
                assert time.monotonic() < deadline, "the standby does not follow"
                time.sleep(0.02)


@contextmanager
def primary_and_standby(folder: Path) -> Iterator[Pair]:
    """Both servers, the standby made by a base backup, until the block ends."""
    account = server_account()
    with (
        EmbeddedServer(folder / "primary", settings=_PRIMARY) as primary,
        tempfile.TemporaryDirectory(prefix="standby-", dir="/tmp") as name,
    ):
        place = Path(name)
        if account is not None:
            os.chown(place, account.uid, account.gid)
        cluster, source = place / "cluster", make_url(primary.url()).query

        def call(program: str, *options: str) -> subprocess.CompletedProcess[str]:
            done = run(str(programs() / program), *options, account=account)
            assert done.returncode == 0, done.stdout
            return done

        server = ("--host", str(source["host"]), "--port", str(source["port"]))
        call(
            "pg_basebackup", *server, "--username", "postgres", "--pgdata", str(cluster),
            "--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast",
        )  # fmt: skip
        # Our settings came along; what differs is said on its command line.
        log = ("--log", str(cluster / "log"))
        own = f"-c unix_socket_directories={place} -c port=5432 -c hot_standby=on"
        control = ("--pgdata", str(cluster), "-w", "-t", "60")
        call("pg_ctl", "start", *control, *log, "--options", own)
        try:
            yield Pair(primary, place)
        finally:
            call("pg_ctl", "stop", *control, "--mode", "immediate")
