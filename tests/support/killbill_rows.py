"""The rows that a real Kill Bill wrote while the stories were lived, as a file for every test run.

``python -m tests.support.killbill_rows`` lives them anew and writes the file; it needs what the
server needs, and some two minutes.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from tests.support.killbill import OLDEST, create_killbill, tables_of
from tidemill.database import Database

__all__ = ["export_rows", "load_rows"]

_FILE: Final = Path(__file__).parents[1] / "data" / "killbill" / "rows.json"
_SECRET: Final = frozenset({"api_key", "api_secret", "api_salt"})


def export_rows(database: Database) -> dict[str, Any]:
    """Every row of the tables that are read: table → columns and rows, by number."""
    document: dict[str, Any] = {}
    with database.connect() as connection:
        for table, columns in sorted(tables_of(OLDEST).items()):
            names = [name for name in columns if name not in _SECRET]
            listed = ", ".join(f'"{name}"' for name in names)
            asked = f'SELECT {listed} FROM "{table}" ORDER BY record_id'  # noqa: S608 - our own names
            rows = [list(row) for row in connection.exec_driver_sql(asked)]
            document[table] = {"columns": names, "rows": rows}
    return document


def load_rows(database: Database) -> None:
    """Make the tables in an empty database, and put the rows of the file into them."""
    create_killbill(database, OLDEST)
    document = json.loads(_FILE.read_text("utf-8"))
    with database.begin() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        for table, told in document.items():
            # What was left out must be something all the same.
            extra = [each for each in tables_of(OLDEST)[table] if each in _SECRET]
            names = [*told["columns"], *extra]
            insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, names)),
                sql.SQL(", ").join(sql.Placeholder() * len(names)),
            )
            rows = [[*row, *([""] * len(extra))] for row in told["rows"]]
            with raw.cursor() as cursor:
                cursor.executemany(insert, rows)


def _write(document: dict[str, Any]) -> None:
    """One row a line, so that a difference can be read."""
    tables = []
    for table, told in document.items():
        rows = ",\n".join(json.dumps(row, default=str, ensure_ascii=False) for row in told["rows"])
        columns = json.dumps(told["columns"])
        tables.append(f'"{table}": {{"columns": {columns}, "rows": [\n{rows}\n]}}')
    _FILE.write_text("{\n" + ",\n".join(tables) + "\n}\n", "utf-8")


def _main() -> None:
    from tests.support.killbill_server import killbill_server
    from tests.support.killbill_stories import live
    from tidemill.database import connect
    from tidemill.embedded import EmbeddedServer

    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer(Path(folder)) as postgres,
        connect(postgres.url(), migrate=False) as database,
        killbill_server(database) as server,
    ):
        live(server)
        _write(export_rows(database))


if __name__ == "__main__":
    _main()
