"""The way to PostgreSQL: a server by URL, or the embedded one; sessions and snapshots.

Every session runs in UTC and through psycopg 3. Statements are never prepared on the server: an
analytical query wants a plan for its own values, and connection poolers forget prepared ones. The
just-in-time compiler is off; it costs more than queries of our length can save.

Whatever goes wrong between us and the server comes out as ``DatabaseUnreachable`` or a sibling of
it. No message contains a password.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Dialect, Engine, ExceptionContext, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from tidemill.errors import (
    DatabaseFull,
    DatabaseTooOld,
    DatabaseUnreachable,
    EmbeddedServerError,
    InvalidSettings,
    Problem,
    StatementTimedOut,
    TidemillError,
)
from tidemill.migrations.schema import migrate, require_current

if TYPE_CHECKING:
    from tidemill.embedded import EmbeddedServer

__all__ = [
    "OLDEST_SERVER",
    "Database",
    "connect",
    "embedded_exists",
    "same_address",
]

OLDEST_SERVER = 15
"""The oldest major version of PostgreSQL that is supported."""

_SET_SESSION = (
    "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS set (name, value)"
)
# SQLSTATEs of a connection that is no good: trouble with it, or a server that stops, crashed or
# is not ready yet.
_LOST = ("08", "57P01", "57P02", "57P03")
# How a server refuses, or drops, a connection when it will soon be there again.
_READY_SOON = ("the database system is", "server closed the connection", "Connection refused")
_RECOVERY_TIMEOUT_S = 120.0
_RECOVERY_POLL_S = 0.02
# What libpq would otherwise take from the user's environment, meant for other servers.
_NO_ENVIRONMENT = {"hostaddr": "", "options": "", "require_auth": "", "channel_binding": "prefer"}


@dataclass(frozen=True)
class Database:
    """An open database. Close it, or use it in a ``with`` block.

    Attributes:
        engine: SQLAlchemy's engine; its connections are pooled.
        url_display: the address for people, without anything secret.
        server: our hold on the embedded server; None for a server by URL.
        writing: the engine that may write, where `engine` may not. Options of engines add up, and
            those of the first one win, so that it has to be kept.
    """

    engine: Engine
    url_display: str
    server: EmbeddedServer | None = field(default=None, repr=False)
    writing: Engine | None = field(default=None, repr=False)

    @property
    def embedded(self) -> bool:
        """Whether this is the embedded server."""
        return self.server is not None

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """A connection in a transaction: committed at the end, rolled back by an exception."""
        with self.translated(), self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection; what is not committed by hand is rolled back at the end."""
        with self.translated(), self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self, *, scratch: Sequence[sa.Table] = ()) -> Iterator[Connection]:
        """A read-only transaction in which every statement sees the database of one moment.

        scratch: temporary tables to create first; these alone can be filled in it.
        """
        with self.translated(), self.engine.connect() as connection:
            reading = connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=not scratch
            )
            with reading.begin():
                for table in scratch:
                    table.create(reading)
                if scratch:
                    # What is created counts as a write; what is put into temporary tables does not.
                    reading.execute(
                        sa.select(sa.func.set_config("transaction_read_only", "on", True))
                    )
                yield reading

    def writable(self) -> Database:
        """The same database for what is meant to write, also when it was opened to read only."""
        engine = self.writing or self.engine
        return replace(self, engine=engine.execution_options(postgresql_readonly=False))

    def close(self) -> None:
        """Close all connections; the embedded server stops when nobody else uses it."""
        self.engine.dispose()
        if self.server is not None:
            self.server.release()

    def __enter__(self) -> Self:
        """Nothing more to open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Give trouble of the driver itself (COPY goes around SQLAlchemy) the same names."""
        try:
            yield
        except psycopg.Error as error:
            if (named := _named(error, self.url_display, self.server)) is None:
                raise
            raise named from error


def connect(
    url: str | None,
    *,
    data_dir: Path | None = None,
    migrate: bool | None = None,
    read_only: bool = False,
    statement_timeout_s: float | None = None,
    connection_count_max: int | None = None,
) -> Database:
    """Open a database and make sure its schema fits this program.

    Args:
        url: address of a PostgreSQL server, ``postgresql://user:password@host:5432/name``; None
            for the embedded one.
        data_dir: where the embedded server keeps its files; needed when ``url`` is None.
        migrate: True brings the schema to the newest version, False leaves it alone and unseen;
            by default the embedded store is migrated, and a server by URL checked.
        read_only: every transaction refuses to write (migrating apart).
        statement_timeout_s: a statement is ended after so many seconds; None = no limit.
        connection_count_max: whoever needs one more waits; None = as the pool likes.

    Raises:
        DatabaseUnreachable: nobody answers, or not to this user and password.
        DatabaseTooOld: the server is older than PostgreSQL 15.
        SchemaTooOld: the schema is behind, and this is not the embedded store.
        SchemaTooNew: a newer Tidemill has migrated this database.
        InvalidSettings: the address cannot be read.
        EmbeddedServerError: one of its family, see ``EmbeddedServer.start``.
    """
    session = {"TimeZone": "UTC", "jit": "off"}
    if read_only:
        session["default_transaction_read_only"] = "on"
    if statement_timeout_s is not None:
        session["statement_timeout"] = str(math.ceil(statement_timeout_s * 1000))
    if url is None:
        assert data_dir is not None, "without a URL the embedded server needs a data directory"
        server = _start_embedded(data_dir)
        database = _open(_parse(server.url()), server, session)
    else:
        database = _open(_parse(url), None, session, connection_count_max)
    try:
        _fit_schema(database, wanted=migrate)
    except BaseException:
        database.close()
        raise
    if read_only:
        # Once a connection was used, the driver says READ WRITE itself, whatever the session's
        # default is: so every transaction is told.
        reading = database.engine.execution_options(postgresql_readonly=True)
        database = replace(database, engine=reading, writing=database.engine)
    return database


