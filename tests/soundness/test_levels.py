"""What a subscription is worth: coupons, pauses, prices, refunds; Stripe's own payloads too."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stripe import event, fixture, subscription
from tests.support.telling import Told, invoiced, item, orders, paid, rate, subscribed

METERED = item(0, id="si_2", usage_type="metered")
# 1 April 2026, the month of the Stripe fixtures.
APRIL = 1_775_001_600
DAY = 86_400


def noon(day: int) -> int:
    """Noon of a day of April 2026, as Stripe writes it."""
    return APRIL + (day - 1) * DAY + DAY // 2


def stripe_state(key: str, day: int, *, previous: Any = None, **changes: Any) -> dict[str, Any]:
    """A raw update of a subscription to 100.00 a month without discounts, with some changes."""
    price = {"unit_amount": 10_000, "unit_amount_decimal": "10000"}
    (found,) = fixture("subscription.new_shape")["items"]["data"]
    items = {"object": "list", "data": [{**found, "price": {**found["price"], **price}}]}
    state = subscription(**{"discounts": [], "items": items, **changes})
    extra = {} if previous is None else {"previous": previous}
    kind = "customer.subscription.updated"
    return event(kind, state, id=key, created=noon(day), livemode=True, **extra)


def coupon(percent: float, duration: str, until: int | None = None) -> list[dict[str, Any]]:
    """The `discounts` of a Stripe subscription with one coupon, by default to no end."""
    (found,) = fixture("subscription.new_shape")["discounts"]
    inside = {**found["source"]["coupon"], "percent_off": percent, "duration": duration}
    return [{**found, "end": until, "source": {"type": "coupon", "coupon": inside}}]


@pytest.mark.parametrize(
    ("discounts", "level"),
    [("exclude_once", 5_000), ("include_all", 5_000), ("forever_only", 5_000), ("exclude", 10_000)],
)
def test_t14_half_off_forever_is_half(told: Told, discounts: str, level: int) -> None:
    """A Stripe coupon of 50 % forever: 50.00 of 100.00 under the default policy."""
    told.hear_stripe(stripe_state("evt_1", 2, discounts=coupon(50.0, "forever")))
    assert told.mrr("2026-04-30", discounts=discounts) == level
    assert told.moved(discounts=discounts) == [("2026-04-02", "new", level)]


@pytest.mark.parametrize(
    ("duration", "until", "moved"),
    [
        ("forever", None, [("2025-01-10", "new", 5_000)]),
        # The end of the coupon is an expansion of its day, though no event says so.
        ("repeating", "2025-04-10T12:00:00Z",
         [("2025-01-10", "new", 5_000), ("2025-04-10", "expansion", 5_000)]),
        # A price of one payment says nothing about a month.
        ("once", None, [("2025-01-10", "new", 10_000)]),
    ],
)  # fmt: skip
def test_t14_coupons_lower_mrr_while_they_last(
    told: Told, duration: str, until: str | None, moved: list[tuple[str, str, int]]
) -> None:
    """The same coupon as canonical events, of each duration."""
    given = {"id": "di_1", "percent_off": "50", "duration": duration, "ends_at": until}
    told.hear(subscribed("ann", "2025-01-10", discounts=[given]))
    assert told.moved() == moved
    assert told.mrr("2025-12-31") == sum(amount for _, _, amount in moved)


@pytest.mark.parametrize(
    ("paused", "moved", "customers"),
    [
        ("churn", [("2026-04-05", "churn", -10_000), ("2026-04-09", "reactivation", 10_000)], 0),
        ("contraction",
         [("2026-04-05", "contraction", -10_000), ("2026-04-09", "expansion", 10_000)], 1),
        ("active", [], 1),
    ],
)  # fmt: skip
def test_t13_paused_collection_is_symmetrical(
    told: Told, paused: str, moved: list[tuple[str, str, int]], customers: int
) -> None:
    """Stripe's pause_collection set and cleared: out and in again as the knob says, or neither."""
    pause = {"behavior": "void", "resumes_at": None}
    told.hear_stripe(
        stripe_state("evt_1", 1),
        stripe_state("evt_2", 5, pause_collection=pause, previous={"pause_collection": None}),
        stripe_state("evt_3", 9, previous={"pause_collection": pause}),
    )
    assert told.moved(paused=paused) == [("2026-04-01", "new", 10_000), *moved]
    assert told.customers("2026-04-06", paused=paused) == customers
    assert told.mrr("2026-04-30", paused=paused) == 10_000


