"""What a change is called: traps of trials, pauses, returns and second subscriptions."""

from __future__ import annotations

from itertools import product
from typing import Final

import pytest

from tests.support.telling import Told, described, invoiced, item, subscribed
from tests.support.weight import first


def test_t05_second_subscription_is_expansion(told: Told) -> None:
    """A second subscription of one customer, later cancelled, is expansion and contraction."""
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("ann", "2025-02-10", 5_000, id="sub_2"),
        subscribed("ann", "2025-03-10", 5_000, "canceled", id="sub_2"),
        # Two more customers: elsewhere this was a revenue churn of a third.
        subscribed("bob", "2025-01-10"),
        subscribed("cyd", "2025-01-10"),
    )
    steps = [
        {"new": 30_000, "expansion": 0, "contraction": 0, "churn": 0, "closing": 30_000},
        {"new": 0, "expansion": 5_000, "contraction": 0, "churn": 0, "closing": 35_000},
        {"new": 0, "expansion": 0, "contraction": -5_000, "churn": 0, "closing": 30_000},
    ]
    rows = told.waterfall("2025-01-01", "2025-03-31").rows
    assert [{name: row[name] for name in steps[0]} for row in rows] == steps
    assert [told.customers(f"2025-0{month}-28") for month in (1, 2, 3)] == [3, 3, 3]


def test_t05_the_last_of_several_subscriptions_is_churn(told: Told) -> None:
    """Two subscriptions that end on one day are one churn of both together."""
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("ann", "2025-01-10", 5_000, id="sub_2"),
        subscribed("ann", "2025-03-10", 10_000, "canceled"),
        subscribed("ann", "2025-03-10T18:00:00Z", 5_000, "canceled", id="sub_2"),
    )
    assert told.moved() == [("2025-01-10", "new", 15_000), ("2025-03-10", "churn", -15_000)]
    # Counted by the subscription, as one knob wants it, each has its own; customers stay customers.
    assert told.moved(movement_level="subscription") == told.moved()
    assert told.customers("2025-03-10", movement_level="subscription") == 0


@pytest.mark.parametrize("subscription", ["sub_ann", "sub_2"])
def test_t07_return_after_churn_is_reactivation(told: Told, subscription: str) -> None:
    """A customer who churned and subscribes again, with whichever subscription, is not new."""
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("ann", "2025-03-10", status="canceled"),
        subscribed("ann", "2025-05-10", 15_000, id=subscription),
    )
    assert told.moved() == [
        ("2025-01-10", "new", 10_000),
        ("2025-03-10", "churn", -10_000),
        ("2025-05-10", "reactivation", 15_000),
    ]
    kinds = [kind for _, kind, _ in told.moved(reactivation="within:60")]
    assert kinds == ["new", "churn", "new"]
    (cohort,) = told.ask("customers", "current", "cohort_month", at="2025-05-31").rows
    assert (str(cohort["cohort_month"]), cohort["customers"]) == ("2025-01-01", 1)


def test_t10_trial_is_no_customer_and_no_churn(told: Told) -> None:
    """A trial that is lost was never worth anything: no MRR, no customer, no movement."""
    trial = {"trial_start": "2025-01-10T12:00:00Z", "trial_end": "2025-01-24T12:00:00Z"}
    told.hear(
        subscribed("ann", "2025-01-10", status="trialing", **trial),
        subscribed("bob", "2025-01-12", 4_000),
        subscribed("ann", "2025-01-20", status="canceled", **trial),
    )
    for day in ("2025-01-10", "2025-01-15", "2025-01-20", "2025-01-31"):
        paying = day >= "2025-01-12"
        assert (told.mrr(day), told.customers(day)) == (4_000 * paying, int(paying)), day
        assert told.ask("arr", "current", at=day).value == 48_000 * paying
    assert told.moved() == [("2025-01-12", "new", 4_000)]


