"""Every field of every payload reaches its column, with the defaults that validation gives it.

The payloads are described twice: as types, and as the SQL that opens them. Here both read the same
events and must agree.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, Final
from uuid import UUID

import pytest
from msgspec.json import decode
from msgspec.structs import fields
from sqlalchemy import Row, Table, select

from tests.support.happenings import at
from tidemill import models
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import EVENT_TYPES, Event, parse_event
from tidemill.ingest import ingest
from tidemill.relations import core_relations
from tidemill.state import Books

FULL: Final[dict[str, dict[str, Any]]] = {
    "customer.created": {
        "id": "cus_1",
        "name": "Ada",
        "email": "ada@example.org",
        "country": "cz",
        "currency": "eur",
        "created_at": "2024-12-01T01:02:03.456789+05:45",
        "attributes": {"size": 3, "plan": "big", "vip": True, "none": None},
    },
    "product.created": {"id": "prod_1", "name": "App", "active": True},
    "plan.created": {
        "id": "price_1",
        "product": "prod_1",
        "name": "Team",
        "currency": "jpy",
        "interval": "week",
        "interval_count": 2,
        "unit_amount": "10.125",
        "pricing_model": "volume",
        "usage_type": "metered",
        "active": False,
    },
    "subscription.created": {
        "id": "sub_1",
        "status": "past_due",
        "currency": "usd",
        "items": [
            {
                "id": "si_1",
                "plan": "price_1",
                "product": "prod_1",
                "quantity": "2.5",
                "unit_amount": "999.99",
                "tax_inclusive_amount": "10.5",
                "interval": "year",
                "interval_count": 3,
                "usage_type": "metered",
            },
            {"id": "si_2", "quantity": 1, "unit_amount": 5, "interval": "day"},
        ],
        "discounts": [
            {
                "id": "di_1",
                "coupon": "c_1",
                "item": "si_1",
                "percent_off": "12.5",
                "duration": "repeating",
                "starts_at": "2025-01-01T00:00:00Z",
                "ends_at": "2025-02-01T00:00:00Z",
            },
            {"id": "di_2", "amount_off": "500", "duration": "forever"},
        ],
        "started_at": "2025-01-01T00:00:00Z",
        "trial_start": "2025-01-02T00:00:00Z",
        "trial_end": "2025-01-03T00:00:00Z",
        "past_due_since": "2025-01-04T00:00:00Z",
        "paused_at": "2025-01-05T00:00:00Z",
        "current_period_start": "2025-01-06T00:00:00Z",
        "current_period_end": "2025-02-06T00:00:00+01:00",
        "cancel_at_period_end": True,
        "cancel_at": "2025-03-01T00:00:00Z",
        "canceled_at": "2025-01-07T00:00:00Z",
        "ended_at": "2025-01-08T00:00:00Z",
        "cancel_reason": "too_dear",
        "cancel_feedback": "It's \"dear\", says \\ Zoë",
        "voluntary": True,
        "refunded_at_cancellation": True,
        "collection_method": "send_invoice",
        "confidence": "reconstructed",
    },
    "invoice.paid": {
        "id": "in_1",
        "subscription": "sub_1",
        "status": "paid",
        "currency": "usd",
        "subtotal": 1000,
        "tax": 210,
        "total": 1210,
        "amount_paid": 1210,
        "period_start": "2025-01-01T00:00:00Z",
        "period_end": "2025-02-01T00:00:00Z",
        "issued_at": "2025-01-01T00:00:01Z",
        "paid_at": "2025-01-01T00:00:02Z",
        "lines": [
            {
                "id": "il_1",
                "kind": "usage",
                "subscription": "sub_1",
                "item": "si_1",
                "plan": "price_1",
                "amount": -5,
                "quantity": "1.5",
                "period_start": "2025-01-01T00:00:00Z",
                "period_end": "2025-01-02T00:00:00Z",
            },
            {"id": "il_2", "kind": "other", "amount": 7},
        ],
    },
    "payment.refunded": {
        "id": "pay_1",
        "invoice": "in_1",
        "amount": 1210,
        "fee": 35,
        "currency": "usd",
        "method": "card",
        "failure_reason": "expired_card",
        "attempt": 2,
    },
    "fx_rate.published": {"base": "usd", "quote": "eur", "day": "2025-01-02", "rate": "1.01234567"},
}  # fmt: skip

# Where a payload goes: its table, and the columns that are not called as its fields are.
TABLES: Final[dict[str, tuple[Table, dict[str, str]]]] = {
    "customer.created": (models.customer, {"id": "external_id"}),
    "product.created": (models.product, {"id": "external_id"}),
    "plan.created": (models.plan, {"id": "external_id"}),
    "subscription.created": (models.subscription_version, {}),
    "invoice.paid": (models.invoice_version, {"id": "external_id"}),
    "payment.refunded": (models.payment, {"id": "external_id"}),
    "fx_rate.published": (models.fx_rate, {}),
}
LISTS: Final[dict[str, dict[str, tuple[Table, dict[str, str]]]]] = {
    "subscription.created": {
        "items": (models.version_item, {"id": "item"}),
        "discounts": (models.version_discount, {"id": "discount"}),
    },
    "invoice.paid": {"lines": (models.invoice_line, {"id": "line"})},
}


def _event(about: str, data: dict[str, Any]) -> Event:
    named = about.split(".", maxsplit=1)[0] in {"customer", "subscription", "invoice", "payment"}
    envelope = {"source": "stripe", "type": about, "occurred_at": at(9), "recorded_at": at(10)}
    return parse_event(
        envelope | {"sequence": 7, "customer": "cus_1" if named else "", "data": data}
    )


def _changed(event: Event, **changes: Any) -> Event:
    return Event(**{name: getattr(event, name) for name in event.__struct_fields__} | changes)


def _least(about: str) -> dict[str, Any]:
    """The payload with nothing but what it must have."""
    required = {each.name for each in fields(EVENT_TYPES[about]) if each.required}
    least = {name: value for name, value in FULL[about].items() if name in required}
    return least | {name: value[1:] for name, value in least.items() if isinstance(value, list)}


def _stored(value: Any) -> Any:
    """A value of a payload as the tables hold it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return Decimal(value)
    return value


