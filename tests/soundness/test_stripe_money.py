"""What money did, and for which invoice: in both shapes Stripe has for it, in any order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.support.stripe import subscription
from tests.support.stripe_money import NEW, OLD, Money, seconds
from tests.support.telling import Told
from tests.support.webhooks import arrive, settle
from tests.support.weight import first
from tidemill.models import event_log

Raw = dict[str, Any]
SHAPES = pytest.mark.parametrize("version", first(1, [NEW, OLD]))


def orders(raws: Sequence[Raw]) -> Iterator[list[Raw]]:
    """As it happened, the other way round, and turned so that each event is the first once."""
    for place in range(len(raws)):
        yield [*raws[place:], *raws[:place]]
    yield list(reversed(raws))


def subscribed(money: Money, when: str) -> Raw:
    started = {"start_date": seconds(when), "created": seconds(when)}
    found = subscription(discounts=[], customer=money.customer, **started)
    return money.event("customer.subscription.created", when, found)


@SHAPES
def test_t30_cohort_value_is_net_of_what_went_back(told: Told, version: str) -> None:
    """Two invoices paid, the second refunded: the cohort has earned one, whatever comes first."""
    money = Money(version)
    events = [
        subscribed(money, "2026-01-10"),
        money.invoice("2026-01-10", 6_000, "in_1"),
        money.charged("2026-01-10", 6_000, "in_1"),
        *money.linked("2026-01-10", 6_000, "in_1"),
        money.charged("2026-02-10", 6_000, "in_2"),
        money.invoice("2026-02-10", 6_000, "in_2"),
        *money.linked("2026-02-10", 6_000, "in_2"),
        money.refunded("2026-02-20", 6_000, "in_2", "2026-02-10"),
    ]
    for order in orders(events):
        told = told.afresh()
        told.hear_stripe(*order)
        (row,) = told.ask("ltv", "cohort", start="2026-01-01", end="2026-03-31").rows[:1]
        assert row["ltv"] == 6_000, [each["id"] for each in order]
        assert told.ask("cash", "net", start="2026-01-01", end="2026-03-31").value == 6_000


@SHAPES
def test_a_failed_payment_is_followed_to_its_recovery(told: Told, version: str) -> None:
    """Of two invoices that failed one is paid at the second attempt, and one is not."""
    money = Money(version)
    events = [
        subscribed(money, "2026-01-10"),
        money.charged("2026-02-10", 6_000, "in_1", failure="card_declined"),
        money.charged("2026-02-13", 6_000, "in_1", failure="card_declined"),
        money.charged("2026-02-17", 6_000, "in_1"),
        *money.linked("2026-02-10", 6_000, "in_1"),
        money.charged("2026-02-20", 4_000, "in_2", failure="expired_card"),
    ]
    for order in orders(events):
        told = told.afresh()
        told.hear_stripe(*order)
        (row,) = told.ask("payments", "failed", start="2026-02-01", end="2026-02-28").rows
        assert (row["attempts"], row["failed"], row["followed"], row["recovered"]) == (3, 2, 2, 1)
        assert (row["failed_amount"], row["recovered_amount"]) == (10_000, 6_000)
        assert Fraction(row["recovery_rate"]) == Fraction(1, 2)


@SHAPES
def test_what_was_refunded_is_as_if_unpaid_by_the_knob(told: Told, version: str) -> None:
    """A month refunded in full leaves no trace in MRR, or is a gap in it; facts kept included."""
    money = Money(version)
    events = [
        subscribed(money, "2026-01-10"),
        money.invoice("2026-02-10", 6_000, "in_1"),
        money.charged("2026-02-10", 6_000, "in_1"),
        money.refunded("2026-02-20", 6_000, "in_1", "2026-02-10"),
        *money.linked("2026-02-10", 6_000, "in_1"),
    ]
    policy = told.books.policy.turned({"refunds": "as_if_unpaid"})
    for order in orders(events):
        told = Told(told.afresh().database, policy=policy)
        told.hear_stripe(*order)
        types = [(day, kind) for day, kind, _ in told.moved()]
        assert types == [
            ("2026-01-10", "new"),
            ("2026-02-10", "churn"),
            ("2026-03-12", "reactivation"),
        ]


def test_what_connects_a_payment_is_known_from_its_day_on(told: Told) -> None:
    """The refund of an invoice is nobody's before the link was recorded, and is not restated."""
    money = Money(NEW)
    first = [
        subscribed(money, "2026-01-10"),
        money.invoice("2026-01-10", 6_000, "in_1"),
        money.charged("2026-01-10", 6_000, "in_1"),
        money.refunded("2026-01-20", 6_000, "in_1", "2026-01-10"),
    ]
    told.hear_stripe(*first)
    span = {"start": "2026-01-01", "end": "2026-03-31"}
    assert told.ask("ltv", "cohort", **span).rows[0]["ltv"] == 6_000
    with told.database.connect() as connection:
        known = connection.execute(select(func.max(event_log.c.recorded_at))).scalar_one()
    told.hear_stripe(*money.linked("2026-01-10", 6_000, "in_1"))
    assert told.ask("ltv", "cohort", **span).rows[0]["ltv"] == 0
    assert told.ask("ltv", "cohort", **span, known_at=known).rows[0]["ltv"] == 6_000


