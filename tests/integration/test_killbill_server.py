"""A real Kill Bill: what it writes is what is read, from its running database and from a file."""

from __future__ import annotations

import pytest

from tests.conftest import NewDatabase
from tests.support.in_place import url_of
from tests.support.killbill import OLDEST, tables_of
from tests.support.killbill_rows import load_rows
from tests.support.killbill_server import Unavailable, killbill_server
from tests.support.killbill_stories import check_stories, live
from tidemill.database import Database


def columns_in(database: Database) -> dict[str, set[str]]:
    """Table → its columns."""
    asked = "SELECT table_name, column_name FROM information_schema.columns"
    found: dict[str, set[str]] = {}
    with database.connect() as connection:
        for table, column in connection.exec_driver_sql(f"{asked} WHERE table_schema = 'public'"):
            found.setdefault(table, set()).add(column)
    return found


@pytest.mark.slow
def test_a_running_server(new_database: NewDatabase, database: Database) -> None:
    """It lives through the stories while we look on; its tables are those we know."""
    with new_database(schema=False) as billing:
        try:
            with killbill_server(billing) as server:
                live(server)
                check_stories(url_of(billing), database)
        except Unavailable as missing:
            pytest.skip(f"no Kill Bill here: {missing}")
        found = columns_in(billing)
        for table, columns in tables_of(OLDEST).items():
            assert found[table] == set(columns), table


def test_the_rows_it_wrote(new_database: NewDatabase, database: Database) -> None:
    """The same from the file of such a life, so that every run has it."""
    with new_database(schema=False) as billing:
        load_rows(billing)
        check_stories(url_of(billing), database)