def test_t10_trial_that_nobody_ends_never_counts(told: Told) -> None:
    """A trial past its end without a word of the billing system has not converted."""
    trial = {"trial_start": "2025-01-10T12:00:00Z", "trial_end": "2025-01-24T12:00:00Z"}
    told.hear(subscribed("ann", "2025-01-10", status="trialing", **trial))
    assert told.moved() == []
    assert (told.mrr("2025-12-31"), told.customers("2025-12-31")) == (0, 0)


def test_t11_change_during_trial_is_no_movement(told: Told) -> None:
    """A plan changed during the trial shows when it converts, as one new of the last price."""
    told.hear(
        subscribed("ann", "2025-01-10", 10_000, "trialing"),
        subscribed("ann", "2025-01-15", 20_000, "trialing"),
        subscribed("ann", "2025-01-17", 15_000, "trialing", trial_end="2025-02-10T12:00:00Z"),
        subscribed("ann", "2025-02-10", 15_000, "active"),
    )
    assert told.mrr("2025-02-09") == 0
    assert told.moved() == [("2025-02-10", "new", 15_000)]


@pytest.mark.parametrize(
    ("paused", "movements"),
    [
        ("churn", [("2025-01-10", "new", 10_000), ("2025-02-10", "churn", -10_000)]),
        ("active", [("2025-01-10", "new", 10_000), ("2025-03-10", "churn", -10_000)]),
        (
            "contraction",
            [
                ("2025-01-10", "new", 10_000),
                ("2025-02-10", "contraction", -10_000),
                ("2025-03-10", "churn", 0),
            ],
        ),
    ],
)
def test_t12_churn_while_paused_is_booked_once(
    told: Told, paused: str, movements: list[tuple[str, str, int]]
) -> None:
    """Paused, then cancelled while paused: MRR goes once, on the day the knob `paused` says."""
    pause = {"paused_at": "2025-02-10T12:00:00Z"}
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("ann", "2025-02-10", status="paused", **pause),
        subscribed("ann", "2025-03-10", status="canceled", **pause),
    )
    assert told.moved(paused=paused) == movements
    assert told.mrr("2025-03-10", paused=paused) == 0
    assert told.customers("2025-03-10", paused=paused) == 0


def test_t12_collection_paused_then_churned(told: Told) -> None:
    """The same where the status stays active and only collection is paused."""
    pause = {"paused_at": "2025-02-10T12:00:00Z"}
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("ann", "2025-02-10", **pause),
        subscribed("ann", "2025-03-10", status="canceled", **pause),
    )
    assert told.moved() == [("2025-01-10", "new", 10_000), ("2025-02-10", "churn", -10_000)]
    assert told.mrr("2025-12-31") == 0


def test_t19_newcomers_upgrade_leaves_the_opening_cohort_alone(told: Told) -> None:
    """A customer joins and upgrades in June; nothing happens to who was there before.

    Their MRR at the close of June is what it was at its opening: 100 %, where 140 % was shown.
    """
    told.hear(
        subscribed("old", "2025-01-10", 10_000),
        subscribed("joins", "2025-06-05", 1_000),
        subscribed("joins", "2025-06-20", 5_000),
    )
    before = told.waterfall("2025-06-01", "2025-06-30", where=["cohort_month!=2025-06"]).rows
    kept = [(row["opening"], row["expansion"], row["closing"]) for row in before]
    assert kept == [(10_000, 0, 10_000)]
    (month,) = told.waterfall("2025-06-01", "2025-06-30").rows
    assert (month["new"], month["expansion"], month["closing"]) == (1_000, 4_000, 15_000)