@SHAPES
def test_money_that_came_again_is_there_again(told: Told, version: str) -> None:
    """A refund that failed, a dispute won in part: cash, lifetime value and MRR have it back.

    Neither names a customer in the old shape, and a dispute in neither; their charge does, whenever
    it comes.
    """
    money = Money(version)
    events = [
        subscribed(money, "2026-01-10"),
        money.invoice("2026-01-10", 6_000, "in_1"),
        money.charged("2026-01-10", 6_000, "in_1"),
        *money.linked("2026-01-10", 6_000, "in_1"),
        money.refunded("2026-01-20", 6_000, "in_1", "2026-01-10"),
        money.refund_failed("2026-02-03", 6_000, "in_1", "2026-01-10", "2026-01-20"),
        money.invoice("2026-02-10", 6_000, "in_2"),
        money.charged("2026-02-10", 6_000, "in_2"),
        *money.linked("2026-02-10", 6_000, "in_2"),
        money.disputed("2026-02-15", 6_000, "in_2", "2026-02-10"),
        money.dispute_won("2026-03-15", 6_000, "in_2", "2026-02-10", 5_000),
    ]
    cash = {"start": "2026-01-01", "end": "2026-03-31"}
    for order in orders(events):
        told = told.afresh()
        settle(told.database, told.books)
        arrive(told.database, order)
        settle(told.database, told.books)
        rows = told.ask("cash", "series", **cash).rows
        assert [row["refunds"] for row in rows] == [-6_000, 6_000, 0]
        assert [row["disputes"] for row in rows] == [0, -6_000, 5_000]
        assert [row["net"] for row in rows] == [0, 6_000, 5_000]
        assert [row["fees"] for row in rows] == [0, -1_500, 0]
        assert told.ask("ltv", "cohort", **cash).rows[0]["ltv"] == 11_000
        types = [each[1] for each in told.moved(refunds="as_if_unpaid")]
        assert types == ["new"], "what was not given back in the end was paid for"


@SHAPES
def test_a_refund_that_failed_is_given_again(told: Told, version: str) -> None:
    """The money went back once: the failure lowered what the charge says is refunded of it."""
    money = Money(version)
    again = money.refunded("2026-02-10", 6_000, "in_1", "2026-01-10")
    twin = {**again, "id": "evt_twin"}
    events = [
        subscribed(money, "2026-01-10"),
        money.invoice("2026-01-10", 6_000, "in_1"),
        money.charged("2026-01-10", 6_000, "in_1"),
        *money.linked("2026-01-10", 6_000, "in_1"),
        money.refunded("2026-01-20", 6_000, "in_1", "2026-01-10"),
        money.refund_failed("2026-02-03", 6_000, "in_1", "2026-01-10", "2026-01-20"),
        again,
        twin,
    ]
    span = {"start": "2026-01-01", "end": "2026-02-28"}
    for order in orders(events):
        told = told.afresh()
        settle(told.database, told.books)
        arrive(told.database, order)
        settle(told.database, told.books)
        rows = told.ask("cash", "series", **span).rows
        assert [row["refunds"] for row in rows] == [-6_000, 0]
        assert [row["net"] for row in rows] == [0, 0]
        assert told.ask("ltv", "cohort", **span).rows[0]["ltv"] == 0


