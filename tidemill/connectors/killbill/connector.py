"""Kill Bill as a database connector: which tenant, its catalogue, what the numbers leave out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from sqlalchemy import (
    Connection,
    Executable,
    Text,
    false,
    func,
    literal,
    select,
    true,
)

from tidemill.connectors.database import Wanted
from tidemill.connectors.keys import instant
from tidemill.connectors.killbill.catalog import CatalogError, CatalogVersion, parse_catalog
from tidemill.connectors.killbill.pricing import left_out, priced_by
from tidemill.connectors.killbill.relations import killbill_relations
from tidemill.connectors.killbill.tables import TABLES
from tidemill.connectors.killbill.watching import watched
from tidemill.connectors.schema import Schema, WantedTable, probe
from tidemill.connectors.watching import Watched, marked
from tidemill.errors import SchemaNotUnderstood, TenantNotChosen
from tidemill.problems import Problem
from tidemill.relations import Relations

__all__ = ["KillBill", "KillBillReading"]


class KillBill:
    """Reads Kill Bill from 0.22 on, with the analytics plugin or without."""

    name: ClassVar[str] = "killbill"
    title: ClassVar[str] = "Kill Bill"
    tables: ClassVar[Mapping[str, WantedTable]] = TABLES

    def read(
        self, connection: Connection, schema: str | None, tenant: str | None
    ) -> KillBillReading:
        """The tenant, by id or external key; see `DatabaseConnector.read`."""
        found = probe(connection, self.title, schema or "public", self.tables)
        row = found.table("tenants")
        named = select(row.c.record_id, row.c.id, row.c.external_key).order_by(row.c.record_id)
        known = connection.execute(named).all()
        wanted = [each.record_id for each in known if tenant in {None, each.external_key, each.id}]
        if len(wanted) != 1:
            names = (f"{each.external_key or 'unnamed'} ({each.id})" for each in known)
            raise TenantNotChosen(self.title, tenant, names)
        return KillBillReading(found, wanted[0], self._catalog(connection, found, wanted[0]))

    def _catalog(
        self, connection: Connection, schema: Schema, tenant: int
    ) -> tuple[CatalogVersion, ...]:
        row = schema.table("tenant_kvs")
        versions, problems = [], []
        for number, text in connection.execute(
            select(row.c.record_id, row.c.tenant_value)
            .where(
                row.c.tenant_record_id == tenant,
                row.c.tenant_key == "CATALOG",
                row.c.is_active.is_(true()),
            )
            .order_by(row.c.record_id)
        ):
            try:
                versions.append(parse_catalog(text))
            except CatalogError as error:
                problems.append(Problem(f"{schema.name}.tenant_kvs, row {number}", str(error)))
        if problems:
            raise SchemaNotUnderstood(self.title, problems)
        return tuple(versions)


@dataclass(frozen=True, slots=True)
class KillBillReading:
    """One tenant of a Kill Bill database."""

    schema: Schema
    tenant: int
    catalog: tuple[CatalogVersion, ...]
    title: str = KillBill.title

    def relations(self, wanted: Wanted) -> Relations:
        """See `Reading.relations`; taxes are items of their own, on no price."""
        return killbill_relations(self.schema, self.tenant, self.catalog, wanted)

    def freshness(self) -> Executable:
        """When the latest event of a subscription was written."""
        row = self.schema.table("subscription_events")
        return select(literal(KillBill.name, Text), instant(func.max(row.c.created_date))).where(
            row.c.tenant_record_id == self.tenant
        )

    def left_out(self) -> Executable:
        """Subscriptions whose price is told nowhere, and accounts without a currency."""
        return left_out(self.schema, self.tenant, self.catalog)

    def priced_by(self) -> Executable:
        """The catalogue, the analytics plugin's tables, and invoices; see `Reading.priced_by`."""
        return priced_by(self.schema, self.tenant, self.catalog)

    def keys(self) -> Executable:
        """None is hashed: every table here is numbered."""
        return select(literal("", Text), literal(0), literal(0)).where(false())

    def watched(self) -> tuple[Watched, ...]:
        """See `Reading.watched`."""
        return marked(self.schema, "updated_date", watched(self.schema, self.tenant))
