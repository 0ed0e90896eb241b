"""A Lago database: its tables as they are in one version, and rows as Lago writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tidemill.database import Database

__all__ = ["INTERVALS", "NEWEST", "LagoBook", "create_lago", "statements", "utc"]

_FILE: Final = Path(__file__).parents[1] / "data" / "lago" / "schema.json"
NEWEST: Final = (9, 0)
"""Later than every version: the schema with everything in it."""
INTERVALS: Final = {
    ("week", 1): 0, ("month", 1): 1, ("year", 1): 2, ("month", 3): 3, ("month", 6): 4,
}  # fmt: skip
_KNOWN_TYPES: Final = {
    "uuid", "varchar", "text", "integer", "bigint", "boolean", "timestamp", "date", "jsonb",
    "numeric", "double precision", "smallint",
}  # fmt: skip


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return document


def _version(since: str) -> tuple[int, int]:
    """When a column came: ``<=v1.45.0``, or later than the last tag."""
    found = re.match(r"<=v(\d+)\.(\d+)", since)
    return (int(found[1]), int(found[2])) if found else (2, 0)


def _columns(version: tuple[int, int]) -> dict[str, dict[str, tuple[str, bool]]]:
    """Table → column → type and whether it may be null, as of a version."""
    made: dict[str, dict[str, tuple[str, bool]]] = {}
    for table, columns in _document()["tables"].items():
        there = {
            name: (kind, nullable)
            for name, (kind, nullable, since) in columns.items()
            if _version(since) <= version
        }
        if there:
            made[table] = there
    return made


def _type(kind: str) -> str:
    """Enumerations of Lago's own become text here, where a test does not make them."""
    bare = re.sub(r"\(.*\)|\[\]", "", kind)
    return kind if bare in _KNOWN_TYPES else f'"{kind}"'


def statements(version: tuple[int, int] = NEWEST) -> list[str]:
    """The statements that make the tables and their indexes."""
    tables = _columns(version)
    enums = {
        kind for columns in tables.values() for kind, _ in columns.values() if _type(kind) != kind
    }
    made = [_enum(each) for each in sorted(enums)]
    for table, columns in tables.items():
        lines = [
            f'"{name}" {_type(kind)}{"" if nullable else " NOT NULL"}'
            for name, (kind, nullable) in columns.items()
        ]
        made.append(f'CREATE TABLE "{table}" ({", ".join(lines)})')
        for index in _document()["indexes"][table]:
            found = re.match(r"(UNIQUE )?(\w+) USING (.*)", index)
            assert found is not None, index
            named = set(re.findall(r"\w+", found[3])) & set(_document()["tables"][table])
            if named <= columns.keys():
                _, name, rest = found.groups()
                # Only keys are unique here: rows leave columns that no test is about alike.
                unique = "UNIQUE " if name.endswith("_pkey") else ""
                made.append(f'CREATE {unique}INDEX {name} ON "{table}" USING {rest}')
    return made


_ENUMS: Final = {
    "customer_account_type": ("customer", "partner"),
    "customer_type": ("company", "individual"),
    "fixed_charge_charge_model": ("standard", "graduated", "volume"),
    "payment_payable_payment_status": ("pending", "processing", "succeeded", "failed"),
    "payment_type": ("provider", "manual"),
}


def _enum(name: str) -> str:
    members = ", ".join(
        f"'{each}'"
        for each in _ENUMS.get(name, ("flat", "subscription_starting", "subscription_terminating"))
    )
    return f'CREATE TYPE "{name}" AS ENUM ({members})'


def create_lago(database: Database, version: tuple[int, int] = NEWEST) -> LagoBook:
    """Make the tables in an empty database, with one organization."""
    with database.begin() as connection:
        for each in statements(version):
            connection.exec_driver_sql(each)
    book = LagoBook(database, version)
    book.add("organizations", id=book.organization, name="Hooli")
    return book


