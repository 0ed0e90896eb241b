"""The database as every room above uses it: sessions, transactions, errors."""

from __future__ import annotations

import sqlalchemy as sa

from tidemill.database import Database, SchemaState, schema_state


def test_sessions_run_in_utc(database: Database) -> None:
    with database.connect() as connection:
        assert connection.scalar(sa.select(sa.func.current_setting("TimeZone"))) == "UTC"


def test_a_fresh_clone_has_the_newest_schema(database: Database) -> None:
    assert schema_state(database.engine) is SchemaState.CURRENT


def test_an_empty_database_is_behind(empty_database: Database) -> None:
    assert schema_state(empty_database.engine) is SchemaState.BEHIND