def test_t20_join_and_churn_inside_a_month_leave_the_opening_cohort_alone(told: Told) -> None:
    """Who joined and left in June was not there at its opening: that cohort keeps 100 %."""
    told.hear(
        subscribed("old", "2025-01-10", 10_000),
        subscribed("quick", "2025-06-05", 20_000),
        subscribed("quick", "2025-06-20", 20_000, "canceled"),
    )
    (cohort,) = told.waterfall("2025-06-01", "2025-06-30", where=["cohort_month!=2025-06"]).rows
    assert (cohort["opening"], cohort["churn"], cohort["closing"]) == (10_000, 0, 10_000)
    (month,) = told.waterfall("2025-06-01", "2025-06-30").rows
    assert (month["new"], month["churn"], month["closing"]) == (20_000, -20_000, 10_000)
    erased = told.waterfall("2025-06-01", "2025-06-30", join_churn_same_month="ignore").rows[0]
    assert (erased["new"], erased["churn"], erased["closing"]) == (0, 0, 10_000)


def test_t21_churn_return_and_churn_in_a_month_is_one_customer_lost(told: Told) -> None:
    """By the month there is one churn of 10000 of 10000; by the day each is told, and closes."""
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("ann", "2025-06-05", status="canceled"),
        subscribed("ann", "2025-06-12"),
        subscribed("ann", "2025-06-25", status="canceled"),
    )
    assert told.moved(netting="month") == [
        ("2025-01-10", "new", 10_000),
        ("2025-06-25", "churn", -10_000),
    ]
    assert [kind for _, kind, _ in told.moved()] == ["new", "churn", "reactivation", "churn"]
    series = told.ask("customers", "series", start="2025-05-01", end="2025-06-30").rows
    assert [row["customers"] for row in series] == [1, 0]


def test_t21_churn_and_return_within_a_day_is_nothing(told: Told) -> None:
    """A replacement: the old subscription ends and another begins the same day."""
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("ann", "2025-06-05T08:00:00Z", status="canceled"),
        subscribed("ann", "2025-06-05T09:00:00Z", 12_000, id="sub_2"),
    )
    assert told.moved() == [("2025-01-10", "new", 10_000), ("2025-06-05", "expansion", 2_000)]
    kinds = [kind for _, kind, _ in told.moved(netting="none")]
    assert kinds == ["new", "churn", "reactivation"]


def test_t31_customers_are_customers(told: Told) -> None:
    """One customer with two subscriptions and one on trial are one customer, everywhere."""
    told.hear(
        described("ann", "2025-01-01", country="DE"),
        subscribed("ann", "2025-01-10", items=[item(10_000, plan="a")]),
        subscribed("ann", "2025-01-11", id="sub_2", items=[item(5_000, plan="b")]),
        subscribed("trying", "2025-01-12", status="trialing"),
        described("nobody", "2025-01-12"),
        invoiced("nobody", "2025-01-13", 700, "addon", subscription=None),
    )
    assert told.customers("2025-01-31") == 1
    (row,) = told.ask("customers", "series", start="2025-01-01", end="2025-01-31").rows
    assert row["customers"] == 1
    summary = told.engine.summary("2025-01-31")
    found = {each.name: each.value for each in summary.headlines}
    assert (found["mrr"], found["customers"]) == (15_000, 1)
    # By plan the customer is on both, and the answer says that groups overlap.
    by_plan = told.ask("customers", "current", "plan", at="2025-01-31")
    assert [(each["plan"], each["customers"]) for each in by_plan.rows] == [("a", 1), ("b", 1)]
    assert "more than the total" in by_plan.warnings[0]
    (by_country,) = told.ask("customers", "current", "country", at="2025-01-31").rows
    assert (by_country["country"], by_country["customers"]) == ("DE", 1)


def test_what_was_never_there_changed_no_plan_either(told: Told) -> None:
    """Joined, changed plans at one price and left within one netted month: nothing, in any plan."""
    told.hear(
        subscribed("ann", "2025-03-03", items=[item(plan="small")]),
        subscribed("ann", "2025-03-10", items=[item(id="si_2", plan="large")]),
        subscribed("ann", "2025-03-20", status="canceled", items=[item(id="si_2", plan="large")]),
        # One who was there before changes plans all the same.
        subscribed("bob", "2025-01-10", items=[item(plan="small")]),
        subscribed("bob", "2025-03-10", items=[item(id="si_2", plan="large")]),
    )
    assert told.moved() == [
        ("2025-01-10", "new", 10_000),
        ("2025-03-03", "new", 10_000),
        ("2025-03-20", "churn", -10_000),
    ]
    assert told.moved(netting="month") == [("2025-01-10", "new", 10_000)]
    answer = told.ask("mrr", "current", "plan", at="2025-04-30", netting="month")
    assert {row["plan"]: row["mrr"] for row in answer.rows if row["mrr"]} == {"large": 10_000}


