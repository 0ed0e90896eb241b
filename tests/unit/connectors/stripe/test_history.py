"""The past of a subscription, put together from what is still shown of it."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.stripe import fixture
from tidemill.connectors.stripe.history import History, Version, reconstruct, rewound
from tidemill.connectors.stripe.history_evidence import Evidence
from tidemill.vocabulary import Confidence

SURE, GUESSED = Confidence.RECONSTRUCTED, Confidence.INFERRED
_count = iter(range(10**6))


def day(text: str) -> int:
    """Midnight UTC in Unix seconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


JAN, FEB, MAR, APR, MAY = (day(f"2026-0{month}-01") for month in range(1, 6))
MONTHS = (JAN, FEB, MAR, APR, MAY)


def price(key: str = "seat", amount: int = 1_000, interval: str = "month") -> dict[str, Any]:
    return {
        "id": key, "object": "price", "currency": "usd", "product": f"prod_{key}",
        "billing_scheme": "per_unit", "unit_amount": amount, "type": "recurring",
        "recurring": {"interval": interval, "interval_count": 1, "usage_type": "licensed"},
    }  # fmt: skip


PRICES = {each["id"]: each for each in (price(), price("support", 500), price("gold", 9_000))}


def item(key: str = "si_1", of: str = "seat", quantity: int = 1, created: int = JAN) -> Any:
    return {
        "id": key, "object": "subscription_item", "price": PRICES[of], "quantity": quantity,
        "created": created, "discounts": [],
    }  # fmt: skip


def subscription(*items: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "sub_1", "object": "subscription", "customer": "cus_1", "currency": "usd",
        "status": "active", "created": JAN, "start_date": JAN, "discounts": [],
        "cancel_at_period_end": False, "canceled_at": None, "ended_at": None,
        "items": {"object": "list", "data": list(items or [item()])},
        **more,
    }  # fmt: skip


def cycle(start: int, end: int, quantity: int = 1, of: str = "seat", key: str = "si_1") -> Any:
    return _line(start, end, quantity, of, PRICES[of]["unit_amount"] * quantity) | {
        "parent": {
            "type": "subscription_item_details",
            "subscription_item_details": {
                "subscription": "sub_1", "subscription_item": key, "proration": False,
            },
        }
    }  # fmt: skip


def prorated(at: int, end: int, quantity: int, of: str = "seat", *, back: bool = False) -> Any:
    """A proration line as it has been since basil: it does not name the item."""
    return _line(at, end, quantity, of, (-400 if back else 400) * quantity) | {
        "parent": {
            "type": "invoice_item_details",
            "invoice_item_details": {
                "subscription": "sub_1", "invoice_item": f"ii_{next(_count)}", "proration": True,
            },
        }
    }  # fmt: skip


def _line(start: int, end: int, quantity: int, of: str, amount: int) -> dict[str, Any]:
    return {
        "id": f"il_{next(_count)}", "object": "line_item", "amount": amount, "quantity": quantity,
        "period": {"start": start, "end": end},
        "pricing": {"type": "price_details", "price_details": {"price": of, "product": "p"}},
    }  # fmt: skip


def invoice(created: int, *lines: Any, status: str = "paid", **more: Any) -> dict[str, Any]:
    return {
        "id": f"in_{next(_count)}", "object": "invoice", "created": created, "status": status,
        "billing_reason": "subscription_cycle", "discounts": [],
        "status_transitions": {"finalized_at": created + 3_600, "paid_at": created + 3_600},
        "parent": {
            "type": "subscription_details", "subscription_details": {"subscription": "sub_1"},
        },
        "lines": {"object": "list", "data": list(lines)},
        **more,
    }  # fmt: skip


def past(anchor: Mapping[str, Any], *invoices: Any, **more: Any) -> History:
    """The history until the first of May; every event since mid-April is known."""
    evidence = Evidence(invoices=invoices, prices=PRICES, **more)
    return reconstruct(anchor, evidence, until=MAY, quiet_from=day("2026-04-15"))


def sold(version: Version) -> list[tuple[str, int | None]]:
    return [(e["price"]["id"], e["quantity"]) for e in version.state["items"]["data"]]


def told(history: History) -> list[tuple[int, list[tuple[str, int | None]], Confidence]]:
    return [(each.at, sold(each), each.confidence) for each in history.versions]


