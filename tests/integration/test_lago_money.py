"""Lago's invoices: usage, taxes, two currencies, and its own MRR beside the preset of its name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

import tidemill
from tests.conftest import NewDatabase
from tests.support.in_place import url_of
from tests.support.lago import LagoBook, create_lago
from tests.support.lago_mrr import lago_mrr

AS_OF = datetime(2025, 12, 31, tzinfo=UTC)
MONTHS_OF_2024 = [f"2024-{month:02}" for month in range(1, 13)]


@pytest.fixture
def lago(new_database: NewDatabase) -> Iterator[LagoBook]:
    with new_database(schema=False) as database:
        yield create_lago(database)


def reading(lago: LagoBook, **settings: Any) -> tidemill.Tidemill:
    given = {"base_currency": "EUR", "connector": "lago", "as_of": AS_OF} | settings
    return tidemill.connect(url_of(lago.database), **given)


def at_month_ends(books: tidemill.Tidemill, end: str, **how: Any) -> dict[str, Decimal]:
    """Month → MRR at its end, in major units."""
    rows = books.mrr.series(start="2024-01-01", end=end, grain="month", **how).rows
    return {f"{row['period']:%Y-%m}": (row["mrr"] / 100).quantize(Decimal("0.01")) for row in rows}


def upgraded(lago: LagoBook) -> None:
    """49.00 a month from January, 99.00 from 15 February; 20% tax; the change is invoiced."""
    c, at = lago.customer("c"), "2024-02-15T00:00:00"
    pro, scale = lago.plan("pro", 4900), lago.plan("scale", 9900)
    first = lago.subscription(c, pro, "s", "2024-01-01", terminated_at=at)
    second = lago.subscription(c, scale, "s", at, previous_subscription_id=first)
    lago.flat_fee(first, c, "2024-01-01", "2024-01-31", 4900, taxes_rate=20)
    lago.flat_fee(first, c, "2024-02-01", "2024-02-29", 4900, taxes_rate=20)
    lago.flat_fee(second, c, "2024-02-15", "2024-02-29", 9900, amount_cents=5121, taxes_rate=20)
    lago.flat_fee(second, c, "2024-03-01", "2024-03-31", 9900, taxes_rate=20)
    lago.save()


def test_monthly_plans_as_lago_tells_them(lago: LagoBook) -> None:
    """Alike in every month without a change; in that of the upgrade Lago adds up both invoices."""
    upgraded(lago)
    theirs = lago_mrr(lago.database)
    assert theirs == {
        "2024-01": Decimal("58.80"),
        "2024-02": Decimal("58.80") + Decimal("61.45"),
        "2024-03": Decimal("118.80"),
    }
    with reading(lago) as books:
        ours = at_month_ends(books, "2024-03-31", preset="lago_oss")
        assert ours == theirs | {"2024-02": Decimal("118.80")}
        assert list(at_month_ends(books, "2024-03-31").values()) == [49, 99, 99]


def test_yearly_plans_as_lago_tells_them(lago: LagoBook) -> None:
    """Lago spreads the invoice by days of 30.44 to a month, the preset by twelfths of a year."""
    c = lago.customer("c")
    s = lago.subscription(c, lago.plan("proy", 48000, ("year", 1)), "s", "2024-01-15")
    lago.flat_fee(s, c, "2024-01-15", "2025-01-14", 48000, taxes_rate=20)
    lago.save()
    theirs = lago_mrr(lago.database)
    whole = dict.fromkeys(MONTHS_OF_2024[1:], Decimal("47.91"))
    assert theirs == {"2024-01": Decimal("26.27"), **whole, "2025-01": Decimal("22.77")}
    with reading(lago) as books:
        ours = at_month_ends(books, "2024-12-31", preset="lago_oss")
        assert ours == dict.fromkeys(MONTHS_OF_2024, Decimal("48.00"))
        assert set(at_month_ends(books, "2024-12-31").values()) == {40}


def test_the_difference_is_explained(lago: LagoBook) -> None:
    upgraded(lago)
    with reading(lago) as books:
        told = books.compare("mrr", presets=["default", "lago_oss"], at="2024-03-31")
        [pair] = told.pairs
        [change] = pair.changes
        parts = [(part.knobs, part.amount) for part in change.parts if part.amount]
        assert parts == [("tax", 1980)]
        assert [side.result.value for side in told.sides if side.result] == [9900, 11880]
        life = books.timeline("c", presets=["default", "lago_oss"])
        sums = [sum(each.amount_minor for each in one.movements) for one in life.lives]
        assert sums == [9900, 11880]


def test_a_fixed_coupon_is_taken_off_before_tax(lago: LagoBook) -> None:
    c = lago.customer("c")
    s = lago.subscription(c, lago.plan("pro", 4900), "s", "2024-01-01")
    lago.flat_fee(s, c, "2024-01-01", "2024-01-31", 4900, taxes_rate=20)
    lago.coupon(c, "2024-01-01", amount_cents=500)
    lago.save()
    with reading(lago) as books:
        assert books.mrr(at="2024-01-31").value == 4400
        assert books.mrr(at="2024-01-31", set={"tax": "include"}).value == 5280


def test_two_currencies_of_a_customer(lago: LagoBook) -> None:
    """A movement for each currency; without a rate the dollars are refused, not left out."""
    c = lago.customer("c")
    lago.subscription(c, lago.plan("pro", 4900), "s11a", "2024-01-01")
    dollars = lago.plan("prousd", 5900, amount_currency="USD")
    lago.subscription(c, dollars, "s11b", "2024-02-01")
    lago.save()
    with reading(lago) as books:
        assert books.mrr(at="2024-01-31").value == 4900
        with pytest.raises(tidemill.errors.MissingRate):
            books.mrr(at="2024-02-29")
        native = [
            (move.currency, int(move.amount_minor))
            for move in books.timeline("c").lives[0].movements
        ]
        assert native == [("EUR", 4900), ("USD", 5900)]


def test_usage(lago: LagoBook) -> None:
    """What was used is revenue of its month, and no MRR."""
    c = lago.customer("c")
    s = lago.subscription(c, lago.plan("pro", 4900), "s", "2024-01-01")
    lago.usage_fee(s, c, "2024-03-31", 1234)
    lago.usage_fee(s, c, "2024-03-31", 777, invoice={"status": 0})
    lago.save()
    with reading(lago) as books:
        assert books.mrr(at="2024-03-31").value == 4900
        assert books.usage_revenue(start="2024-03-01", end="2024-03-31").value == 1234


def test_progressive_billing(lago: LagoBook) -> None:
    """The last invoice has all that was used, less what invoices before it had."""
    c = lago.customer("c")
    s = lago.subscription(c, lago.plan("pro", 4900), "s", "2024-01-01")
    lago.usage_fee(s, c, "2024-03-10", 5000, invoice={"invoice_type": 5})
    lago.usage_fee(s, c, "2024-03-31", 8000, precise_coupons_amount_cents=5000)
    lago.save()
    with reading(lago) as books:
        assert books.usage_revenue(start="2024-03-01", end="2024-03-31").value == 8000
