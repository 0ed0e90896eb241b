"""A Kill Bill database: the tables of one version, and rows as Kill Bill writes them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg import sql

from tests.support.lago import utc
from tidemill.database import Database

__all__ = [
    "CATALOG",
    "NEWEST",
    "OLDEST",
    "REPRICED",
    "KillBillBook",
    "catalog",
    "create_killbill",
    "tables_of",
]

_DATA: Final = Path(__file__).parents[1] / "data" / "killbill"
CATALOG: Final = (_DATA / "catalog-1.xml").read_text("utf-8")
REPRICED: Final = (_DATA / "catalog-2.xml").read_text("utf-8")
OLDEST, NEWEST = "0.22", "0.24"


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((_DATA / "schema.json").read_text("utf-8"))
    return document


def tables_of(version: str) -> dict[str, dict[str, tuple[str, bool]]]:
    """Table → column → type and whether it may be null, as of a version."""
    made = {}
    for table, columns in _document()["tables"].items():
        made[table] = {
            name: (kind, nullable)
            for name, (kind, nullable, since, _) in columns.items()
            if version == NEWEST or since.startswith("<=")
        }
    if version == OLDEST:
        made["invoice_payments"]["success"] = ("boolean", True)
    return made


def create_killbill(
    database: Database, version: str = NEWEST, schema: str = "public"
) -> KillBillBook:
    """Make the tables in an empty database, with one tenant and its catalogue."""
    with database.begin() as connection:
        connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        connection.exec_driver_sql(f'SET LOCAL search_path TO "{schema}"')
        connection.exec_driver_sql("CREATE DOMAIN datetime AS timestamp")
        connection.exec_driver_sql("CREATE DOMAIN mediumtext AS text")
        for table, columns in tables_of(version).items():
            lines = ", ".join(
                f'"{name}" {kind}{"" if nullable else " NOT NULL"}'
                for name, (kind, nullable) in columns.items()
            )
            connection.exec_driver_sql(f'CREATE TABLE "{table}" ({lines})')
            for index in _document()["indexes"][table]:
                found = re.match(r"(UNIQUE )?(\w+) USING (.*)", index)
                assert found is not None, index
                unique, name, rest = found.groups()
                named = set(re.findall(r"\w+", rest)) & set(_document()["tables"][table])
                if named <= columns.keys():
                    connection.exec_driver_sql(
                        f'CREATE {unique or ""}INDEX {name} ON "{table}" USING {rest}'
                    )
    book = KillBillBook(database, version, schema)
    book.new_tenant("hooli")
    return book


@dataclass
class KillBillBook:
    """Writes rows, giving every column that must not be null something."""

    database: Database
    version: str = NEWEST
    schema: str = "public"
    tenant: int = 0
    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def add(self, table: str, **values: Any) -> dict[str, Any]:
        """Keep a row for `save`: itself, with its number and id."""
        self.numbers[table] = self.numbers.get(table, 0) + 1
        row = {"record_id": self.numbers[table], "id": str(uuid4())}
        row |= {"tenant_record_id": self.tenant, "is_active": True, **values}
        self.rows.append((table, row))
        return row

    def save(self) -> None:
        """Write what is kept."""
        tables = tables_of(self.version)
        with self.database.begin() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            for table, values in self.rows:
                columns = tables[table]
                filled = {
                    name: _default(kind)
                    for name, (kind, nullable) in columns.items()
                    if not nullable
                }
                filled |= {name: value for name, value in values.items() if name in columns}
                raw.execute(
                    sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                        sql.Identifier(self.schema, table),
                        sql.SQL(", ").join(map(sql.Identifier, filled)),
                        sql.SQL(", ").join(sql.Placeholder() * len(filled)),
                    ),
                    list(filled.values()),
                )
        self.rows.clear()

    # --- as Kill Bill writes them -----------------------------------------------------------------

    def new_tenant(self, name: str, *catalogs: str) -> None:
        """Another tenant, whose rows follow."""
        row = self.add("tenants", external_key=name, api_key=name)
        self.tenant = row["record_id"]
        for each in catalogs or (CATALOG, REPRICED):
            self.add("tenant_kvs", tenant_key="CATALOG", tenant_value=each)

    def account(self, name: str = "c", currency: str | None = "USD") -> dict[str, Any]:
        key = f"{name}-{self.tenant}"
        return self.add("accounts", external_key=key, name=name, currency=currency)

    def bundle(self, account: dict[str, Any]) -> dict[str, Any]:
        return self.add(
            "bundles", account_id=account["id"], account_record_id=account["record_id"],
            external_key=str(uuid4()),
        )  # fmt: skip

    def subscription(
        self, account: dict[str, Any], *events: tuple[Any, ...], bundle: Any = None
    ) -> dict[str, Any]:
        """A subscription with its events: (kind, effective, what it carries)."""
        bundle = bundle or self.bundle(account)
        row = self.add(
            "subscriptions", bundle_id=bundle["id"], external_key=str(uuid4()), category="BASE",
            account_record_id=account["record_id"],
        )  # fmt: skip
        for kind, at, *carried in events:
            self.event(row, kind, at, **(carried[0] if carried else {}))
        return row

    def event(self, subscription: dict[str, Any], kind: str, at: str, **more: Any) -> None:
        plan = more.pop("plan", None)
        phase = more.pop("phase", "evergreen" if plan else None)
        of_user = kind not in {"PHASE", "QUANTITY_UPDATE", "BCD_UPDATE", "EXPIRED"}
        values = {
            "event_type": "API_USER" if of_user else kind,
            "user_type": kind if of_user else None,
            "effective_date": utc(at),
            "created_date": utc(more.pop("asked", at)),
            "subscription_id": subscription["id"],
            "plan_name": plan if kind != "PHASE" else None,
            "phase_name": f"{plan}-{phase}" if plan else None,
            "quantity": 0,
            "account_record_id": subscription["account_record_id"],
        }
        self.add("subscription_events", **values | more)

    def block(self, of: dict[str, Any], at: str, *, billing: bool, **more: Any) -> None:
        """A blocking state of an account, a bundle or a subscription."""
        values = {
            "blockable_id": of["id"],
            "type": "SUBSCRIPTION_BUNDLE",
            "service": "entitlement-service",
            "state": "ENT_BLOCKED" if billing else "ENT_CLEAR",
            "block_billing": billing,
            "effective_date": utc(at),
        }
        self.add("blocking_states", **values | more)

    def override(self, plan: str, phase: str, price: int, currency: str = "USD") -> str:
        """A plan with a price of its own: its name."""
        made = self.add("catalog_override_plan_definition", parent_plan_name=plan)
        own = self.add(
            "catalog_override_phase_definition", parent_phase_name=f"{plan}-{phase}",
            currency=currency, recurring_price=price,
        )  # fmt: skip
        self.add(
            "catalog_override_plan_phase", phase_number=1, phase_def_record_id=own["record_id"],
            target_plan_def_record_id=made["record_id"],
        )  # fmt: skip
        return f"{plan}-{made['record_id']}"


def _default(kind: str) -> Any:
    if kind in {"datetime", "date"}:
        return datetime(2024, 1, 1)  # noqa: DTZ001 - Kill Bill's columns have no zone
    if kind == "boolean":
        return False
    return 0 if kind.startswith(("bigint", "integer", "numeric")) else ""


def catalog(effective: str, *plans: str) -> str:
    """A version of the catalogue with these plans' XML."""
    return (
        f"<catalog><effectiveDate>{effective}</effectiveDate>"
        f"<catalogName>Hooli</catalogName><plans>{''.join(plans)}</plans></catalog>"
    )
