"""The analytics plugin's transitions of subscriptions, as it writes them from what Kill Bill holds.

It writes one row for each state of a subscription, in chains of its own for what may be used and
for what is billed, with the price that the catalogue had when the plan was chosen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.support.killbill import KillBillBook
from tidemill.connectors.killbill.catalog import NO_PERIOD, PERIODS, CatalogVersion, parse_catalog

__all__ = ["install_plugin", "refresh_plugin"]

_FILE: Final = Path(__file__).parents[1] / "data" / "killbill" / "analytics.json"
_TABLE: Final = "analytics_subscription_transitions"
_ENTITLEMENT: Final = "entitlement-service"
_BILLING: Final = "billing-service"
_EVENTS: Final = {"CREATE": "START", "TRANSFER": "START", "CANCEL": "STOP", "EXPIRED": "STOP"}
_NAMES: Final = {period: name for name, period in PERIODS.items()}


@dataclass(frozen=True)
class _State:
    """What a subscription is billed for: the phase, and how the catalogue has it."""

    phase_name: str | None = None
    product: str | None = None
    period: str | None = None
    price: Decimal | None = None


def install_plugin(book: KillBillBook) -> None:
    """Make its table, empty."""
    document = json.loads(_FILE.read_text("utf-8"))
    lines = ", ".join(
        f'"{name}" {kind}{"" if nullable else " NOT NULL"}'
        for name, (kind, nullable, *_) in document["tables"][_TABLE].items()
    )
    with book.database.begin() as connection:
        connection.exec_driver_sql(f'SET LOCAL search_path TO "{book.schema}"')
        connection.exec_driver_sql(f"CREATE TABLE {_TABLE} ({lines})")
        for index in document["indexes"][_TABLE]:
            unique = "UNIQUE " if index.startswith("UNIQUE") else ""
            name, rest = index.removeprefix("UNIQUE ").split(" USING ")
            connection.exec_driver_sql(f"CREATE {unique}INDEX {name} ON {_TABLE} USING {rest}")


def refresh_plugin(book: KillBillBook, *, only: Iterable[str] | None = None) -> None:
    """Write every account's transitions anew, or those of accounts with these names."""
    with book.database.begin() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        raw.execute(sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(book.schema)))
        with raw.cursor(row_factory=dict_row) as cursor:
            chosen = None if only is None else set(only)
            rows = [
                row
                for row in _transitions(_Held(cursor, book.tenant))
                if chosen is None or row["account_name"] in chosen
            ]
            cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(_TABLE)))
            for number, row in enumerate(rows, start=1):
                values = {"record_id": number, "report_group": "default", **row}
                cursor.execute(
                    sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                        sql.Identifier(_TABLE),
                        sql.SQL(", ").join(map(sql.Identifier, values)),
                        sql.SQL(", ").join(sql.Placeholder() * len(values)),
                    ),
                    list(values.values()),
                )


class _Held:
    """What Kill Bill holds of one tenant."""

    def __init__(self, cursor: psycopg.Cursor[dict[str, Any]], tenant: int) -> None:
        def rows(table: str) -> list[dict[str, Any]]:
            asked = sql.SQL("SELECT * FROM {} WHERE tenant_record_id = %s ORDER BY record_id")
            return cursor.execute(asked.format(sql.Identifier(table)), [tenant]).fetchall()

        self.accounts = {row["record_id"]: row for row in rows("accounts")}
        self.subscriptions = rows("subscriptions")
        self.events = [row for row in rows("subscription_events") if row["is_active"]]
        self.blocks = [row for row in rows("blocking_states") if row["is_active"]]
        texts = [row["tenant_value"] for row in rows("tenant_kvs")]
        self.catalogs = sorted(map(parse_catalog, texts), key=lambda each: each.effective_at)
        phases = {row["record_id"]: row for row in rows("catalog_override_phase_definition")}
        self.overrides = {
            row["target_plan_def_record_id"]: phases[row["phase_def_record_id"]]
            for row in rows("catalog_override_plan_phase")
        }