def test_what_is_rounded_to_nothing_is_nothing_by_item(told: Told) -> None:
    """Two items worth 5/12 cents together stand for no customer, and leave nothing in a plan."""
    items = [item(0, plan="small"), item(5, id="si_2", plan="large", interval="year")]
    told.hear(
        subscribed("ann", "2025-01-10", items=items),
        subscribed("ann", "2025-02-10", items=[*reversed(items)]),
    )
    span = {"start": "2025-01-01", "end": "2025-12-31"}
    for netting in ("day", "month"):
        policy = {"rounding": "subscription", "netting": netting}
        assert told.moved(**policy) == []
        assert told.ask("mrr", "movements", **span, **policy).rows == ()


@pytest.mark.parametrize("netting", ["window:60", "month"])
def test_a_free_subscription_beside_a_paid_one_moves_nothing(told: Told, netting: str) -> None:
    """Who is worth something is there anyway: it neither keeps a window open nor dates a month."""
    told.hear(
        subscribed("ann", "2025-01-10T12:00:00Z"),
        subscribed("ann", "2025-01-10T12:40:00Z", 0, id="sub_free"),
        subscribed("ann", "2025-01-10T13:20:00Z", 2_000, id="sub_2"),
        subscribed("ann", "2025-01-31", 0, id="sub_free_2"),
    )
    found = told.moved(netting=netting, free_plans="after_paid")
    if netting == "month":
        assert found == [("2025-01-10", "new", 12_000)]
    else:
        assert found == [("2025-01-10", "new", 10_000), ("2025-01-10", "expansion", 2_000)]


# Every two values of two knobs meet in the first half.
_MET: Final = (
    *product(("after_paid",), ("customer",), ("day", "window:60")),
    *product(("after_paid",), ("subscription",), ("none", "month")),
    *product(("always",), ("customer",), ("none", "month")),
    *product(("always",), ("subscription",), ("day", "window:60")),
)
_ALL: Final = tuple(
    product(
        ("after_paid", "always"),
        ("customer", "subscription"),
        ("day", "none", "window:60", "month"),
    )
)


@pytest.mark.parametrize(
    ("free_plans", "level", "netting"),
    first(len(_MET), [*_MET, *(each for each in _ALL if each not in _MET)]),
)
def test_a_free_plan_for_another_loses_nobody(
    told: Told, free_plans: str, level: str, netting: str
) -> None:
    """One free plan ends in the instant in which the next begins: nobody went or came by it."""
    told.hear(
        subscribed("ann", "2025-01-10", items=[item(10_000, plan="paid")]),
        subscribed("ann", "2025-02-10", items=[item(0, id="si_2", plan="free")]),
        subscribed("ann", "2025-03-10", items=[item(0, id="si_3", plan="free too")]),
        subscribed("ann", "2025-04-10", status="canceled"),
        # And by another subscription, which is one subscription less and one more.
        subscribed("bob", "2025-01-10"),
        subscribed("bob", "2025-02-10", 0),
        subscribed("bob", "2025-03-10", 0, "canceled"),
        subscribed("bob", "2025-03-10", 0, id="sub_2"),
    )
    policy = {"free_plans": free_plans, "movement_level": level, "netting": netting}
    days = [f"2025-{month:02}-28" for month in range(1, 5)]
    assert [told.customers(day, **policy) for day in days] == [2, 2, 2, 1]
    lost = told.ask("churn", "series", start="2025-01-01", end="2025-04-30", **policy).rows
    assert [row["logo_churn_numerator"] for row in lost] == [0, 0, 0, 1]