@dataclass
class LagoBook:
    """Writes rows, giving every column that must not be null something."""

    database: Database
    version: tuple[int, int] = NEWEST
    organization: UUID = field(default_factory=uuid4)
    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def add(self, table: str, **values: Any) -> UUID:
        """Keep a row for `save`; the id of it."""
        values.setdefault("id", uuid4())
        self.rows.append((table, values))
        identity: UUID = values["id"]
        return identity

    def save(self) -> None:
        """Write what is kept."""
        tables = _columns(self.version)
        with self.database.begin() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            for table, values in self.rows:
                columns = tables[table]
                filled = {
                    name: self._default(name, kind)
                    for name, (kind, nullable) in columns.items()
                    if not nullable
                }
                filled |= {name: value for name, value in values.items() if name in columns}
                statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    sql.Identifier(table),
                    sql.SQL(", ").join(map(sql.Identifier, filled)),
                    sql.SQL(", ").join(sql.Placeholder() * len(filled)),
                )
                raw.execute(statement, [_sent(each) for each in filled.values()])
        self.rows.clear()

    def _default(self, name: str, kind: str) -> Any:
        if name == "organization_id":
            return self.organization
        if kind == "uuid":
            return uuid4()
        if kind == "timestamp":
            return datetime(2024, 1, 1)  # noqa: DTZ001 - Lago's columns have no zone
        if kind == "date":
            return datetime(2024, 1, 1).date()  # noqa: DTZ001 - only its day
        if kind == "jsonb":
            return {}
        if kind == "boolean":
            return False
        if kind.endswith("[]"):
            return []
        if kind in _ENUMS:
            return _ENUMS[kind][0]
        return "" if kind in {"varchar", "text"} else "flat" if _type(kind) != kind else 0

    # --- as Lago writes them ----------------------------------------------------------------------

    def customer(self, name: str, **more: Any) -> UUID:
        return self.add("customers", external_id=name, name=name, **more)

    def plan(
        self, code: str, amount: int, interval: tuple[str, int] = ("month", 1), **more: Any
    ) -> UUID:
        given = {"amount_currency": "EUR", "trial_period": 0.0, "pay_in_advance": True} | more
        return self.add(
            "plans", code=code, name=code.title(), amount_cents=amount,
            interval=INTERVALS[interval], **given,
        )  # fmt: skip

    def subscription(
        self, customer: UUID, plan: UUID, name: str, start: str | None, **more: Any
    ) -> UUID:
        """A row of status active, or terminated where an end is given."""
        at = start and utc(start)
        given = {"created_at": at, "subscription_at": at} if at else {}
        times = {key: utc(each) for key, each in more.items() if key.endswith("_at")}
        status = 2 if "terminated_at" in more else 1
        return self.add(
            "subscriptions", customer_id=customer, plan_id=plan, external_id=name, started_at=at,
            **{"status": status} | given | more | times,
        )  # fmt: skip

    def flat_fee(
        self, subscription: UUID, customer: UUID, start: str, end: str, price: int, **more: Any
    ) -> UUID:
        """The plan's price for a span, on an invoice of its first day; `taxes_rate` in percent."""
        invoice = self.invoice(customer, start)
        amount = more.get("amount_cents", price)
        tax = round(amount * more.get("taxes_rate", 0) / 100)
        given = {"amount_cents": amount, "taxes_amount_cents": tax, "amount_currency": "EUR"}
        return self.add(
            "fees", invoice_id=invoice, subscription_id=subscription, fee_type=2,
            amount_details={"plan_amount_cents": price}, created_at=utc(start),
            properties={"from_datetime": start, "to_datetime": end}, **given | more,
        )  # fmt: skip

    def usage_fee(
        self, subscription: UUID, customer: UUID, at: str, amount: int, *, currency: str = "EUR",
        invoice: dict[str, Any] | None = None, **more: Any,
    ) -> UUID:  # fmt: skip
        """What was used, charged on an invoice of its own at an instant."""
        charged = self.invoice(customer, at, amount, **{"currency": currency} | (invoice or {}))
        return self.add(
            "fees", invoice_id=charged, subscription_id=subscription, fee_type=0,
            charge_id=uuid4(), amount_cents=amount, amount_currency=currency, created_at=utc(at),
            **more,
        )  # fmt: skip

    def fixed_charge(self, plan: UUID, units: float, *, amount: str = "0", **more: Any) -> UUID:
        """What a plan charges for so many pieces; other prices than a standard one by `ranges`."""
        properties: dict[str, Any] = {"amount": amount}
        if ranges := more.pop("ranges", None):
            names = ("from_value", "to_value", "flat_amount", "per_unit_amount")
            listed = [dict(zip(names, each, strict=True)) for each in ranges]
            properties = {f"{more['charge_model']}_ranges": listed}
        times = {key: utc(each) for key, each in more.items() if key.endswith("_at")}
        given = {"units": units, "properties": properties} | more | times
        return self.add("fixed_charges", plan_id=plan, **given)

    def units(self, subscription: UUID, charge: UUID, at: str, units: float, **more: Any) -> UUID:
        """From when on a subscription is charged for so many pieces, said then or earlier."""
        said = utc(more.pop("said", at))
        return self.add(
            "fixed_charge_events", subscription_id=subscription, fixed_charge_id=charge,
            units=units, timestamp=utc(at), created_at=said, **more,
        )  # fmt: skip

    def invoice(self, customer: UUID, at: str, total: int = 0, **more: Any) -> UUID:
        given = {"status": 1, "total_amount_cents": total, "currency": "EUR"} | more
        return self.add(
            "invoices", customer_id=customer, created_at=utc(at), issuing_date=utc(at).date(),
            **given,
        )  # fmt: skip

    def coupon(self, customer: UUID, at: str, **more: Any) -> UUID:
        times = {key: utc(each) for key, each in more.items() if key.endswith("_at")}
        coupon = self.add("coupons")
        return self.add(
            "applied_coupons", coupon_id=coupon, customer_id=customer, created_at=utc(at),
            **{"frequency": 2, "amount_currency": "EUR"} | more | times,
        )  # fmt: skip


def utc(text: str | datetime) -> datetime:
    if isinstance(text, datetime):
        return text
    return datetime.fromisoformat(text.replace("Z", "")).replace(tzinfo=None)


def _sent(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, Mapping) else value