def steady(quantity: int = 1) -> Iterator[Any]:
    """Invoices for the first four months."""
    for start, end in itertools.pairwise(MONTHS):
        yield invoice(start, cycle(start, end, quantity))


# --- items ----------------------------------------------------------------------------------------


def test_nothing_changed() -> None:
    assert told(past(subscription(), *steady())) == [(JAN, [("seat", 1)], SURE)]


@pytest.mark.parametrize("shape", ["new_shape", "pre_basil"])
def test_the_story_comes_out_alike_from_both_shapes(shape: str) -> None:
    second = fixture(f"invoice.{shape}")
    cycle_line = copy.deepcopy(second["lines"]["data"][-1])
    start = 1_775_001_600
    first = {
        **second,
        "id": "in_T1",
        "created": start,
        "billing_reason": "subscription_create",
        "lines": {
            "object": "list",
            "data": [
                {
                    **cycle_line,
                    "id": "il_first",
                    "quantity": 1,
                    "amount": 1_500,
                    "period": {"start": start, "end": 1_777_593_600},
                }
            ],
        },
    }
    anchor = fixture(f"subscription.{shape}")
    anchor["items"]["data"][0]["quantity"] = 3
    prices = {each["id"]: each for each in _prices(fixture("prices"))}
    evidence = Evidence(invoices=[second, first], prices=prices)
    until = 1_779_000_000
    history = reconstruct(anchor, evidence, until=until, quiet_from=until - 86_400)
    assert told(history) == [
        (start, [("price_seat_usd_month", 1)], SURE),
        (1_776_297_600, [("price_seat_usd_month", 3)], SURE),
    ]
    assert history.unknown == {}


def _prices(found: Any) -> list[dict[str, Any]]:
    entries = found.values() if isinstance(found, dict) else found
    return [each for each in entries if isinstance(each, dict) and "id" in each]


def test_a_proration_dates_a_change_of_quantity() -> None:
    at = day("2026-02-11")
    history = past(
        subscription(item(quantity=3)),
        invoice(JAN, cycle(JAN, FEB)),
        invoice(FEB, cycle(FEB, MAR)),
        invoice(MAR, prorated(at, MAR, 1, back=True), prorated(at, MAR, 3), cycle(MAR, APR, 3)),
        invoice(APR, cycle(APR, MAY, 3)),
    )
    assert told(history) == [(JAN, [("seat", 1)], SURE), (at, [("seat", 3)], SURE)]


def test_a_proration_that_is_on_no_invoice_yet_dates_the_latest_change() -> None:
    at = day("2026-04-10")
    waiting = [
        {
            "id": f"ii_{quantity}", "object": "invoiceitem", "proration": True, "amount": amount,
            "quantity": quantity, "period": {"start": at, "end": MAY},
            "pricing": {"price_details": {"price": "seat", "product": "p"}},
            "parent": {"subscription_details": {"subscription": "sub_1"}},
        }
        for quantity, amount in ((1, -400), (2, 800))
    ]  # fmt: skip
    history = past(subscription(item(quantity=2)), *steady(), pending=waiting)
    assert told(history)[1:] == [(at, [("seat", 2)], SURE)]


def test_a_change_of_plan_is_one_of_the_same_item() -> None:
    at = day("2026-02-11")
    history = past(
        subscription(item(of="gold"), item("si_2", "support")),
        invoice(JAN, cycle(JAN, FEB), cycle(JAN, FEB, 1, "support", "si_2")),
        invoice(FEB, cycle(FEB, MAR), cycle(FEB, MAR, 1, "support", "si_2")),
        invoice(
            MAR,
            prorated(at, MAR, 1, back=True),
            prorated(at, MAR, 1, "gold"),
            cycle(MAR, APR, 1, "gold"),
            cycle(MAR, APR, 1, "support", "si_2"),
        ),
    )
    assert told(history) == [
        (JAN, [("seat", 1), ("support", 1)], SURE),
        (at, [("gold", 1), ("support", 1)], SURE),
    ]


def test_items_come_and_go_inside_a_period() -> None:
    came, went = day("2026-02-11"), day("2026-03-20")
    history = past(
        subscription(),
        invoice(JAN, cycle(JAN, FEB)),
        invoice(FEB, cycle(FEB, MAR)),
        invoice(
            MAR,
            prorated(came, MAR, 2, "support"),
            cycle(MAR, APR),
            cycle(MAR, APR, 2, "support", "si_2"),
        ),
        invoice(APR, prorated(went, APR, 2, "support", back=True), cycle(APR, MAY)),
    )
    assert told(history) == [
        (JAN, [("seat", 1)], SURE),
        (came, [("seat", 1), ("support", 2)], SURE),
        (went, [("seat", 1)], SURE),
    ]


