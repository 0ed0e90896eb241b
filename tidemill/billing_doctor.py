"""A check-up of a billing database that is read in place: who reads it, and what can be read.

Nothing is changed, and nothing but what a question would look at is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Text, cast, func, literal, select, union_all

from tidemill.connectors.database import (
    DatabaseConnector,
    Reading,
    Wanted,
    require_distinct,
    require_told,
)
from tidemill.connectors.empty import nothing
from tidemill.connectors.schema import WantedTable
from tidemill.database import Database
from tidemill.doctor import Finding
from tidemill.errors import KnobNotSupported, SchemaNotUnderstood, TidemillError
from tidemill.policy import Policy

__all__ = ["check_billing"]

_WRITES: Final = "INSERT, UPDATE, DELETE, TRUNCATE"


def check_billing(
    database: Database,
    connector: DatabaseConnector,
    schema: str | None,
    tenant: str | None,
    policy: Policy,
) -> Iterator[Finding]:
    """Every finding; what a question could not get over is the last one.

    database: the billing system's, opened to read only.
    policy:   the configured one.
    """
    title = connector.title
    with database.snapshot() as connection:
        version, standby, role, read_only = connection.execute(
            select(
                func.current_setting("server_version"),
                func.pg_is_in_recovery(),
                func.current_user(),
                func.current_setting("transaction_read_only"),
            )
        ).one()
        kind = "a hot standby" if standby else "the server itself"
        where = f"{database.url_display}, PostgreSQL {str(version).split()[0]}, {kind}"
        yield Finding(f"database of {title}", "ok", where)
        said = f"transactions of the role {role} are read-only: {read_only}"
        yield Finding("read only", "ok" if read_only == "on" else "wrong", said)
        yield from _rights(connection, connector.tables, schema or "public", role)
        try:
            reading = connector.read(connection, schema, tenant)
        except SchemaNotUnderstood as error:
            hint = f"deploy/{connector.name}/read-only-role.sql grants what is needed. {error.hint}"
            for each in error.problems:
                yield Finding(each.path, "wrong", each.problem, hint)
            return
        except TidemillError as error:
            yield Finding("tenant", "wrong", error.message, error.hint)
            return
        yield Finding("schema", "ok", f"every table and column that must be there is; {title}")
        yield from _read(connection, reading, policy)


def _rights(
    connection: Connection, tables: Mapping[str, WantedTable], schema: str, role: str
) -> Iterator[Finding]:
    """Whether the role could write what it is meant to read; it never does."""
    asked = union_all(
        *(
            select(cast(literal(name), Text).label("name"), _may_write(f"{schema}.{name}"))
            for name in sorted(tables)
        )
    )
    writable = [name for name, may in connection.execute(asked) if may]
    if writable:
        hint = "A role that may only read is enough; see deploy/ for one."
        more = f"{len(writable)} tables, such as {writable[0]}"
        yield Finding("rights", "warning", f"the role {role} could write {more}", hint)
    else:
        yield Finding("rights", "ok", f"the role {role} could write none of the tables")


def _may_write(table: str) -> Any:
    """Null where there is no such table."""
    return func.has_table_privilege(func.to_regclass(table), _WRITES)


def _read(connection: Connection, reading: Reading, policy: Policy) -> Iterator[Finding]:
    try:
        require_distinct(connection, reading)
        require_told(policy)
    except KnobNotSupported as error:
        yield Finding("policy", "wrong", error.message, error.hint)
    except TidemillError as error:
        yield Finding("keys", "wrong", error.message, error.hint)
        return
    relations = reading.relations(Wanted("USD", nothing("fx_rates")))
    counts = {
        name: connection.execute(select(func.count()).select_from(getattr(relations, name)))
        for name in ("customers", "subscriptions", "subscription_versions", "payments")
    }
    counted = ", ".join(
        f"{each.scalar_one():,} {name.replace('subscription_versions', 'states of them')}"
        for name, each in counts.items()
    )
    for source, at in connection.execute(reading.freshness()):
        latest = (
            f"; the latest change of a subscription is of {at:%Y-%m-%d %H:%M} UTC" if at else ""
        )
        yield Finding(f"source {source}", "ok", f"{counted}{latest}")
    told = connection.execute(reading.priced_by())
    yield Finding("prices", "ok", ", ".join(f"{count:,} {what}" for what, count in told))
    for what, count in connection.execute(reading.left_out()):
        if count:
            yield Finding("left out", "warning", f"not counted: {count:,} {what}")
    unknown = f"{reading.title} does not keep what was known on an earlier date (known_at, diff)"
    yield Finding("not known here", "ok", unknown)