@pytest.mark.parametrize(
    ("key", "quantity", "level"),
    [("graduated", 25, 27_000), ("decimal", 100_000, 35_000), ("seat_usd_month", 0, 0)],
)
def test_t15_prices_are_resolved(told: Told, key: str, quantity: int, level: int) -> None:
    """Tiers, a price that is only a decimal, a quantity of 0: resolved, resolved, 0."""
    sold = {"id": "si_1", "quantity": quantity, "price": fixture("prices")[key]}
    told.hear_stripe(stripe_state("evt_1", 1, items={"data": [sold]}))
    assert told.mrr("2026-04-30") == level
    assert told.customers("2026-04-30") == (level > 0)


def test_t15_nothing_and_fractions_of_a_cent(told: Told) -> None:
    """A quantity of 0 is 0; 0.35 cents times 100001 are 35000.35 cents."""
    told.hear(
        subscribed("none", "2025-01-10", items=[item(10_000, quantity=0)]),
        subscribed("many", "2025-01-10", items=[item("0.35", quantity=100_001)]),
    )
    assert f"{told.mrr('2025-01-31'):.6f}" == "35000.350000"
    assert told.customers("2025-01-31") == 1


def test_t30_voided_usage_is_taken_back(told: Told) -> None:
    """A usage invoice that is voided after being paid was never worth anything."""
    used = {"usage": "last_invoice"}
    told.hear(
        subscribed("ann", "2025-01-10"),
        invoiced("ann", "2025-02-01", 2_500),
        invoiced("ann", "2025-03-01", 4_000),
    )
    assert [told.mrr(day, **used) for day in ("2025-02-28", "2025-03-31")] == [12_500, 14_000]
    void = {"id": "in_2025-03-01", "status": "void", "issued_at": "2025-03-01T12:00:00Z"}
    told.hear(invoiced("ann", "2025-03-20", 4_000, type="invoice.voided", **void))
    assert [told.mrr(day, **used) for day in ("2025-02-28", "2025-03-31")] == [12_500, 12_500]
    assert told.moved(**used) == [("2025-01-10", "new", 10_000), ("2025-02-01", "expansion", 2_500)]


def test_t30_refund_counts_as_the_knob_says(told: Told) -> None:
    """Paid for a month and refunded in full: no trace of it in MRR, or as if never paid."""
    month = {"period_start": "2025-02-10T12:00:00Z", "period_end": "2025-03-10T12:00:00Z"}
    told.hear(
        subscribed("ann", "2025-01-10"),
        invoiced("ann", "2025-02-10", 10_000, "subscription", **month),
        paid("ann", "2025-02-10", 10_000, "in_2025-02-10"),
        paid("ann", "2025-02-15", 4_000, "in_2025-02-10", type="payment.refunded"),
    )
    assert told.mrr("2025-02-28", refunds="as_if_unpaid") == 10_000
    told.hear(paid("ann", "2025-02-16", 6_000, "in_2025-02-10", type="payment.refunded"))
    assert told.moved() == [("2025-01-10", "new", 10_000)]
    assert told.moved(refunds="as_if_unpaid") == [
        ("2025-01-10", "new", 10_000),
        ("2025-02-10", "churn", -10_000),
        ("2025-03-10", "reactivation", 10_000),
    ]