def same_address(one: str, other: str) -> bool:
    """Whether two addresses name one database; several names of one server are not seen through."""
    parsed = (_parse(each) for each in (one, other))
    first, second = ((each.host, each.port or 5432, each.database) for each in parsed)
    return first == second


def embedded_exists(data_dir: Path) -> bool:
    """Whether an embedded database has been made here; without starting anything."""
    return (data_dir / "postgres" / "PG_VERSION").exists()


def _fit_schema(database: Database, *, wanted: bool | None) -> None:
    if wanted is False:
        return
    if wanted or database.embedded:
        migrate(database.engine)
    else:
        require_current(database.engine)


# --- the engine -----------------------------------------------------------------------------------


def _start_embedded(data_dir: Path) -> EmbeddedServer:
    if sys.platform == "win32":
        raise EmbeddedServerError(
            "The embedded database does not run on Windows.",
            hint="Use WSL, or set TIDEMILL_DATABASE_URL to a PostgreSQL server.",
        )
    # Its parts do not exist on Windows, where a server by URL still works.
    from tidemill.embedded import EmbeddedServer

    return EmbeddedServer(data_dir).start()


def _parse(url: str) -> URL:
    """The address with our driver; the schemes people write all mean the same."""
    hint = "Write postgresql://user:password@host:5432/name."
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        # The text may hold a password, so it is not shown.
        raise InvalidSettings([Problem("database_url", "cannot be read", hint)]) from None
    if address.drivername not in {"postgres", "postgresql", "postgresql+psycopg"}:
        problem = f"{address.drivername!r} is not a kind of PostgreSQL address"
        raise InvalidSettings([Problem("database_url", problem, hint)])
    return address.set(drivername="postgresql+psycopg")


def _display(address: URL) -> str:
    """The address for people, without anything secret."""
    query = {key: value for key, value in address.query.items() if "password" not in key.lower()}
    bare = URL.create(
        "postgresql", address.username, None, address.host, address.port, address.database, query
    )
    return bare.render_as_string()


def _open(
    address: URL,
    server: EmbeddedServer | None,
    session: Mapping[str, str],
    connection_count_max: int | None = None,
) -> Database:
    display = _display(address) if server is None else f"embedded:{server.data_dir}"
    defaults = {"connect_timeout": "10", "application_name": "tidemill"}
    arguments = {key: value for key, value in defaults.items() if key not in address.query}
    engine = sa.create_engine(
        address,
        connect_args={
            **arguments,
            **({} if server is None else _NO_ENVIRONMENT),
            "prepare_threshold": None,
        },
        pool_pre_ping=True,
        **(
            {}
            if connection_count_max is None
            else {"pool_size": connection_count_max, "max_overflow": 0}
        ),
        use_native_hstore=False,
    )

    def prepare(connection: psycopg.Connection[Any], _: object) -> None:
        version = connection.info.server_version // 10_000
        if version < OLDEST_SERVER:
            raise DatabaseTooOld(display, version, OLDEST_SERVER)
        # A statement, not start-up options: connection poolers refuse those.
        connection.autocommit = True
        connection.execute(_SET_SESSION, [list(session), list(session.values())])
        connection.autocommit = False

    def translate(context: ExceptionContext) -> None:
        error = context.original_exception
        if not context.is_pre_ping and (named := _named(error, display, server)) is not None:
            raise named from error

    if server is not None:
        event.listen(engine, "do_connect", partial(_connect_embedded, server))
    event.listen(engine, "connect", prepare)
    event.listen(engine, "handle_error", translate)
    return Database(engine, display, server)


def _connect_embedded(
    server: EmbeddedServer, dialect: Dialect, _: object, where: tuple[Any], how: dict[str, Any]
) -> DBAPIConnection:
    """Connect to a server that may have died, or is still repairing itself after a crash."""
    deadline = time.monotonic() + _RECOVERY_TIMEOUT_S
    while True:
        server.ensure_running()
        try:
            return dialect.connect(*where, **how)
        except psycopg.OperationalError as error:
            soon = any(words in str(error) for words in _READY_SOON)
            if not soon or time.monotonic() > deadline:
                raise
        time.sleep(_RECOVERY_POLL_S)


def _named(
    error: BaseException, display: str, server: EmbeddedServer | None
) -> TidemillError | None:
    """Our name for trouble with the server; None when the statement itself is at fault."""
    if isinstance(error, psycopg.errors.DiskFull):
        return DatabaseFull(display)
    if isinstance(error, psycopg.errors.QueryCanceled) and "statement timeout" in str(error):
        return StatementTimedOut()
    if isinstance(error, psycopg.OperationalError) and (
        # Without a state it is the driver's own report of a connection that failed or broke.
        error.sqlstate is None or error.sqlstate.startswith(_LOST)
    ):
        said = str(error).partition("\n")[0].removeprefix("connection failed: ")
        hint = f"The log of the embedded server is {server.log}." if server else ""
        return DatabaseUnreachable(display, said or type(error).__name__, hint=hint)
    return None
