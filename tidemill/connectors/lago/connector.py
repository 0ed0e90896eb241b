"""Lago as a database connector: which organization, and what the numbers do not cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from sqlalchemy import (
    Connection,
    Executable,
    Text,
    cast,
    distinct,
    func,
    literal,
    select,
    union_all,
)

from tidemill.connectors.database import Wanted
from tidemill.connectors.keys import instant, key
from tidemill.connectors.lago.relations import lago_relations
from tidemill.connectors.lago.tables import TABLES
from tidemill.connectors.lago.watching import watched
from tidemill.connectors.schema import Schema, WantedTable, probe
from tidemill.connectors.watching import Watched, marked
from tidemill.errors import TenantNotChosen
from tidemill.relations import Relations

__all__ = ["Lago", "LagoReading"]


class Lago:
    """Reads Lago from v1.0 (2024-03) on."""

    name: ClassVar[str] = "lago"
    title: ClassVar[str] = "Lago"
    tables: ClassVar[Mapping[str, WantedTable]] = TABLES

    def read(self, connection: Connection, schema: str | None, tenant: str | None) -> LagoReading:
        """The organization `tenant`, by id or name; see `DatabaseConnector.read`."""
        found = probe(connection, self.title, schema or "public", self.tables)
        row = found.table("organizations")
        named = select(row.c.id, row.c.name).order_by(row.c.name, row.c.id)
        known = [(each.id, each.name) for each in connection.execute(named)]
        wanted = [id_ for id_, name in known if tenant in {None, name, str(id_)}]
        if len(wanted) != 1:
            raise TenantNotChosen(self.title, tenant, (f"{name} ({id_})" for id_, name in known))
        return LagoReading(found, wanted[0])


@dataclass(frozen=True, slots=True)
class LagoReading:
    """One organization of a Lago database."""

    schema: Schema
    organization: UUID
    title: str = Lago.title

    def relations(self, wanted: Wanted) -> Relations:
        """See `Reading.relations`."""
        return lago_relations(self.schema, self.organization, wanted)

    def freshness(self) -> Executable:
        """The latest start or end of a subscription that has happened."""
        row, customer = self.schema.table("subscriptions"), self.schema.table("customers")
        latest = func.max(func.greatest(row.c.created_at, row.c.started_at, row.c.terminated_at))
        return (
            select(literal(Lago.name, Text), instant(latest))
            .join_from(row, customer, customer.c.id == row.c.customer_id)
            .where(customer.c.organization_id == self.organization)
        )

    def left_out(self) -> Executable:
        """Plans whose price is in rate cards."""
        plan = self.schema.table("plans")
        return select(cast(literal("plans priced by rate cards"), Text), func.count()).where(
            plan.c.organization_id == self.organization, plan.c.amount_cents.is_(None)
        )

    def priced_by(self) -> Executable:
        """Plans and their fixed charges; see `Reading.priced_by`."""
        plan, charge = self.schema.table("plans"), self.schema.table("fixed_charges")
        own = plan.c.organization_id == self.organization
        said = cast(literal("plans, by their flat fees where one was changed"), Text)
        fixed = (
            select(cast(literal("fixed charges of plans"), Text), func.count())
            .join_from(charge, plan, plan.c.id == charge.c.plan_id)
            .where(own, charge.c.deleted_at.is_(None))
        )
        plans = select(said, func.count()).where(own, plan.c.amount_cents.is_not(None))
        return union_all(plans, fixed)

    def keys(self) -> Executable:
        """Customers and subscription rows; other keys are only ever used beside them."""
        counts = []
        for name in ("customers", "subscriptions"):
            row = self.schema.table(name)
            own = literal(name, Text)
            counts.append(select(own, func.count(), func.count(distinct(key(row.c.id)))))
        return union_all(*counts)

    def watched(self) -> tuple[Watched, ...]:
        """See `Reading.watched`."""
        return marked(self.schema, "updated_at", watched(self.schema, self.organization))