def _check(payload: Any, row: Row[Any], renamed: dict[str, str], elsewhere: set[str]) -> None:
    for field in fields(payload):
        if field.name in elsewhere:
            continue
        wanted = _stored(getattr(payload, field.name))
        found = getattr(row, renamed.get(field.name, field.name))
        if isinstance(found, Decimal) and isinstance(wanted, str):
            wanted = Decimal(wanted)
        if field.name in {"currency", "country", "base", "quote"} and wanted is not None:
            wanted = wanted.upper()
        assert found == wanted, field.name


@pytest.mark.parametrize("about", TABLES)
@pytest.mark.parametrize("amount", ["all", "least"])
def test_every_field_reaches_its_column(database: Database, about: str, amount: str) -> None:
    data = FULL[about] if amount == "all" else _least(about)
    event = _event(about, data)
    done = ingest(database, PostgresBus(database), [event], Books())
    assert done.applied == 1, done
    payload = decode(event.data, type=EVENT_TYPES[about])
    table, renamed = TABLES[about]
    lists = LISTS.get(about, {})
    # Words that nobody knows stay in the log, and are counted there.
    elsewhere = {*lists, "unknown"} | ({"id"} if about == "subscription.created" else set())
    with database.connect() as connection:
        (row,) = connection.execute(select(table))
        _check(payload, row, renamed, elsewhere)
        for name, (members, called) in lists.items():
            told = getattr(payload, name)
            rows = connection.execute(select(members).order_by(members.c.ordinal)).all()
            assert [each.ordinal for each in rows] == list(range(1, len(told) + 1))
            for member, found in zip(told, rows, strict=True):
                _check(member, found, called, set())