@SHAPES
@pytest.mark.parametrize("way", ["while open", "refunded", "to the balance", "past Stripe"])
def test_a_credit_note_takes_its_amount_once(told: Told, version: str, way: str) -> None:
    """Two months at 60.00 less 15.00 bring in 105.00, whatever becomes of the 15.00; MRR stays."""
    money = Money(version)
    first, second = 6_000, 6_000
    events = [subscribed(money, "2026-01-10")]
    if way == "while open":
        first = 4_500
        events.append(money.credited("2026-01-11", 1_500, "in_1", pre_payment_amount=1_500))
    elif way == "refunded":
        back = money.refunded("2026-01-20", 1_500, "in_1", "2026-01-12")
        given = {"refund": "re_1"} if money.old else {"refunds": [{"refund": "re_1"}]}
        events += [back, money.credited("2026-01-20", 1_500, "in_1", **given)]
    elif way == "to the balance":
        second = 4_500
        said = {"customer_balance_transaction": "cbtxn_1"}
        events.append(money.credited("2026-01-20", 1_500, "in_1", **said))
    else:
        events.append(money.credited("2026-01-20", 1_500, "in_1", out_of_band_amount=1_500))
    events += [
        money.invoice("2026-01-12", 6_000, "in_1", amount_paid=first),
        money.charged("2026-01-12", first, "in_1"),
        *money.linked("2026-01-12", first, "in_1"),
        money.invoice("2026-02-10", 6_000, "in_2", amount_paid=second),
        money.charged("2026-02-10", second, "in_2"),
        *money.linked("2026-02-10", second, "in_2"),
    ]
    span = {"start": "2026-01-01", "end": "2026-02-28"}
    for order in orders(events):
        told = told.afresh()
        settle(told.database, told.books)
        arrive(told.database, order)
        settle(told.database, told.books)
        assert told.ask("cash", "net", **span).value == 10_500, [each["id"] for each in order]
        assert told.ask("ltv", "cohort", **span).rows[0]["ltv"] == 10_500
        assert [each[1] for each in told.moved(refunds="as_if_unpaid")] == ["new"]


@SHAPES
def test_money_past_stripe_counts_both_ways(told: Told, version: str) -> None:
    """An invoice paid by cheque, given back whole from the bank: nothing is left, and no MRR."""
    money = Money(version)
    back = money.credited("2026-02-01", 6_000, "in_1", out_of_band_amount=6_000)
    events = [
        subscribed(money, "2026-01-10"),
        money.invoice("2026-01-12", 6_000, "in_1", **money.past_stripe(6_000)),
        back,
    ]
    span = {"start": "2026-01-01", "end": "2026-02-28"}
    for order in orders(events):
        told = told.afresh()
        told.hear_stripe(*order)
        rows = told.ask("cash", "series", **span).rows
        assert [(row["payments"], row["refunds"]) for row in rows] == [(6_000, 0), (0, -6_000)]
        assert told.ask("ltv", "cohort", **span).rows[0]["ltv"] == 0
        moved = [(day, kind) for day, kind, _ in told.moved(refunds="as_if_unpaid")]
        assert moved == [
            ("2026-01-10", "new"),
            ("2026-01-12", "churn"),
            ("2026-02-11", "reactivation"),
        ]
    voided = back["data"]["object"] | {"status": "void"}
    told.hear_stripe(money.event("credit_note.voided", "2026-02-02", voided))
    assert told.ask("cash", "net", **span).value == 6_000
