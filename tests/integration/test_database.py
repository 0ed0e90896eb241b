"""The database as every room above uses it: addresses, sessions, transactions, lost servers."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import InternalError, ProgrammingError

from tests.conftest import TEST_SETTINGS
from tests.integration.processes import kill
from tidemill import database as module
from tidemill.database import Database, connect
from tidemill.embedded import EmbeddedServer
from tidemill.errors import (
    DatabaseTooOld,
    DatabaseUnreachable,
    InvalidSettings,
    StatementTimedOut,
    Transient,
)

SECRET = "s3cret-Pa55"


def setting(database: Database, name: str) -> object:
    with database.connect() as connection:
        return connection.scalar(sa.select(sa.func.current_setting(name)))


def url_of(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_the_schemes_people_write(database: Database, scheme: str) -> None:
    url = scheme + "://" + url_of(database).partition("://")[2]
    with connect(url) as same, same.connect() as connection:
        assert connection.scalar(sa.select(sa.literal(1))) == 1
        assert not same.embedded


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://root:{SECRET}@localhost/x",
        f"postgresql+asyncpg://root:{SECRET}@localhost/x",
        f"root:{SECRET}@localhost",
        f"postgresql://root:{SECRET}@localhost:port/x",
        "",
    ],
)
def test_what_is_no_postgresql_address(url: str) -> None:
    with pytest.raises(InvalidSettings, match="database_url") as caught:
        connect(url)
    assert SECRET not in str(caught.value)
    assert "postgresql://user:password@host:5432/name" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://somebody:{SECRET}@127.0.0.1:1/x",
        f"postgresql://somebody@127.0.0.1:1/x?password={SECRET}",
        f"postgresql://somebody:{SECRET}@/x?host=/nowhere&sslpassword={SECRET}",
    ],
)
def test_an_unreachable_server_without_the_password(url: str) -> None:
    with pytest.raises(DatabaseUnreachable) as caught:
        connect(url)
    assert isinstance(caught.value, Transient)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__
    assert "somebody@" in caught.value.message
    assert "failed" in caught.value.message


def test_a_database_that_does_not_exist(postgres_url: str) -> None:
    with pytest.raises(DatabaseUnreachable, match='database "nowhere" does not exist'):
        connect(postgres_url.replace("@/postgres?", "@/nowhere?"))


def test_a_server_too_old(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLDEST_SERVER", 99)
    with pytest.raises(DatabaseTooOld, match=r"runs PostgreSQL \d\d; Tidemill needs 99 or newer"):
        connect(url_of(database))


# --- sessions -------------------------------------------------------------------------------------


def test_sessions_run_in_utc_whatever_the_server_says(database: Database) -> None:
    with database.begin() as connection:
        name = database.engine.url.database
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
    with connect(url_of(database)) as fresh:
        assert setting(fresh, "TimeZone") == "UTC"
        assert setting(fresh, "jit") == "off"
        assert setting(fresh, "application_name") == "tidemill"


def test_read_only(database: Database) -> None:
    with (
        connect(url_of(database), read_only=True) as reader,
        pytest.raises(InternalError, match="read-only transaction"),
        reader.begin() as connection,
    ):
        connection.exec_driver_sql("CREATE TABLE t (i int)")


def test_read_only_again_and_again(database: Database) -> None:
    """Also on a pooled connection that was used before, for a snapshot or anything else."""
    with connect(url_of(database), read_only=True) as reader:
        for _ in range(3):
            with reader.snapshot() as connection:
                assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
            with reader.connect() as connection:
                assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
            with reader.writable().begin() as connection:
                assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "off"


def test_a_statement_has_a_time_limit(database: Database) -> None:
    with connect(url_of(database), statement_timeout_s=0.05) as impatient:
        with (
            pytest.raises(StatementTimedOut) as caught,
            impatient.connect() as connection,
        ):
            connection.execute(sa.select(sa.func.pg_sleep(30)))
        assert caught.value.hint
        assert setting(impatient, "statement_timeout") == "50ms"


# --- transactions ---------------------------------------------------------------------------------


@pytest.fixture
def table(database: Database) -> sa.TableClause:
    """A table with one row, 1."""
    with database.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (i int); INSERT INTO t VALUES (1)")
    return sa.table("t", sa.column("i", sa.Integer))


def test_begin_commits_or_rolls_back(database: Database, table: sa.TableClause) -> None:
    with database.begin() as connection:
        connection.execute(table.insert().values(i=2))

    def fail() -> None:
        with database.begin() as connection:
            connection.execute(table.insert().values(i=3))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with database.connect() as connection:
        assert connection.scalars(sa.select(table.c.i)).all() == [1, 2]


def test_a_snapshot_sees_one_moment_and_cannot_write(
    database: Database, table: sa.TableClause
) -> None:
    with database.snapshot() as reading:
        assert reading.scalars(sa.select(table.c.i)).all() == [1]
        with database.begin() as writing:
            writing.execute(table.insert().values(i=2))
        assert reading.scalars(sa.select(table.c.i)).all() == [1]
        with pytest.raises(InternalError, match="read-only transaction"):
            reading.execute(table.insert().values(i=3))
    # The options of the snapshot do not stay with the pooled connection.
    with database.begin() as connection:
        connection.execute(table.insert().values(i=4))
        isolation = connection.scalar(sa.select(sa.func.current_setting("transaction_isolation")))
    assert isolation == "read committed"


# --- lost servers ---------------------------------------------------------------------------------


def end_session(database: Database, connection: sa.Connection) -> None:
    """End a session from the server's side."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    with connect(url_of(database)) as other, other.connect() as admin:
        end = sa.func.pg_terminate_backend(driver.info.backend_pid, 30_000)
        assert admin.scalar(sa.select(end))


