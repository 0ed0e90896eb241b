"""The world of a run: a PostgreSQL server, perhaps a broker, the API and workers, as processes.

Whoever dies is started again, as a supervisor would. What the processes say is kept in files.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import psycopg
from psycopg import sql

from tests.faults.clock import Clock
from tests.faults.disk import Disk, NoDisk, small_disk
from tests.integration.processes import kill
from tests.support.broker import Broker
from tests.support.storm import free_port
from tests.support.webhooks import SECRET
from tidemill.bookkeeping import FACTS, bus_of
from tidemill.bus import PostgresBus
from tidemill.database import Database, connect
from tidemill.embedded import LAPTOP_SETTINGS, EmbeddedServer
from tidemill.settings import Settings, load_settings
from tidemill.state import Books

__all__ = ["BOOKS", "PATIENCE_S", "Ground", "World", "ground", "world"]

BOOKS: Final = Books(FACTS, base_currency="USD")
PATIENCE_S: Final = 120.0

_ROOT: Final = Path(__file__).resolve().parents[2]
_TEMPLATE: Final = "tidemill_template"
_DISK_MB: Final = 400
_SERVER: Final = {
    # Everything that is acknowledged must be on disk, so syncing stays on.
    **LAPTOP_SETTINGS,
    "shared_buffers": "64MB",
    "min_dynamic_shared_memory": "0",
    "max_connections": "150",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "wal_recycle": "off",
}
# How a process may end that could not begin: no database, or no broker, to begin with.
_COULD_NOT_BEGIN: Final = 3


@dataclass
class Ground:
    """What the runs of a campaign share: the server, the broker, the clock."""

    folder: Path
    server: EmbeddedServer
    clock: Clock
    broker: Broker | None = None
    disk: Disk | None = None
    no_disk: str = ""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def kill_server(self) -> None:
        """End the server as a power cut would."""
        kill(self.postmaster)

    @property
    def postmaster(self) -> int:
        """The number of the server's first process."""
        return int((self.server.cluster / "postmaster.pid").read_text().split()[0])

    @contextmanager
    def database(self, *, template: str = _TEMPLATE) -> Iterator[str]:
        """The address of a new database, dropped at the end."""
        name = f"run_{next(self.numbers)}"
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            made = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            admin.execute(made.format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield self.server.url(name)
        finally:
            with psycopg.connect(self.server.url(), autocommit=True) as admin:
                dropped = sql.SQL("DROP DATABASE {} WITH (FORCE)")
                admin.execute(dropped.format(sql.Identifier(name)))


@contextmanager
def ground(folder: Path, broker: Broker | None = None) -> Iterator[Ground]:
    """A server on a small disk, where one can be mounted, with the newest schema as a template."""
    with ExitStack() as stack:
        place, disk, no_disk = folder / "disk", None, ""
        try:
            disk = stack.enter_context(small_disk(place, _DISK_MB))
        except NoDisk as missing:
            no_disk = str(missing)
        server = stack.enter_context(EmbeddedServer(place / "server", settings=_SERVER))
        made = Ground(folder, server, Clock(folder), broker, disk, no_disk)
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
        connect(server.url(_TEMPLATE), migrate=True).close()
        yield made


@dataclass
class World:
    """One run's database, bus and processes."""

    ground: Ground
    url: str
    topic: str
    port: int
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """The settings of the run's processes."""
        broker = self.ground.broker
        return load_settings(
            database_url=self.url,
            kafka_bootstrap_servers=None if broker is None else broker.servers,
            kafka_topic=self.topic,
        )

    def bus(self, database: Database) -> PostgresBus:
        """The bus that producers use."""
        return bus_of(self.settings, database)

    def start(self, name: str) -> None:
        """Start a process: the API is called ``api``, all others are workers."""
        serve = ["serve", "--port", str(self.port)]
        command = [sys.executable, "-m", "tidemill", *(serve if name == "api" else ["worker"])]
        with (self.folder / f"{name}.log").open("ab") as said:
            self.processes[name] = subprocess.Popen(
                command, cwd=_ROOT, env=self._environment(), stdout=said, stderr=said
            )

    def kill(self, name: str) -> None:
        """End a process as ``kill -9`` does, and start it again."""
        self.processes[name].kill()
        self.processes[name].wait()
        self.start(name)

    def end(self, *names: str) -> None:
        """Tell processes to end, and see that they do so within ten seconds."""
        began = time.monotonic()
        ended = {name: self.processes.pop(name) for name in names}
        for process in ended.values():
            process.send_signal(signal.SIGTERM)
        for name, process in ended.items():
            try:
                process.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
            took = time.monotonic() - began
            if took > 10:
                self.surprises.append(f"{name} took {took:.1f} s to end")

    def heal(self) -> None:
        """Make everything run that should."""
        if self.ground.disk is not None:
            self.ground.disk.relieve()
        self.ground.clock.set(0)
        self.ground.server.ensure_running()
        for name, process in list(self.processes.items()):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            if process.poll() is not None:
                if process.returncode != _COULD_NOT_BEGIN:
                    said = f"{name} ended by itself with {process.returncode}"
                    self.surprises.append(f"{said}: {self.last_words(name)}")
                self.start(name)

    def last_words(self, name: str) -> str:
        """The end of what a process said, and with what it ended if it did."""
        ended = self.processes[name].poll()
        said = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-4:]
        return " | ".join([*said, *([] if ended is None else [f"ended with {ended}"])])

    def wait_for_api(self) -> None:
        """Return when the API answers."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert time.monotonic() < deadline, "the API never answered"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz").status_code == 200
        except httpx.HTTPError:
            return False

    def _environment(self) -> dict[str, str]:
        ours = ("TIDEMILL", "STRIPE", "KAFKA", "DATABASE_URL")
        clean = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        broker = self.ground.broker
        kafka = {} if broker is None else {"KAFKA_BOOTSTRAP_SERVERS": broker.servers}
        return (
            clean
            | self.ground.clock.environment()
            | kafka
            | {
                "TIDEMILL_DATABASE_URL": self.url,
                "TIDEMILL_KAFKA_TOPIC": self.topic,
                "STRIPE_WEBHOOK_SECRET": SECRET,
            }
        )


@contextmanager
def world(ground: Ground, workers: int) -> Iterator[World]:
    """A database, the API and workers over it, until the block ends."""
    with ground.database() as url:
        number = url.partition("?")[0].rpartition("_")[2]
        folder = ground.folder / f"run-{number}"
        folder.mkdir()
        made = World(ground, url, f"events.{os.getpid()}.{number}", free_port(), folder)
        if ground.broker is not None:
            from tidemill.bookkeeping import make_topics

            make_topics(made.settings)
        try:
            for name in ("api", *(f"worker-{each}" for each in range(workers))):
                made.start(name)
            yield made
        finally:
            for process in made.processes.values():
                process.kill()
                process.wait()
