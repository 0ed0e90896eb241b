"""Databases that tests give back are emptied and lent again: quicker than making another.

A clone of the schema is hundreds of files. A database given back is as new when its rows, its
statistics and the values of its sequences are gone, and nothing else about it has changed; where a
test changed its tables, its roles' rights or its settings, it is dropped.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, LiteralString

import psycopg
from psycopg import sql

__all__ = ["Lender"]

# Every use leaves dead rows in the catalogue, and nothing cleans up while tests run.
_USES_MAX: Final = 40

# All that a test may have changed beside rows. The oid of a table stays when it is emptied, and
# rows of the catalogue that nobody touched are those of the transaction that made them.
_SHAPE: Final[LiteralString] = """
SELECT concat_ws(' ',
    (SELECT md5(string_agg(concat_ws(' ', oid, relname, relkind, relpersistence, reloptions, relacl,
                                     relrowsecurity, relhastriggers), ',' ORDER BY oid))
     FROM pg_class WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
                     AND relname <> 'tidemill_schema_version'),
    (SELECT md5(string_agg(concat_ws(' ', nspname, nspacl), ',' ORDER BY oid))
     FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'),
    (SELECT concat(count(*), '@', max(xmin::text::bigint)) FROM pg_attribute),
    (SELECT concat(count(*), '@', max(xmin::text::bigint)) FROM pg_attrdef),
    (SELECT concat(count(*), '@', max(xmin::text::bigint)) FROM pg_constraint),
    (SELECT concat(count(*), '@', max(xmin::text::bigint)) FROM pg_index),
    (SELECT concat(count(*), '@', max(xmin::text::bigint)) FROM pg_proc),
    (SELECT concat(count(*), '@', max(xmin::text::bigint)) FROM pg_trigger),
    (SELECT concat(count(*), '@', max(xmin::text::bigint)) FROM pg_type),
    (SELECT concat(count(*), '@', max(xmin::text::bigint)) FROM pg_rewrite),
    (SELECT count(*) FROM pg_extension), (SELECT count(*) FROM pg_event_trigger),
    (SELECT count(*) FROM pg_default_acl), (SELECT count(*) FROM pg_largeobject_metadata),
    (SELECT string_agg(concat_ws(' ', setrole, setconfig), ',') FROM pg_db_role_setting
     WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))),
    (SELECT concat_ws(' ', datacl, datallowconn, datconnlimit)
     FROM pg_database WHERE datname = current_database()))
"""

# The version of the schema is the one row that a new database has.
_EMPTY: Final[LiteralString] = """
DO $$
DECLARE
    filled text; begun regclass;
BEGIN
    SELECT string_agg(oid::regclass::text, ', ') INTO filled FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
      AND relname <> 'tidemill_schema_version' AND pg_relation_size(oid) > 0;
    IF filled IS NOT NULL THEN
        EXECUTE 'TRUNCATE ' || filled || ' CASCADE';
    END IF;
    FOR begun IN SELECT format('%I.%I', schemaname, sequencename)::regclass FROM pg_sequences
                 WHERE last_value IS NOT NULL LOOP
        EXECUTE format('ALTER SEQUENCE %s RESTART', begun);
    END LOOP;
    DELETE FROM pg_statistic WHERE starelid >= 16384;
    PERFORM pg_stat_reset();
END $$
"""

_VERSION: Final[LiteralString] = "SELECT string_agg(t::text, ',') FROM tidemill_schema_version t"


class Lender:
    """Lends clones of one database, as new."""

    def __init__(
        self,
        admin: psycopg.Connection[tuple[object, ...]],
        address: Callable[[str], str],
        template: str,
    ) -> None:
        """admin: connection to the server's maintenance database. address: of a database."""
        self._admin, self._address, self._template = admin, address, template
        self._numbers = itertools.count(1)
        self._uses: dict[str, int] = {}
        self._free: list[str] = []
        self._shape: object = None

    @contextmanager
    def clone(self) -> Iterator[str]:
        """The name of a database without a row; whoever is connected at the end is cut off."""
        name = self._free.pop() if self._free else self._make()
        self._uses[name] += 1
        try:
            yield name
        finally:
            if self._uses[name] < _USES_MAX and self._cleaned(name):
                self._free.append(name)
            else:
                self._drop(name)

    @contextmanager
    def bare(self) -> Iterator[str]:
        """The name of a database without a table."""
        name = self._create("template0")
        try:
            yield name
        finally:
            self._drop(name)

    def close(self) -> None:
        """Drop what waits to be lent again."""
        while self._free:
            self._drop(self._free.pop())

    def _make(self) -> str:
        name = self._create(self._template)
        self._uses[name] = 0
        if self._shape is None:
            with psycopg.connect(self._address(name), autocommit=True) as connection:
                self._shape = self._seen(connection)
        return name

    def _create(self, template: str) -> str:
        name = f"tidemill_test_{os.getpid()}_{next(self._numbers)}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        self._admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def _drop(self, name: str) -> None:
        self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _cleaned(self, name: str) -> bool:
        """Whether a database could be made as new."""
        try:
            self._admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                [name],
            )
            with psycopg.connect(self._address(name), autocommit=True) as connection:
                if self._seen(connection) != self._shape:
                    return False
                connection.execute(_EMPTY)
                return True
        except psycopg.Error:
            return False

    def _seen(self, connection: psycopg.Connection[tuple[object, ...]]) -> object:
        return connection.execute(_SHAPE).fetchone(), connection.execute(_VERSION).fetchone()