def one(connection: sa.Connection) -> object:
    return connection.scalar(sa.select(sa.literal(1)))


def test_a_session_ended_by_the_server(database: Database) -> None:
    def lose() -> None:
        with database.begin() as connection:
            end_session(database, connection)
            one(connection)

    with pytest.raises(DatabaseUnreachable, match="terminating connection"):
        lose()
    with database.begin() as connection:
        assert one(connection) == 1


def test_a_session_ended_while_idle_goes_unnoticed(database: Database) -> None:
    with database.connect() as connection, connect(url_of(database)) as other:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        pid = driver.info.backend_pid
        connection.close()
        with other.connect() as admin:
            assert admin.scalar(sa.select(sa.func.pg_terminate_backend(pid, 30_000)))
    with database.begin() as connection:
        assert one(connection) == 1


def test_a_session_that_ends_during_copy(database: Database, table: sa.TableClause) -> None:
    def lose() -> None:
        with database.begin() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            with driver.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
                copy.write(b"2\n")
                end_session(database, connection)
                copy.write(b"3\n" * 100_000)

    with pytest.raises(DatabaseUnreachable):
        lose()
    with database.connect() as connection:
        assert connection.scalars(sa.select(table.c.i)).all() == [1]


def test_the_embedded_server_dies_while_in_use_and_comes_back(tmp_path: Path) -> None:
    def lose() -> None:
        with database.begin() as connection:
            kill(int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0]))
            one(connection)

    with (
        EmbeddedServer(tmp_path, settings=TEST_SETTINGS),
        connect(None, data_dir=tmp_path) as database,
    ):
        assert database.embedded
        assert str(tmp_path) in database.url_display
        with pytest.raises(DatabaseUnreachable) as caught:
            lose()
        assert str(tmp_path / "postgres" / "log") in caught.value.hint
        # Nobody had to start it again.
        with database.begin() as connection:
            assert one(connection) == 1


def test_a_crash_of_one_session_is_waited_out(tmp_path: Path) -> None:
    """PostgreSQL restarts itself when a session crashes, and refuses connections meanwhile."""

    def lose() -> None:
        with database.begin() as connection:
            kill(int(connection.scalar(sa.select(sa.func.pg_backend_pid())) or 0))
            one(connection)

    with (
        EmbeddedServer(tmp_path, settings=TEST_SETTINGS),
        connect(None, data_dir=tmp_path) as database,
    ):
        with pytest.raises(DatabaseUnreachable):
            lose()
        with database.begin() as connection:
            assert one(connection) == 1


def test_faults_of_a_statement_keep_their_names(database: Database) -> None:
    def through_the_driver() -> None:
        with database.begin() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            driver.execute("SELECT * FROM nowhere")

    with pytest.raises(ProgrammingError), database.begin() as connection:
        connection.exec_driver_sql("SELECT * FROM nowhere")
    with pytest.raises(psycopg.errors.UndefinedTable):
        through_the_driver()