def test_a_change_nothing_dates_counts_from_where_it_is_seen() -> None:
    history = past(
        subscription(item(quantity=5)),
        invoice(JAN, cycle(JAN, FEB)),
        invoice(FEB, cycle(FEB, MAR, 4)),
        invoice(MAR, cycle(MAR, APR, 4)),
        invoice(APR, cycle(APR, MAY, 4)),
    )
    assert told(history)[1:] == [
        (FEB, [("seat", 4)], GUESSED),
        # No event tells it, so it happened before the days of which all events are known.
        (day("2026-04-15"), [("seat", 5)], GUESSED),
    ]
    assert history.unknown == {"undated_change": 2}


def test_a_schedule_dates_a_change_without_proration() -> None:
    at = day("2026-02-11")
    schedule = {
        "phases": [
            {"start_date": JAN, "items": [{"price": "seat", "quantity": 1}]},
            {"start_date": at, "items": [{"price": "gold", "quantity": 1}]},
        ]
    }
    history = past(
        subscription(item(of="gold")),
        invoice(JAN, cycle(JAN, FEB)),
        invoice(FEB, cycle(FEB, MAR)),
        invoice(MAR, cycle(MAR, APR, 1, "gold")),
        schedule=schedule,
    )
    assert told(history)[1:] == [(at, [("gold", 1)], SURE)]


def test_a_price_nobody_shows_any_more_costs_what_was_charged() -> None:
    line = cycle(JAN, FEB, 2)
    line["pricing"]["price_details"]["price"] = "gone"
    line["amount"] = 2_468
    history = past(subscription(), invoice(JAN, line), *list(steady())[1:])
    first = history.versions[0].state["items"]["data"][0]["price"]
    assert (first["id"], first["unit_amount_decimal"]) == ("gone", "1234")
    assert first["recurring"]["interval"] == "month"
    assert history.unknown["lost_price"] == 1


def test_the_lines_of_a_tiered_price_add_up_to_one_quantity() -> None:
    tiered = {
        **price("tiered"), "billing_scheme": "tiered", "tiers_mode": "graduated",
        "unit_amount": None,
        "tiers": [
            {"up_to": 10, "unit_amount": 100, "flat_amount": None},
            {"up_to": None, "unit_amount": 50, "flat_amount": 300},
        ],
    }  # fmt: skip
    lines = []
    # Ten units, two more, and the flat amount of the second tier, as a line of its own.
    for quantity, amount in ((10, 1_000), (2, 100), (1, 300)):
        line = cycle(JAN, FEB, quantity)
        line["pricing"]["price_details"]["price"] = "tiered"
        lines.append(line | {"amount": amount})
    anchor = subscription({**item(), "price": tiered, "quantity": 12})
    evidence = Evidence(invoices=[invoice(JAN, *lines)], prices={"tiered": tiered})
    history = reconstruct(anchor, evidence, until=FEB, quiet_from=JAN)
    assert told(history) == [(JAN, [("tiered", 12)], SURE)]


# --- status, ends, pauses -------------------------------------------------------------------------


def statuses(history: History) -> list[tuple[int, str]]:
    return [(each.at, each.state["status"]) for each in history.versions]


def test_trial_request_and_end() -> None:
    trial_end, asked, ended = day("2026-01-15"), day("2026-03-05"), day("2026-03-15")
    anchor = subscription(
        status="canceled", trial_start=JAN, trial_end=trial_end, canceled_at=asked,
        cancel_at_period_end=True, ended_at=ended,
    )  # fmt: skip
    history = past(
        anchor,
        invoice(JAN, cycle(JAN, trial_end) | {"amount": 0}),
        invoice(trial_end, cycle(trial_end, day("2026-02-15"))),
        invoice(day("2026-02-15"), cycle(day("2026-02-15"), ended)),
    )
    assert statuses(history) == [
        (JAN, "trialing"), (trial_end, "active"), (asked, "active"), (ended, "canceled"),
    ]  # fmt: skip
    wishes = [each.state["cancel_at_period_end"] for each in history.versions]
    assert wishes == [False, False, True, True]
    assert history.versions[-1].kind == "customer.subscription.deleted"
    assert {each.confidence for each in history.versions} == {SURE}