def _transitions(held: _Held) -> Iterator[dict[str, Any]]:
    for subscription in held.subscriptions:
        account = held.accounts[subscription["account_record_id"]]
        of = {
            "bundle_id": subscription["bundle_id"],
            "subscription_id": subscription["id"],
            "account_id": account["id"],
            "account_name": account["name"],
            "account_record_id": account["record_id"],
            "tenant_record_id": account["tenant_record_id"],
            "next_currency": account["currency"],
        }
        chains: dict[str, dict[str, Any]] = {}
        told = []
        for service, event, at, state in _states(held, subscription, account["currency"]):
            row = of | {
                "event": f"{event}_{subscription['category']}",
                "next_service": service,
                "next_start_date": at.date(),
                "next_slug": state.phase_name,
                "next_product_name": state.product,
                "next_billing_period": state.period,
                "next_price": state.price,
            }
            if service in chains:
                chains[service]["next_end_date"] = row["next_start_date"]
            chains[service] = row
            told.append(row)
        yield from told


def _states(
    held: _Held, subscription: dict[str, Any], currency: str
) -> Iterator[tuple[str, str, datetime, _State]]:
    """Service, event, instant and what holds from then on, in the order of time."""
    state, chosen_at, plan = _State(), date.min, ""
    for at, row in _happenings(held, subscription):
        if "blockable_id" in row:
            word = "PAUSE" if row["block_billing"] else "RESUME"
            yield _ENTITLEMENT, f"{word}_ENTITLEMENT", at, state
            yield _BILLING, f"{word}_BILLING", at, state
            continue
        kind = row["user_type"] if row["event_type"] == "API_USER" else row["event_type"]
        if kind not in {"CHANGE", "PHASE", *_EVENTS}:
            continue
        if row["plan_name"]:
            plan, chosen_at = row["plan_name"], at
        state = _State()
        if _EVENTS.get(kind) != "STOP":
            state = _state(held, plan, row["phase_name"], currency, chosen_at)
        both = {"CHANGE": "CHANGE", "PHASE": "SYSTEM_CHANGE"}
        yield _ENTITLEMENT, both.get(kind, f"{_EVENTS.get(kind)}_ENTITLEMENT"), at, state
        yield _BILLING, both.get(kind, f"{_EVENTS.get(kind)}_BILLING"), at, state


def _happenings(held: _Held, subscription: dict[str, Any]) -> list[tuple[datetime, dict[str, Any]]]:
    own = (subscription["id"], subscription["bundle_id"])
    # What overdue accounts are blocked by is a chain of its own, of no use here.
    blocks = [row for row in held.blocks if row["blockable_id"] in own]
    events = [row for row in held.events if row["subscription_id"] == subscription["id"]]
    return sorted(
        ((row["effective_date"], row) for row in (*events, *blocks)), key=lambda each: each[0]
    )


def _state(held: _Held, plan: str, phase_name: str, currency: str, chosen_at: Any) -> _State:
    """A phase as the catalogue had it when its plan was chosen."""
    parent, _, number = plan.rpartition("-")
    override = held.overrides.get(int(number)) if number.isdigit() else None
    name = parent if override else plan
    found = _version(held.catalogs, name, chosen_at.replace(tzinfo=UTC)).plans[name]
    phase = next(each for each in found.phases if phase_name.endswith(f"-{each.type.lower()}"))
    if not phase.prices:
        return _State(phase_name, found.product, None if phase.type == "TRIAL" else NO_PERIOD)
    price = override["recurring_price"] if override else dict(phase.prices).get(currency)
    period = _NAMES[phase.interval, phase.interval_count]
    return _State(phase_name, found.product, period, price)


def _version(catalogs: Iterable[CatalogVersion], plan: str, chosen_at: datetime) -> CatalogVersion:
    holding = [each for each in catalogs if plan in each.plans]
    before = [each for each in holding if each.effective_at <= chosen_at]
    return before[-1] if before else holding[0]
