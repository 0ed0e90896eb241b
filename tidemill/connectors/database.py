"""What a connector offers that reads a billing system's own database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, Protocol

from sqlalchemy import Connection, Executable, FromClause, Select

from tidemill.connectors.schema import WantedTable
from tidemill.connectors.watching import Watched
from tidemill.errors import KeysCollide, KnobNotSupported
from tidemill.policy import Policy
from tidemill.relations import Relations

__all__ = ["DatabaseConnector", "Reading", "Wanted", "require_distinct", "require_told"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What relations are asked for."""

    base_currency: str
    fx_rates: FromClause
    #: Of these customer keys (one bigint column); of all when None.
    customers: Select[tuple[int]] | None = None
    #: With the tax on prices, if only what was invoiced tells of it.
    taxed: bool = False
    #: States that do not hold right before this instant may be missing.
    held_at: datetime | None = None


class Reading(Protocol):
    """One tenant of a billing database, its schema probed; statements only, nothing runs."""

    @property
    def title(self) -> str:
        """The billing system's name as people write it."""
        ...

    def relations(self, wanted: Wanted) -> Relations:
        """The relations of the tenant."""
        ...

    def freshness(self) -> Executable:
        """The source's name and the instant of its latest change."""
        ...

    def left_out(self) -> Executable:
        """What the numbers do not cover: in words, to follow a count, and how many there are."""
        ...

    def priced_by(self) -> Executable:
        """What prices are taken from: in words, to follow a count, and of how much."""
        ...

    def keys(self) -> Executable:
        """For each relation with hashed keys: its name, how many rows, how many distinct keys."""
        ...

    def watched(self) -> tuple[Watched, ...]:
        """Every table that customers' numbers rest on, and its mark of a change.

        None where this database does not tell what has changed.
        """
        ...


class DatabaseConnector(Protocol):
    """A billing system whose database is read in place."""

    name: ClassVar[str]
    title: ClassVar[str]
    tables: ClassVar[Mapping[str, WantedTable]]
    """Every table that is read, with its columns."""

    def read(self, connection: Connection, schema: str | None, tenant: str | None) -> Reading:
        """Look at the database: a few short statements.

        schema: where its tables are; the billing system's usual one when None.
        tenant: id or name of one of its tenants; may be None where there is only one.
        Raises: SchemaNotUnderstood, TenantNotChosen.
        """
        ...


# Knobs whose other values need to know when a change was written down, which nothing tells.
_TOLD: Final = {"event_time": "effective", "late_events": "restate"}


def require_told(policy: Policy) -> None:
    """Refuse a policy that asks for what no billing database writes down.

    Raises: KnobNotSupported.
    """
    for knob, value in _TOLD.items():
        if (asked := str(getattr(policy, knob))) != value:
            raise KnobNotSupported(knob, asked, [value])


def require_distinct(connection: Connection, reading: Reading) -> None:
    """Look whether hashed keys tell all rows apart; one statement.

    Raises: KeysCollide.
    """
    for relation, count, distinct in connection.execute(reading.keys()):
        if count != distinct:
            raise KeysCollide(reading.title, relation)