@pytest.mark.parametrize("undone", ["void", "refunded"])
def test_t30_cohort_value_is_net_of_what_went_back(told: Told, undone: str) -> None:
    """Voided, or refunded, after being paid: the cohort has not earned it; in any order."""
    back = {
        "void": invoiced("ann", "2025-02-20", 4_000, id="in_2", status="void"),
        "refunded": paid("ann", "2025-02-20", 4_000, "in_2", type="payment.refunded"),
    }[undone]
    events = [
        subscribed("ann", "2025-01-10", 4_000),
        invoiced("ann", "2025-01-10", 4_000, id="in_1"),
        invoiced("ann", "2025-02-10", 4_000, id="in_2"),
        back,
    ]
    for order in orders(events):
        told = told.afresh()
        told.hear(*order)
        (row,) = told.ask("ltv", "cohort", start="2025-01-01", end="2025-03-31").rows[:1]
        assert row["ltv"] == 4_000


def test_usage_credit_leaves_nothing_not_less(told: Told) -> None:
    """A usage invoice that is a credit is worth 0: MRR below zero would churn other subscriptions.

    Another subscription of 2.00 a month stays, and its customer with it.
    """
    told.hear(
        subscribed("ann", "2025-01-10", items=[item(0, usage_type="metered")]),
        subscribed("ann", "2025-01-10", 200, id="sub_2"),
        invoiced("ann", "2025-02-01", 500),
        invoiced("ann", "2025-03-01", -200),
    )
    assert told.moved(usage="last_invoice") == [
        ("2025-01-10", "new", 200),
        ("2025-02-01", "expansion", 500),
        ("2025-03-01", "contraction", -500),
    ]
    assert told.customers("2025-03-31", usage="last_invoice") == 1
    assert told.mrr("2025-03-31", usage="trailing:2") == 350


def test_usage_is_worth_its_own_currency(told: Told) -> None:
    """Usage invoiced in euros beside a subscription in dollars is converted, not renamed."""
    told.hear(
        rate("2025-01-01", "2"),
        subscribed("ann", "2025-01-10", items=[item(1_000), METERED]),
        invoiced("ann", "2025-02-01", 500, currency="EUR"),
        invoiced("ann", "2025-03-01", 300, currency="EUR", as_="one", id="in_1"),
        invoiced("ann", "2025-03-01", 400, currency="USD", as_="two", id="in_2"),
        invoiced("ann", "2025-04-01", 700, currency="USD"),
    )
    days = [f"2025-0{month}-15" for month in range(1, 5)]
    assert [told.mrr(day, usage="last_invoice") for day in days] == [1_000, 2_000, 2_000, 1_700]
    by_currency = told.ask("mrr", "current", "currency", at="2025-03-15", usage="last_invoice")
    assert [(row["currency"], row["mrr"]) for row in by_currency.rows] == [
        ("EUR", 600),
        ("USD", 1_400),
    ]
    told.moved(usage="last_invoice")
    assert told.mrr("2025-04-15", usage="trailing:2") == 1_550


def test_one_off_lines_never_count(told: Told) -> None:
    """Add-ons, prorations and credits on invoices are money, and no MRR."""
    told.hear(
        subscribed("ann", "2025-01-10"),
        *(
            invoiced("ann", f"2025-02-0{day}", 9_000, kind)
            for day, kind in enumerate(("addon", "proration", "credit", "other", "tax"), 1)
        ),
    )
    for usage in ("exclude", "last_invoice"):
        assert told.moved(usage=usage) == [("2025-01-10", "new", 10_000)]


def test_test_mode_never_counts(told: Told) -> None:
    """Events of a vendor's test mode are stored, said to be there, and in no number."""
    told.hear(subscribed("ann", "2025-01-10"), subscribed("bob", "2025-01-10", livemode=False))
    result = told.ask("mrr", "current", at="2025-01-31")
    assert (result.value, told.customers("2025-01-31")) == (10_000, 1)
    assert result.warnings == ("1 test-mode event is not counted.",)