@pytest.mark.parametrize("about", ["subscription.created", "invoice.paid", "payment.refunded"])
def test_a_row_of_history_says_which_event_it_is(database: Database, about: str) -> None:
    event = _event(about, FULL[about])
    ingest(database, PostgresBus(database), [event], Books())
    with database.connect() as connection:
        (row,) = connection.execute(select(TABLES[about][0]))
        (logged,) = connection.execute(select(models.event_log))
        (customer,) = connection.execute(select(models.customer))
    assert (row.id, row.event_id) == (logged.position, event.id)
    assert (row.occurred_at, row.recorded_at, row.sequence) == (at(9), at(10), 7)
    assert (row.customer_id, customer.external_id) == (customer.id, "cus_1")
    assert row.livemode is True
    if about == "payment.refunded":
        assert row.kind == "refunded"


@pytest.mark.parametrize("deleted_first", [True, False])
@pytest.mark.parametrize("about", ["product", "plan"])
def test_what_is_taken_off_sale_stays_and_is_not_active(
    database: Database, about: str, *, deleted_first: bool
) -> None:
    """At one instant the deletion is the last word, whichever arrived or was recorded first."""
    data = FULL[f"{about}.created"] | {"active": True}
    on, off = _event(f"{about}.created", data), _event(f"{about}.deleted", data)
    off = _changed(off, recorded_at=at(9))
    for event in (off, on) if deleted_first else (on, off):
        ingest(database, PostgresBus(database), [event], Books())
    with database.connect() as connection:
        (row,) = connection.execute(select(TABLES[f"{about}.created"][0]))
    assert row.active is False
    assert row.state_event_id == off.id


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_of_a_payment_the_last_word_counts_whatever_the_order(
    database: Database, batch: int, seed: int
) -> None:
    """As it does for whoever asks what was known by then, for whom nothing is marked."""
    refund = FULL["payment.refunded"]
    failure = {"id": "pay_2", "amount": 5, "currency": "usd"}
    told: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("payment.refunded", refund, {}),
        ("payment.refunded", refund | {"amount": 900}, {"occurred_at": at(11)}),
        ("payment.refunded", refund | {"amount": 800}, {"occurred_at": at(12)}),
        ("payment.refunded", refund, {"occurred_at": at(13), "livemode": False}),
        ("payment.refunded", refund | {"attempt": 3}, {}),
        ("payment.failed", refund, {}),
        ("payment.failed", failure, {}),
        ("payment.failed", failure | {"amount": 6}, {"occurred_at": at(14)}),
    ]
    events = [
        _changed(_event(about, data), id=UUID(int=number), **changes)
        for number, (about, data, changes) in enumerate(told)
    ]
    Random(seed).shuffle(events)
    for first in range(0, len(events), batch):
        ingest(database, PostgresBus(database), events[first : first + batch], Books())
    marked, sorted_out = (
        core_relations(base_currency="USD", known_at=each).payments for each in (None, at(60))
    )
    with database.connect() as connection:
        by_mark = Counter(map(tuple, connection.execute(select(marked))))
        assert by_mark == Counter(map(tuple, connection.execute(select(sorted_out))))
        amounts = sorted(connection.execute(select(marked.c.amount)).scalars())
    assert amounts == [6, 800, 1210, 1210]


def test_rates_of_test_mode_are_no_rates(database: Database) -> None:
    event = _event("fx_rate.published", FULL["fx_rate.published"])
    test = _changed(event, livemode=False)
    ingest(database, PostgresBus(database), [test], Books())
    with database.connect() as connection:
        assert connection.execute(select(models.fx_rate)).all() == []


def test_what_has_no_table_yet_is_kept_in_the_log(database: Database) -> None:
    data = {"id": "x", "day": "2025-01-01", "amount": 5, "currency": "usd", "category": "program"}
    done = ingest(database, PostgresBus(database), [_event("expense.recorded", data)], Books())
    assert done.applied == 1
    with database.connect() as connection:
        (row,) = connection.execute(select(models.event_log))
    assert row.data == data


def test_keys_nobody_knows_stay_in_the_log(database: Database) -> None:
    data = FULL["product.created"] | {"colour": {"of": ["teal", 1.5]}}
    ingest(database, PostgresBus(database), [_event("product.created", data)], Books())
    with database.connect() as connection:
        (row,) = connection.execute(select(models.event_log))
    assert row.data == json.loads(json.dumps(data))
