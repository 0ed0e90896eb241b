"""Kill Bill's prices where its catalogue is not in the database: by the plugin, and by invoices.

Every expectation is that of the catalogue in the database, or written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tidemill
from tests.conftest import NewDatabase
from tests.integration.test_killbill import (
    AS_OF,
    BASIC,
    PRO,
    again,
    annual,
    cancel,
    discount,
    downgrade,
    euro,
    expired,
    later,
    new_monthly,
    override,
    pause,
    pauses_overlap,
    quantity,
    reading,
    replaced,
    trial,
    two,
    undone,
    upgrade,
    usage,
)
from tests.support.cli import Inside
from tests.support.in_place import reader_of, url_of
from tests.support.killbill import KillBillBook, create_killbill
from tests.support.killbill_analytics import install_plugin, refresh_plugin
from tests.support.killbill_rows import load_rows
from tests.support.killbill_stories import check_stories
from tests.support.lago import utc
from tidemill.database import Database

_CHANGES = (
    *(new_monthly, annual, upgrade, downgrade, cancel, again, trial, discount, override, two),
    *(euro, pause, pauses_overlap, quantity, undone, later, replaced, expired, usage),
)
"""The worked examples, by what writes each."""


@pytest.fixture
def killbill(new_database: NewDatabase) -> Iterator[KillBillBook]:
    with new_database(schema=False) as database:
        yield create_killbill(database)


def movements(book: KillBillBook, currency: str) -> list[tuple[object, ...]]:
    with reading(book.database, base_currency=currency) as books:
        rows = books.mrr.movements(start="2023-01-01", end="2024-12-31").rows
        return [
            (row["day"], row["type"], row["plan"], row["native_amount"], row["currency"])
            for row in rows
        ]


def drop_catalog(book: KillBillBook) -> None:
    """As with a catalogue that comes from a plugin or a file."""
    with book.database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM tenant_kvs")


@pytest.mark.parametrize("write", _CHANGES, ids=lambda each: each.__name__)
def test_the_plugin_tells_what_the_catalogue_would(
    killbill: KillBillBook, write: Callable[[KillBillBook], None]
) -> None:
    """But not that a later catalogue has another price for those who are there."""
    write(killbill)
    killbill.save()
    install_plugin(killbill)
    refresh_plugin(killbill)
    currency = "EUR" if write is euro else "USD"
    by_catalog = movements(killbill, currency)
    drop_catalog(killbill)
    repriced = "2024-07-01"
    wanted = [each for each in by_catalog if str(each[0]) != repriced]
    assert wanted
    assert movements(killbill, currency) == wanted


def test_invoices_tell_what_the_catalogue_would(
    new_database: NewDatabase, database: Database
) -> None:
    """What a real Kill Bill billed, also where a later catalogue changed a price."""
    with new_database(schema=False) as billing:
        load_rows(billing)
        with billing.begin() as connection:
            connection.exec_driver_sql("DELETE FROM tenant_kvs")
        check_stories(url_of(billing), database)


def invoiced(book: KillBillBook, of: dict[str, Any], *days: Any, **more: Any) -> None:
    """A recurring item of an invoice: from a day until another, made on the first."""
    begins, ends = days
    own = {"account_record_id": of["account_record_id"], "currency": "USD"}
    made = utc(more.pop("made", begins))
    invoice = book.add("invoices", status=more.pop("status", "COMMITTED"), **own)
    values = {"type": "RECURRING", "invoice_id": invoice["id"], "subscription_id": of["id"]}
    values |= {"start_date": begins, "end_date": ends, "created_date": made, **own}
    values |= {"phase_name": "far-evergreen", "plan_name": "far", "product_name": "Far"}
    book.add("invoice_items", **values | {"amount": more["rate"]} | more)


FAR = {"plan": "far"}
"""A plan of no catalogue in the database."""


def steps(book: KillBillBook) -> list[tuple[str, str, int]]:
    with reading(book.database) as books:
        rows = books.mrr.movements(start="2023-01-01", end="2024-12-31").rows
        return [(f"{row['day']:%m-%d}", row["type"], int(row["native_amount"])) for row in rows]


def test_the_quantity_is_taken_out_of_what_was_invoiced(killbill: KillBillBook) -> None:
    """Where it is still the day before when in UTC the change has come."""
    more = ("QUANTITY_UPDATE", "2024-02-11T03:00", {"quantity": 3})
    row = killbill.subscription(killbill.account(), ("CREATE", "2024-01-01T08:00", FAR), more)
    invoiced(killbill, row, "2024-01-01", "2024-02-01", rate=20, made="2024-01-01T08:00")
    invoiced(killbill, row, "2024-02-01", "2024-03-01", rate=20)
    left = {"rate": 60, "amount": 40, "made": "2024-02-11T03:01"}
    invoiced(killbill, row, "2024-02-10", "2024-03-01", **left)
    invoiced(killbill, row, "2024-03-01", "2024-04-01", rate=66)
    killbill.save()
    told = [("01-01", "new", 2000), ("02-11", "expansion", 4000), ("03-01", "expansion", 600)]
    assert steps(killbill) == told


def test_what_is_billed_late_or_void(killbill: KillBillBook) -> None:
    """A price holds from the start, and until another one does; a void invoice tells none."""
    row = killbill.subscription(killbill.account(), ("CREATE", "2024-01-15", FAR))
    invoiced(killbill, row, "2024-01-15", "2024-02-01", rate=30, amount=16, made="2024-02-01")
    invoiced(killbill, row, "2024-02-01", "2024-03-01", rate=90, status="VOID")
    invoiced(killbill, row, "2024-02-01", "2024-03-01", rate=30, made="2024-03-01")
    killbill.save()
    assert steps(killbill) == [("01-15", "new", 3000)]


@pytest.mark.parametrize(
    ("ends", "rate", "amount", "wanted"),
    [
        ("2024-01-02", 1, 1, 3042),
        ("2024-01-08", 12, 12, 5200),
        ("2024-01-15", 12, 12, 2600),
        ("2024-02-01", 20, 20, 2000),
        ("2024-04-01", 60, 60, 2000),
        ("2025-01-01", 240, 240, 2000),
        ("2026-01-01", 480, 480, 2000),
        ("2024-01-11", 31, 10, 3100),
        ("2024-03-01", 366, 60, 3050),
        ("2024-02-01", 0, 0, 0),
    ],
)
def test_the_period_is_told_by_days(
    killbill: KillBillBook, ends: str, rate: int, amount: int, wanted: int
) -> None:
    """How many a whole one has; where only a part was billed, by its share of the price."""
    row = killbill.subscription(killbill.account(), ("CREATE", "2024-01-01", FAR))
    invoiced(killbill, row, "2024-01-01", ends, rate=rate, amount=amount)
    killbill.save()
    with reading(killbill.database) as books:
        answer = books.mrr(at="2024-01-01")
        assert answer.value is not None
        assert round(answer.value) == wanted
        assert not any("Not counted" in each for each in answer.warnings)


def test_each_price_is_looked_for_where_it_is_told(killbill: KillBillBook) -> None:
    """The catalogue first, then the plugin, then invoices; who is told nowhere is said."""
    install_plugin(killbill)
    of_plugin = killbill.subscription(killbill.account("a"), ("CREATE", "2024-01-01", BASIC))
    of_invoice = killbill.subscription(killbill.account("b"), ("CREATE", "2024-01-01", PRO))
    killbill.save()
    refresh_plugin(killbill, only=["a"])
    for each in (of_plugin, of_invoice):
        invoiced(
            killbill, each, "2024-01-01", "2024-02-01", rate=70, phase_name="pro-monthly-evergreen"
        )
    killbill.subscription(killbill.account("d"), ("CREATE", "2024-01-01", FAR))
    trial = {**FAR, "phase": "trial"}
    killbill.subscription(killbill.account("e"), ("CREATE", "2024-01-01", trial))
    killbill.save()
    with reading(killbill.database) as books:
        assert books.mrr(at="2024-06-01").value == 2000 + 5000
    drop_catalog(killbill)
    with reading(killbill.database) as books:
        answer = books.mrr(at="2024-06-01")
        assert answer.value == 2000 + 7000
        said = "Not counted: 1 subscriptions of plans whose price no catalogue"
        assert any(each.startswith(said) for each in answer.warnings)
        by = books.mrr(at="2024-06-01", by=["product"]).rows
        assert {row["product"]: row["mrr"] for row in by} == {"Basic": 2000, "Far": 7000}


def test_a_price_made_for_one_customer_needs_a_period(killbill: KillBillBook) -> None:
    """Its plan may be paid by the year: without the plan its price says nothing."""
    plan = killbill.override("far", "evergreen", 15)
    row = killbill.subscription(killbill.account(), ("CREATE", "2024-01-01", {"plan": plan}))
    killbill.save()
    assert steps(killbill) == []
    phase = f"{plan}-evergreen"
    invoiced(killbill, row, "2024-01-01", "2025-01-01", rate=15, phase_name=phase)
    killbill.save()
    assert steps(killbill) == [("01-01", "new", 125)]


def test_the_role_may_read_the_plugins_table_where_it_is(killbill: KillBillBook) -> None:
    install_plugin(killbill)
    new_monthly(killbill)
    killbill.save()
    refresh_plugin(killbill)
    drop_catalog(killbill)
    settings = {"base_currency": "USD", "connector": "killbill", "as_of": AS_OF}
    with (
        reader_of(killbill.database, "killbill") as address,
        tidemill.connect(address, **settings) as books,
    ):
        assert books.mrr(at="2024-12-31").value == 2000


def test_the_doctor_says_what_prices_are_taken_from(killbill: KillBillBook, tmp_path: Path) -> None:
    new_monthly(killbill)
    killbill.save()
    settings = {"TIDEMILL_CONNECTOR": "killbill", "TIDEMILL_BASE_CURRENCY": "USD"}
    prompt = Inside(tmp_path, url_of(killbill.database), settings)
    told = " ".join(prompt.text("doctor").split())
    assert "plans by the catalogue in tenant_kvs, 0 subscriptions by what they were" in told
    assert "analytics" not in told
    install_plugin(killbill)
    refresh_plugin(killbill)
    drop_catalog(killbill)
    told = " ".join(prompt.text("doctor").split())
    assert "1 subscriptions by the analytics plugin's tables" in told