def test_a_first_payment_that_never_came() -> None:
    ended = JAN + 23 * 3_600
    history = past(subscription(status="incomplete_expired", ended_at=ended))
    assert statuses(history) == [(JAN, "incomplete"), (ended, "incomplete_expired")]


def test_several_attempts_were_a_time_past_due() -> None:
    paid = FEB + 9 * 86_400
    turns = {"finalized_at": FEB + 3_600, "paid_at": paid}
    late = invoice(FEB, cycle(FEB, MAR), attempt_count=3, status_transitions=turns)
    rest = list(steady())
    history = past(subscription(), rest[0], late, *rest[2:])
    assert statuses(history) == [(JAN, "active"), (FEB + 3_600, "past_due"), (paid, "active")]


def test_months_nobody_charged_were_a_pause() -> None:
    months = list(steady())
    history = past(subscription(), months[0], months[3])
    assert statuses(history) == [(JAN, "active"), (FEB, "paused"), (APR, "active")]
    assert history.versions[1].confidence is GUESSED
    assert history.unknown == {"guessed_pause": 1}


def test_invoices_voided_automatically_were_a_pause_of_collection() -> None:
    void = [
        invoice(at, cycle(at, end), status="void", status_transitions={"voided_at": at + 3_600})
        for at, end in ((FEB, MAR), (MAR, APR))
    ]
    months = list(steady())
    history = past(subscription(), months[0], *void, months[3])
    pauses = [(each.at, bool(each.state["pause_collection"])) for each in history.versions]
    assert pauses == [(JAN, False), (FEB, True), (APR, False)]


def test_a_pause_that_is_dated_is_sure() -> None:
    at = day("2026-04-03")
    details = {"paused": {"type": "subscription", "transitioned_at": at}}
    history = past(subscription(status="paused", status_details=details), *steady())
    assert statuses(history) == [(JAN, "active"), (at, "paused")]
    assert history.versions[-1].confidence is SURE


# --- discounts ------------------------------------------------------------------------------------


def test_discounts_come_with_their_start_and_go_where_nothing_shows_them() -> None:
    def off(key: str, start: int) -> dict[str, Any]:
        coupon = {"id": "c", "object": "coupon", "duration": "forever", "percent_off": 10}
        return {
            "id": key, "object": "discount", "start": start, "end": None,
            "source": {"type": "coupon", "coupon": coupon},
        }  # fmt: skip

    now, gone = off("di_now", day("2026-03-10")), off("di_gone", JAN)
    months = list(steady())
    months[0]["discounts"] = [gone]
    history = past(subscription(discounts=[now]), *months)
    shown = [(e.at, [d["id"] for d in e.state["discounts"]]) for e in history.versions]
    assert shown == [(JAN, ["di_gone"]), (FEB, []), (day("2026-03-10"), ["di_now"])]
    assert history.unknown == {"lost_discount": 1}


# --- whatever the order ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_the_order_of_the_evidence_changes_nothing(seed: int) -> None:
    at = day("2026-02-11")
    invoices = [
        invoice(JAN, cycle(JAN, FEB), cycle(JAN, FEB, 2, "support", "si_2")),
        invoice(FEB, cycle(FEB, MAR), cycle(FEB, MAR, 2, "support", "si_2")),
        invoice(
            MAR,
            prorated(at, MAR, 1, back=True),
            prorated(at, MAR, 4),
            prorated(at + 60, MAR, 2, "support", back=True),
            cycle(MAR, APR, 4),
        ),
        invoice(APR, cycle(APR, MAY, 4)),
    ]
    anchor = subscription(item(quantity=4))
    expected = past(anchor, *invoices)
    assert len(expected.versions) == 3
    chance = random.Random(seed)
    for each in invoices:
        chance.shuffle(each["lines"]["data"])
    chance.shuffle(invoices)
    assert past(anchor, *invoices) == expected


def test_what_was_before_an_event() -> None:
    event = {
        "type": "customer.subscription.updated",
        "data": {
            "object": {"id": "s", "status": "active", "items": {"object": "list", "data": [2]}},
            "previous_attributes": {"status": "trialing", "items": {"data": [1]}},
        },
    }
    before = rewound(event)
    assert before == {"id": "s", "status": "trialing", "items": {"object": "list", "data": [1]}}
    assert rewound({"type": "customer.subscription.created", "data": {"object": {}}}) is None
