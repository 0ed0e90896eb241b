"""The synthetic business is coherent, deterministic, and shows all that a real one would."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from fractions import Fraction
from functools import cache
from itertools import islice, pairwise
from typing import Any

import pytest

from tidemill.connectors.stripe.connector import Stripe
from tidemill.demo import costs, fx_rates, generate
from tidemill.demo.calendar import start_of_day
from tidemill.demo.contract import difference
from tidemill.events import Event

END = date(2026, 10, 31)


@cache
def business() -> tuple[dict[str, Any], ...]:
    return tuple(generate(customers=400, months=18, seed=3, end=END))


@cache
def canonical() -> tuple[Event, ...]:
    made = list(Stripe().translate_many(business(), source="demo"))
    problems = [str(problem) for each in made for problem in each.problems]
    assert not problems, problems[:3]
    return tuple(event for each in made for event in each.events)


def objects(kind: str) -> Iterator[dict[str, Any]]:
    for raw in business():
        if raw["type"].startswith(kind):
            yield raw["data"]["object"]


def subscriptions() -> dict[str, list[dict[str, Any]]]:
    """The raw events of each subscription."""
    found: dict[str, list[dict[str, Any]]] = {}
    for raw in business():
        if raw["data"]["object"]["object"] == "subscription":
            found.setdefault(raw["data"]["object"]["id"], []).append(raw)
    return found


def test_the_same_seed_is_the_same_business() -> None:
    again = generate(customers=400, months=18, seed=3, end=END)
    assert list(islice(again, 3000)) == list(business()[:3000])


@pytest.mark.parametrize(
    "other", [{"seed": 4}, {"customers": 401}, {"months": 17}, {"end": date(2026, 10, 30)}]
)
def test_another_business_shares_no_identity(other: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"customers": 400, "months": 18, "seed": 3, "end": END, **other}
    mine = {raw["id"] for raw in business()}
    assert mine.isdisjoint(raw["id"] for raw in islice(generate(**arguments), 500))


def test_events_are_in_order_of_time_and_within_the_months_asked_for() -> None:
    times = [raw["created"] for raw in business()]
    assert all(one <= other for one, other in pairwise(times))
    assert times[0] == start_of_day(date(2025, 5, 1))
    assert times[-1] < start_of_day(date(2026, 11, 1))


def test_every_event_and_object_has_an_identity_of_its_own() -> None:
    assert len({raw["id"] for raw in business()}) == len(business())
    created = Counter(
        raw["data"]["object"]["id"] for raw in business() if raw["type"].endswith(".created")
    )
    assert set(created.values()) == {1}


def test_all_of_it_is_live_and_of_the_newest_version() -> None:
    assert {(raw["livemode"], raw["api_version"]) for raw in business()} == {
        (True, "2026-10-28.endive")
    }


def test_it_is_json() -> None:
    for raw in business()[:500]:
        assert json.loads(json.dumps(raw)) == raw


def test_all_of_it_is_understood() -> None:
    families = Counter(event.type.partition(".")[0] for event in canonical())
    known = {"customer", "product", "plan", "subscription", "invoice", "payment", "allocation"}
    assert families.keys() == known
    ignored = [each.ignored for each in Stripe().translate_many(business(), source="demo")]
    assert {each for each in ignored if each} == {
        "an announcement; the change has its own event",
        "told by the subscription",
        "told by the subscriptions that use it",
        "told by refund.created",
        "a dispute that brought nothing back",
    }


def test_everything_a_subscription_can_go_through_happens() -> None:
    happened = {event.type.partition(".")[2] for event in canonical()}
    assert happened >= {
        "created", "activated", "changed", "canceled", "uncanceled", "churned", "trial_started",
        "trial_converted", "trial_expired", "past_due", "recovered", "paused", "resumed",
        "succeeded", "failed", "refunded", "disputed", "dispute_won", "finalized", "paid", "voided",
        "uncollectible", "deleted",
    }  # fmt: skip
    statuses = {found["status"] for found in objects("customer.subscription")}
    assert statuses == {
        "incomplete",
        "incomplete_expired",
        "trialing",
        "active",
        "past_due",
        "unpaid",
        "paused",
        "canceled",
    }


def test_the_offer_is_as_broad_as_promised() -> None:
    active = list(objects("customer.subscription"))
    items = [item for found in active for item in found["items"]["data"]]
    assert {found["currency"] for found in active} == {"usd", "eur", "gbp"}
    intervals = {item["price"]["recurring"]["interval"] for item in items}
    assert intervals == {"week", "month", "year"}
    assert max(item.get("quantity", 0) for item in items) > 10
    assert max(len(found["items"]["data"]) for found in active) == 3
    metered = {item["price"]["product"] for item in items if "quantity" not in item}
    assert metered == {"prod_calls"}
    coupons = {each["source"]["coupon"]["duration"] for each in objects("customer.discount")}
    assert coupons == {"once", "repeating", "forever"}
    assert {found["collection_method"] for found in active} == {
        "charge_automatically",
        "send_invoice",
    }
    customers = list(objects("customer.created"))
    assert len({each["address"]["country"] for each in customers}) >= 8
    assert len({each["metadata"]["channel"] for each in customers}) >= 5


def test_both_ways_of_pausing_and_of_cancelling_are_used() -> None:
    active = list(objects("customer.subscription"))
    assert any(found["pause_collection"] for found in active)
    assert any(found["status_details"] for found in active)
    scheduled = [found for found in active if found["cancel_at"] and not found["ended_at"]]
    assert {found["cancel_at_period_end"] for found in scheduled} == {True, False}
    reasons = {found["cancellation_details"]["reason"] for found in active if found["ended_at"]}
    assert reasons >= {"cancellation_requested", "payment_failed"}


def test_customers_come_back() -> None:
    started = Counter(found["customer"] for found in objects("customer.subscription.created"))
    assert max(started.values()) > 1


def test_a_subscription_is_a_chain_of_whole_states() -> None:
    """Each change starts from the state that the event before it left."""
    for events in subscriptions().values():
        for before, after in pairwise(events):
            was, now = before["data"]["object"], after["data"]["object"]
            previous = after["data"].get("previous_attributes")
            if previous is not None:
                assert previous == difference(was, now)
            assert was["status"] not in {"canceled", "incomplete_expired"}, "the end is the end"


def test_periods_follow_each_other_without_gap() -> None:
    for events in subscriptions().values():
        ends = [
            (item["current_period_start"], item["current_period_end"])
            for raw in events
            for item in raw["data"]["object"]["items"]["data"][:1]
        ]
        for (start, end), (later_start, later_end) in pairwise(ends):
            assert start < end
            assert later_start in {start, end} or later_start > start
            assert later_end >= end or later_start > start


def test_bills_add_up_and_are_paid_by_their_charge() -> None:
    paid: dict[str, int] = {}
    for found in objects("invoice."):
        lines = sum(line["amount"] for line in found["lines"]["data"])
        off = sum(each["amount"] for each in found["total_discount_amounts"])
        assert found["subtotal"] == lines
        assert found["total"] == max(0, lines - off)
        if found["status"] == "paid":
            paid[f"pi_{found['id']}"] = found["total"]
    charges = {found["payment_intent"]: found["amount"] for found in objects("charge.succeeded")}
    assert charges == {key: total for key, total in paid.items() if total}


def test_usage_is_billed_when_its_month_is_over() -> None:
    lines = [
        line
        for found in objects("invoice.created")
        for line in found["lines"]["data"]
        if line["pricing"]["price_details"]["product"] == "prod_calls"
    ]
    assert len(lines) > 20
    for line in lines:
        assert line["period"]["end"] - line["period"]["start"] < 32 * 86_400
        assert abs(line["amount"] - line["quantity"] * 0.04) < line["amount"] // 4 + 2
    billed = {found["id"]: found["created"] for found in objects("invoice.created")}
    assert all(line["period"]["end"] <= billed[line["invoice"]] for line in lines)
    used = [json.loads(event.data) for event in canonical() if event.type == "invoice.finalized"]
    assert sum(line["kind"] == "usage" for found in used for line in found["lines"]) > 20


def test_stripe_keeps_a_fee_of_what_is_paid_and_disputed() -> None:
    money = {event.type: json.loads(event.data) for event in canonical()}
    paid = money["payment.succeeded"]
    assert paid["fee"] == round(paid["amount"] * 0.029) + 30
    assert money["payment.disputed"]["fee"] == 1_500


def test_the_business_grows_at_a_plausible_rate() -> None:
    """A few per cent of the customers leave each month, and more come than leave."""
    active: dict[str, bool] = {}
    by_month: dict[str, int] = {}
    left: Counter[str] = Counter()
    for event in canonical():
        if event.type.startswith("subscription."):
            now = json.loads(event.data)["status"] in {"active", "past_due"}
            month = f"{event.occurred_at:%Y-%m}"
            left[month] += active.get(event.subject, False) and not now
            active[event.subject] = now
            by_month[month] = sum(active.values())
    counts = list(by_month.values())
    assert counts[-1] > 3 * counts[0]
    months = list(by_month)[6:]
    rates = [Fraction(left[month], by_month[month]) for month in months]
    assert Fraction(2, 100) < sum(rates) / len(rates) < Fraction(8, 100)


def test_volume() -> None:
    assert 20 <= len(business()) / 400 <= 60


def test_one_customer_and_one_month_are_a_business_too() -> None:
    events = list(generate(customers=1, months=1, seed=1, end=END))
    assert sum(raw["type"] == "customer.created" for raw in events) == 1


def test_rates_cover_every_day_and_move_slowly() -> None:
    events = list(fx_rates(months=18, seed=3, end=END))
    assert {event.type for event in events} == {"fx_rate.published"}
    rates: dict[str, dict[str, Fraction]] = {}
    for event in events:
        payload = json.loads(event.data)
        assert payload["base"] == "USD"
        rates.setdefault(payload["quote"], {})[payload["day"]] = Fraction(payload["rate"])
    assert rates.keys() == {"EUR", "GBP"}
    first = datetime.fromtimestamp(business()[0]["created"], UTC).date()
    for series in rates.values():
        days = list(series)
        assert days[0] <= first.isoformat()
        assert days[-1] == END.isoformat()
        assert len(days) == (END - date.fromisoformat(days[0])).days + 1
        assert len(set(series.values())) > 100
        for one, other in pairwise(series.values()):
            assert abs(other / one - 1) < Fraction(1, 100)


def test_rates_against_another_base() -> None:
    (eur_usd, eur_gbp) = islice(fx_rates(months=1, seed=3, end=END, base="EUR"), 2)
    quotes = [json.loads(event.data)["quote"] for event in (eur_usd, eur_gbp)]
    assert quotes == ["USD", "GBP"]
    assert Fraction(json.loads(eur_usd.data)["rate"]) < 1


def test_rates_are_the_same_each_time() -> None:
    assert list(fx_rates(months=2, seed=3, end=END)) == list(fx_rates(months=2, seed=3, end=END))


def test_every_month_has_its_costs() -> None:
    told = list(costs(customers=400, months=18, seed=3, end=END))
    payloads = [json.loads(event.data) for event in told]
    assert len({each["id"] for each in payloads}) == len(payloads) == 18 * 6
    days = sorted({each["day"] for each in payloads})
    assert (len(days), days[-1]) == (18, END.isoformat())
    assert days[0][:7] == "2025-05"
    assert all(each["amount"] > 0 for each in payloads)
    assert told == list(costs(customers=400, months=18, seed=3, end=END))
