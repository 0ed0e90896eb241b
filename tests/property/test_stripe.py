"""Laws of the Stripe connector: nothing that is JSON breaks it, and order never matters."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.damage import anything, damaged
from tests.support.stripe import SHARED, event, fixture, subscription
from tidemill.connectors.base import Translation
from tidemill.connectors.files import read_events, read_stripe_events
from tidemill.connectors.stripe.connector import Stripe
from tidemill.events import parse_event
from tidemill.intake import Rejected

STRIPE = Stripe()

KINDS = [
    "customer.created",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "invoice.paid",
    "invoice.deleted",
    "charge.succeeded",
    "charge.refunded",
    "charge.dispute.created",
    "refund.created",
    "product.updated",
    "price.created",
    "plan.updated",
    "coupon.created",
    "customer.discount.created",
]


def check(translation: Translation) -> None:
    """Exactly one of events, reason and problems; and what came out is valid by the contract."""
    filled = [
        bool(translation.events),
        translation.ignored is not None,
        bool(translation.problems),
    ]
    assert filled.count(True) == 1
    for made in translation.events:
        envelope = {
            "id": str(made.id),
            "source": made.source,
            "type": made.type,
            "occurred_at": made.occurred_at.isoformat(),
            "sequence": made.sequence,
            "customer": made.customer,
            "data": json.loads(made.data),
        }
        assert parse_event(json.dumps(envelope).encode()).data
    for problem in translation.problems:
        assert problem.problem
        str(problem).encode()


@given(st.dictionaries(st.text(max_size=8), anything, max_size=5))
def test_any_object_at_all(raw: dict[str, Any]) -> None:
    check(STRIPE.translate(raw, source="stripe"))


@given(kind=st.sampled_from(KINDS), found=anything, previous=anything)
def test_any_object_inside_an_event(kind: str, found: Any, previous: Any) -> None:
    check(STRIPE.translate(event(kind, found, previous=previous), source="stripe"))


def _with_status(kind: str) -> dict[str, Any]:
    """An event whose object has a list for its status, which no set can be asked for."""
    data = {"object": {"id": "x_1", "status": ["won"]}, "previous_attributes": {"status": "active"}}
    return {"id": "evt_1", "type": kind, "created": 1_775_001_600, "data": data}


@given(damaged())
@settings(max_examples=300)
@example({"type": "coupon.created", "data": {"object": {"id": ["x"]}}})
@example({"id": "evt_1", "type": "invoice.paid", "created": 1_775_001_600, "data": {"object": {}}})
@example(_with_status("charge.dispute.created"))
@example(_with_status("refund.failed"))
@example(_with_status("customer.subscription.updated"))
def test_damaged_events(raw: dict[str, Any]) -> None:
    check(STRIPE.translate(raw, source="stripe"))


@given(st.lists(damaged(), max_size=4))
@settings(max_examples=50)
def test_damaged_events_side_by_side(events: list[dict[str, Any]]) -> None:
    for translation in STRIPE.translate_many(events, source="stripe"):
        check(translation)


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_a_file(content: bytes) -> None:
    for read in (read_events, read_stripe_events):
        for item in read(BytesIO(b"\n" + content), source="x"):
            if isinstance(item, Rejected):
                assert item.problems
                item.body.encode()


@given(st.permutations(fixture("events.subscription_story")["events"]), st.booleans())
@settings(max_examples=30)
def test_order_and_copies_change_nothing(events: list[Any], copies: bool) -> None:  # noqa: FBT001 - drawn
    def sequences(raw: list[Any]) -> dict[str, int]:
        found = STRIPE.translate_many(raw, source="stripe")
        return {str(made.id): made.sequence for each in found for made in each.events}

    story = fixture("events.subscription_story")["events"]
    assert sequences(events * 2 if copies else events) == sequences(story)


amounts = st.integers(0, 10**6)


@given(st.lists(amounts, min_size=1, max_size=5), amounts)
@example([1, 1, 1, 0], 2)
def test_a_split_amount_is_the_whole_amount(prices: list[int], off: int) -> None:
    item = fixture("subscription.new_shape")["items"]["data"][0]
    items = [
        {
            **item,
            "id": f"si_{place}",
            "price": {**item["price"], "unit_amount": price, "unit_amount_decimal": None},
        }
        for place, price in enumerate(prices)
    ]
    terms = {"amount_off": off, "currency": "usd", "duration": "forever", "id": "C"}
    limited = {**terms, "applies_to": {"products": ["prod_A"]}}
    discount = {"id": "di_1", "start": 1_775_001_600, "source": {"coupon": limited}}
    found = subscription(items={"data": items}, discounts=[discount])
    raw = event("customer.subscription.updated", found)
    (made,) = STRIPE.translate(raw, source="stripe").events
    discounts = json.loads(made.data).get("discounts", [])
    assert sum(Decimal(each["amount_off"]) for each in discounts) == off
    # No item gets more than its share, up to the twelfth decimal.
    total = sum(prices)
    for each in discounts if total else []:
        price = prices[int(each["item"].removeprefix("si_"))]
        share = Fraction(off) * price / total
        assert abs(Fraction(each["amount_off"]) - share) <= Fraction(len(prices), 10**12)


DATED = sorted(path for path in SHARED.glob("20*") if path.is_dir())


@pytest.mark.skipif(not DATED, reason="the published samples are not beside this repository")
@pytest.mark.parametrize("folder", DATED, ids=lambda path: str(path.name))
def test_published_samples_of_every_version_are_understood_or_refused(folder: Any) -> None:
    """Their values are made up and incoherent, so only that nothing breaks can be asked."""
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text("utf-8"))
        check(STRIPE.translate(found, source="stripe"))
        for kind in KINDS:
            check(STRIPE.translate(event(kind, found, api_version=folder.name), source="stripe"))
