"""What every test may ask for: real databases, made in milliseconds.

One PostgreSQL server serves the whole run, also when pytest-xdist spreads it over processes: the
embedded server is made to be shared, and the last process to leave stops it. It does not sync to
disk, because nothing in a test outlives it. The schema is migrated once, into a template database;
a test gets a clone of it, new or made as new.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql
from sqlalchemy.engine import make_url

from tests.support.compiled import share_compiled
from tests.support.lending import Lender
from tidemill.database import Database, connect
from tidemill.embedded import LAPTOP_SETTINGS, EmbeddedServer

# Examples are drawn while other processes of the run are busy: time says nothing about a strategy.
settings.register_profile("tidemill", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tidemill")
share_compiled()

TEMPLATE_LOCK = 7_355_608


def pytest_collection_finish() -> None:
    """Thousands of tests and all that they import stay to the end: do not look through them again.

    Statements are built of many small objects, so collections would come often, and each would go
    through everything.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


# Fast and forgetful: for servers whose data nobody needs after the run.
TEST_SETTINGS = {
    **LAPTOP_SETTINGS,
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "shared_buffers": "128MB",
    "max_connections": "200",
}


# Set to an address of a maintenance database, the tests run on that server instead: `make test` on
# an older PostgreSQL. Its role must be allowed to make databases and roles.
SERVER_VARIABLE = "TIDEMILL_TEST_SERVER_URL"


class Server(Protocol):
    """A PostgreSQL server that tests may fill with databases."""

    def url(self, database: str = "postgres") -> str:
        """The address of one of its databases."""


class GivenServer:
    """The server named in the environment."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)

    def url(self, database: str = "") -> str:
        address = self._url.set(database=database or self._url.database)
        return address.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The run's PostgreSQL server, shared by all its processes."""
    if given := os.environ.get(SERVER_VARIABLE):
        yield GivenServer(given)
        return
    base = tmp_path_factory.getbasetemp()
    # Under pytest-xdist each worker has a folder of its own inside the one of the run.
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with EmbeddedServer(run / "server", settings=TEST_SETTINGS) as server:
        yield server
    if not (server.cluster / "postmaster.pid").exists():
        shutil.rmtree(server.data_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(postgres: Server) -> str:
    """Address of the server's maintenance database, for tests that make their own."""
    return postgres.url()


@pytest.fixture(scope="session")
def _template(postgres: Server) -> Iterator[str]:
    """Name of a database with the newest schema, to clone; nobody stays connected to it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    name = f"tidemill_template_{run or os.getpid()}"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("SELECT pg_advisory_lock(%s)", [TEMPLATE_LOCK])
        found = admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
        if found is None:  # else another worker made it while we waited
            making = f"{name}_making"
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(making)))
            connect(postgres.url(making), migrate=True).close()
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            admin.execute(rename.format(sql.Identifier(making), sql.Identifier(name)))
    yield name
    if run is None:  # else another worker may still need it
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


class NewDatabase(Protocol):
    """Lends a database for the length of a ``with`` block."""

    def __call__(self, *, schema: bool = True) -> AbstractContextManager[Database]:
        """A clone of the template, or without `schema` a database without any table."""


@pytest.fixture(scope="session")
def new_database(postgres: Server, _template: str) -> Iterator[NewDatabase]:
    """For tests that need several databases, such as one for each example of a property."""

    @contextmanager
    def lend(*, schema: bool = True) -> Iterator[Database]:
        with (
            lender.clone() if schema else lender.bare() as name,
            connect(postgres.url(name), migrate=False) as database,
        ):
            yield database

    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        lender = Lender(admin, postgres.url, _template)
        yield lend
        lender.close()


@pytest.fixture
def database(new_database: NewDatabase) -> Iterator[Database]:
    """An open database with the newest schema and no rows, for this test alone."""
    with new_database() as database:
        yield database


@pytest.fixture
def empty_database(new_database: NewDatabase) -> Iterator[Database]:
    """An open database without any table, for this test alone."""
    with new_database(schema=False) as database:
        yield database
