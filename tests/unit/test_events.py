"""Reading and making events: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from tidemill import events
from tidemill.errors import InvalidEvent, Permanent, Problem
from tidemill.events import (
    CATALOGUE_TYPES,
    EVENT_TYPES,
    NAMESPACE,
    Customer,
    Discount,
    Event,
    FxRate,
    Item,
    Payment,
    Subscription,
    event_id,
    make_event,
    parse_event,
)
from tidemill.vocabulary import DiscountDuration, Interval, SubscriptionStatus

MOMENT = datetime(2025, 4, 1, tzinfo=UTC)

SUBSCRIPTION: dict[str, Any] = {
    "id": "sub_1", "status": "active", "currency": "usd",
    "items": [{"id": "si_1", "plan": "price_1", "product": "prod_1", "quantity": 3,
               "unit_amount": "1000", "interval": "month", "interval_count": 1,
               "usage_type": "licensed", "tax_inclusive_amount": "0"}],
    "discounts": [{"id": "di_1", "coupon": "c_1", "item": None, "percent_off": "50",
                   "amount_off": None, "duration": "repeating",
                   "starts_at": "2025-04-01T00:00:00Z", "ends_at": "2025-06-01T00:00:00Z"}],
    "started_at": "2025-04-01T00:00:00Z", "trial_start": None, "trial_end": None,
    "past_due_since": None, "paused_at": None,
    "current_period_start": "2025-04-01T00:00:00Z", "current_period_end": "2025-05-01T00:00:00Z",
    "cancel_at_period_end": False, "cancel_at": None, "canceled_at": None, "ended_at": None,
    "cancel_reason": None, "cancel_feedback": None, "voluntary": None,
    "refunded_at_cancellation": False, "collection_method": "charge_automatically",
    "confidence": "observed",
}  # fmt: skip

PAYLOADS: dict[str, dict[str, Any]] = {
    "customer.merged": {"id": "c1", "into": {"source": "lago", "customer": "x"}},
    "customer.attributes_set": {"id": "c1", "attributes": {"tier": "gold", "seats": None}},
    "attribute": {"id": "tier", "kind": "string"},
    "customer": {"id": "c1", "name": "A", "email": "a@example.org", "country": "cz",
                 "currency": "CZK", "created_at": "2025-01-01T00:00:00Z",
                 "attributes": {"tier": "gold", "seats": 5, "rate": 0.5, "vip": True}},
    "product": {"id": "prod_1", "name": "Basic", "active": True},
    "plan": {"id": "price_1", "currency": "eur", "interval": "month", "interval_count": 1,
             "unit_amount": "999.5", "pricing_model": "flat", "usage_type": "licensed"},
    "subscription": SUBSCRIPTION,
    "schedule": {"id": "sched_1", "subscription": "sub_1", "ends_at": "2026-01-01T00:00:00Z",
                 "phases": [{"starts_at": "2025-06-01T00:00:00Z", "items": SUBSCRIPTION["items"]}]},
    "invoice": {"id": "in_1", "status": "paid", "currency": "jpy", "subtotal": 100, "tax": -10,
                "total": 90, "issued_at": "2025-04-01T00:00:00Z",
                "lines": [{"id": "il_1", "kind": "subscription", "amount": -5, "quantity": "0.5"}]},
    "payment": {"id": "py_1", "amount": 100, "currency": "usd", "fee": -3, "method": "card"},
    "allocation": {"id": "a1", "reference": "pi_1", "invoice": "in_1"},
    "fx_rate": {"base": "USD", "quote": "eur", "day": "2025-04-01", "rate": "1.0837"},
    "expense": {"id": "e1", "day": "2025-04-01", "amount": 5000, "currency": "USD",
                "category": "program", "channel": "ads"},
}  # fmt: skip


def payload_of(type: str) -> dict[str, Any]:
    return PAYLOADS.get(type) or PAYLOADS[type.split(".", maxsplit=1)[0]]


def written(type: str = "subscription.changed", **changes: Any) -> dict[str, Any]:
    """A valid event as an object, with some envelope keys changed; None removes a key."""
    customer = {} if type in CATALOGUE_TYPES else {"customer": "c1"}
    event: dict[str, Any] = {
        "source": "stripe",
        "type": type,
        "occurred_at": "2025-04-01T00:00:00Z",
    }
    event |= customer | {"data": json.loads(json.dumps(payload_of(type)))} | changes
    return {key: value for key, value in event.items() if value is not None}


def parse(event: Mapping[str, Any]) -> Event:
    return parse_event(json.dumps(event).encode())


def shown(value: object) -> str:
    """A short and unmistakable id for a parameter."""
    text = ascii(value)
    return f"{text[:20]}…{text[-20:]} ({len(text)})" if len(text) > 60 else text


def problems_of(event: Mapping[str, Any] | bytes) -> list[Problem]:
    with pytest.raises(InvalidEvent) as caught:
        parse_event(event if isinstance(event, bytes) else json.dumps(event).encode())
    assert isinstance(caught.value, Permanent)
    return list(caught.value.problems)


def paths_of(event: Mapping[str, Any] | bytes) -> list[str]:
    return [problem.path for problem in problems_of(event)]


# --- accepted -------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", EVENT_TYPES)
def test_every_type_of_the_contract_is_read(type: str) -> None:
    event = parse(written(type))
    assert (event.type, event.source, event.sequence, event.livemode) == (type, "stripe", 0, True)
    assert event.customer == ("" if type in CATALOGUE_TYPES else "c1")
    assert event.occurred_at == MOMENT
    assert event.recorded_at is None


def test_the_types_are_those_of_the_contract() -> None:
    families = {name.split(".")[0] for name in EVENT_TYPES}
    assert families == {"customer", "product", "plan", "subscription", "invoice", "payment",
                        "fx_rate", "expense", "attribute", "allocation", "schedule"}  # fmt: skip
    assert len(EVENT_TYPES) == 11 + 16 + 1 + 6 + 6 + 4
    assert {name.split(".")[0] for name in CATALOGUE_TYPES} == {
        "product", "plan", "fx_rate", "expense", "attribute", "allocation",
    }  # fmt: skip


def test_the_subject_is_what_the_event_is_about() -> None:
    assert parse(written()).subject == "sub_1"
    assert parse(written("payment.failed")).subject == "py_1"
    assert parse(written("expense.recorded")).subject == "e1"
    assert parse(written("fx_rate.published")).subject == "USD/EUR/2025-04-01"


def test_the_payload_keeps_its_text_and_unknown_keys() -> None:
    text = '{"id": "py_1",  "amount":100, "currency":"usd", "new_key": {"a": [1, 2.50]}}'
    whole = (
        '{"source":"s","type":"payment.failed","customer":"c1","beside":1,'
        f'"occurred_at":"2025-04-01T00:00:00Z","data":{text}}}'
    )
    assert parse_event(whole.encode()).data.decode() == text


def test_only_a_few_keys_are_required() -> None:
    item = {"id": "i", "quantity": 1, "unit_amount": "5", "interval": "year"}
    data = {"id": "s", "status": "active", "currency": "USD", "items": [item]}
    assert parse(written(data=data)).subject == "s"
    assert parse(written(data=data | {"items": []})).subject == "s"
    assert parse(written("customer.deleted", data={"id": "c1"})).subject == "c1"


def test_instants_become_utc() -> None:
    event = parse(
        written(occurred_at="2025-04-01T05:45:00+05:45", recorded_at="2025-04-02T00:00:00+01:00")
    )
    assert event.occurred_at == MOMENT
    assert event.occurred_at.tzinfo is UTC
    assert event.recorded_at == datetime(2025, 4, 1, 23, tzinfo=UTC)


def test_the_future_is_legal_and_so_is_the_past() -> None:
    assert parse(written(occurred_at="2199-06-01T00:00:00Z")).occurred_at.year == 2199
    assert parse(written(occurred_at="1990-01-01T00:00:00Z")).occurred_at.year == 1990


@pytest.mark.parametrize("quantity", [0, 3, "3", "2.5", "0.00000001"], ids=shown)
def test_quantities_are_whole_or_decimal_strings(quantity: object) -> None:
    item = SUBSCRIPTION["items"][0] | {"quantity": quantity}
    assert parse(written(data=SUBSCRIPTION | {"items": [item]})).subject == "sub_1"


@pytest.mark.parametrize("currency", ["usd", "USD", "Usd", "kwd", "HRK"])
def test_currencies_are_accepted_in_any_case(currency: str) -> None:
    assert parse(written(data=SUBSCRIPTION | {"currency": currency})).subject == "sub_1"


def test_the_source_may_come_from_the_import() -> None:
    text = json.dumps(written(source=None)).encode()
    assert parse_event(text, default_source="books").source == "books"
    assert parse_event(json.dumps(written()).encode(), default_source="x").source == "stripe"
    assert "source" in paths_of(text)


def test_events_about_a_customer_are_that_customers() -> None:
    assert parse(written("customer.created", customer=None)).customer == "c1"
    assert parse(written("customer.merged", customer=None)).customer == "c1"


def test_test_mode_is_kept() -> None:
    assert parse(written(livemode=False)).livemode is False


def test_an_object_is_as_good_as_its_text() -> None:
    event = written(occurred_at=MOMENT)
    ours, read = parse_event(event), parse(written())
    assert (ours.id, ours.occurred_at) == (read.id, read.occurred_at)
    assert json.loads(ours.data) == json.loads(read.data)
    event["data"]["items"][0]["unit_amount"] = Decimal("10.50")
    assert b'"10.50"' in parse_event(event).data


# --- ids ------------------------------------------------------------------------------------------


def test_the_id_is_made_from_the_facts() -> None:
    event = parse(written())
    name = '["stripe","subscription.changed","sub_1","2025-04-01T00:00:00Z",0]'
    assert event.id == uuid.uuid5(NAMESPACE, name)
    assert event.id == uuid.UUID("151611ad-5ecf-51c8-af8f-ed42157580c0")
    assert event.id == event_id("stripe", "subscription.changed", "sub_1", MOMENT, 0)


def test_an_id_that_is_given_is_kept() -> None:
    given = "0e37df36-f698-11e6-8dd4-cb9ced3df976"
    assert str(parse(written(id=given)).id) == given
    assert str(parse(written(id=given.upper())).id) == given


def test_other_facts_give_another_id() -> None:
    base: tuple[str, str, str, datetime, int, str] = ("s", "t", "x", MOMENT, 0, "")
    others = [
        ("s2", "t", "x", MOMENT, 0, ""),
        ("s", "t2", "x", MOMENT, 0, ""),
        ("s", "t", "x2", MOMENT, 0, ""),
        ("s", "t", "x", MOMENT + timedelta(microseconds=1), 0, ""),
        ("s", "t", "x", MOMENT, 1, ""),
        ("s", "t", "x", MOMENT, 0, "evt_1"),
        ("s", "t", "x", MOMENT, 0, "evt_2"),
        ('s","t', "x", "", MOMENT, 0, ""),
    ]
    assert len({event_id(*facts) for facts in [base, *others]}) == len(others) + 1


def test_the_same_instant_elsewhere_gives_the_same_id() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert event_id("s", "t", "x", elsewhere, 0) == event_id("s", "t", "x", MOMENT, 0)


# --- refused --------------------------------------------------------------------------------------


def test_every_problem_is_listed_with_its_place() -> None:
    event = written(id="evt_1", sequence=1.5, livemode="yes", occurred_at=None)
    event["occured_at"] = "2025-04-01T00:00:00Z"
    event["data"] |= {
        "status": "actve",
        "currency": "usx",
        "trial_end": "yesterday",
        "canceled_at": "1970-01-01T00:00:00Z",
        "current_period_end": "2025-03-01T00:00:00Z",
        "cancel_at_period_end": "no",
        "items": [
            SUBSCRIPTION["items"][0] | {"quantity": -1, "unit_amount": 10.5, "interval": "mont"},
            {"unit_amunt": "1"},
            7,
        ],
    }
    event["data"]["discounts"][0]["percent_off"] = None
    found = {problem.path: problem for problem in problems_of(event)}
    assert set(found) == {
        "id", "sequence", "livemode", "occurred_at", "data.status", "data.currency",
        "data.trial_end", "data.canceled_at", "data.current_period_end",
        "data.cancel_at_period_end", "data.items[0].quantity", "data.items[0].unit_amount",
        "data.items[0].interval", "data.items[1].id", "data.items[1].quantity",
        "data.items[1].unit_amount", "data.items[1].interval", "data.items[2]",
        "data.discounts[0]",
    }  # fmt: skip
    assert found["occurred_at"].hint == "Was it written 'occured_at'?"
    assert found["data.status"].hint == "Did you mean 'active'?"
    assert found["data.items[0].interval"].hint == "Did you mean 'month'?"
    assert found["data.items[1].unit_amount"].hint == "Was it written 'unit_amunt'?"
    assert "decimal string" in found["data.items[0].unit_amount"].hint
    assert found["data.current_period_end"].problem == "is before current_period_start"


@pytest.mark.parametrize("type", EVENT_TYPES)
def test_every_required_key_is_missed(type: str) -> None:
    found = problems_of(written(type, data={}))
    required = {
        f"data.{name}"
        for name in EVENT_TYPES[type].__struct_fields__
        if name not in _optional(EVENT_TYPES[type])
    }
    assert {each.path for each in found if each.problem == "is missing"} == required


def _optional(kind: type) -> set[str]:
    fields = kind.__struct_fields__  # type: ignore[attr-defined]  # of msgspec
    return set(fields[len(fields) - len(kind.__struct_defaults__) :])  # type: ignore[attr-defined]  # of msgspec


@pytest.mark.parametrize("key", ["source", "type", "occurred_at", "customer", "data"])
def test_every_required_envelope_key_is_missed(key: str) -> None:
    event = written()
    del event[key]
    assert paths_of(event) == [key]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"type": "subscription.cancelled"}, "type"),
        ({"type": ""}, "type"),
        ({"type": 5}, "type"),
        ({"source": 5}, "source"),
        ({"source": "x" * 256}, "source"),
        ({"customer": ["c1"]}, "customer"),
        ({"customer": ""}, "customer"),
        ({"id": "not-a-uuid"}, "id"),
        ({"id": 5}, "id"),
        ({"sequence": "1"}, "sequence"),
        ({"sequence": 2**31}, "sequence"),
        ({"sequence": True}, "sequence"),
        ({"livemode": "true"}, "livemode"),
        ({"livemode": 1}, "livemode"),
        ({"occurred_at": "2025-04-01"}, "occurred_at"),
        ({"occurred_at": "2025-04-01T00:00:00"}, "occurred_at"),
        ({"occurred_at": 1743465600}, "occurred_at"),
        ({"occurred_at": "1989-12-31T23:59:59Z"}, "occurred_at"),
        ({"occurred_at": "2201-01-01T00:00:00Z"}, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+15:00"}, "occurred_at"),
        ({"occurred_at": "9999-12-31T23:59:59-15:00"}, "occurred_at"),
        ({"occurred_at": "2025-04-01T00:00:00+16:00"}, "occurred_at"),
        ({"occurred_at": "2025-02-30T00:00:00Z"}, "occurred_at"),
        ({"recorded_at": "yesterday"}, "recorded_at"),
        ({"recorded_at": "1900-01-01T00:00:00Z"}, "recorded_at"),
        ({"data": []}, "data"),
        ({"data": "text"}, "data"),
        ({"data": 5}, "data"),
    ],
)
def test_a_wrong_envelope(changes: dict[str, Any], path: str) -> None:
    assert paths_of(written() | changes) == [path]


def test_data_that_is_null() -> None:
    assert paths_of(written() | {"data": None}) == ["data"]


@pytest.mark.parametrize(
    ("type", "changes", "path"),
    [
        ("subscription.changed", {"id": ""}, "data.id"),
        ("subscription.changed", {"id": 5}, "data.id"),
        ("subscription.changed", {"id": "x" * 256}, "data.id"),
        ("subscription.changed", {"status": "cancelled"}, "data.status"),
        ("subscription.changed", {"status": None}, "data.status"),
        ("subscription.changed", {"currency": "BTC"}, "data.currency"),
        ("subscription.changed", {"currency": "dollar"}, "data.currency"),
        ("subscription.changed", {"currency": 840}, "data.currency"),
        ("subscription.changed", {"items": {}}, "data.items"),
        ("subscription.changed", {"items": None}, "data.items"),
        ("subscription.changed", {"items": [None]}, "data.items[0]"),
        ("subscription.changed", {"discounts": None}, "data.discounts"),
        ("subscription.changed", {"voluntary": "yes"}, "data.voluntary"),
        ("subscription.changed", {"confidence": "sure"}, "data.confidence"),
        ("subscription.changed", {"collection_method": "cash"}, "data.collection_method"),
        ("subscription.changed", {"trial_start": "2025-05-01T00:00:00Z",
                                  "trial_end": "2025-04-01T00:00:00Z"}, "data.trial_end"),
        ("subscription.changed", {"canceled_at": "9999-12-31T00:00:00Z"}, "data.canceled_at"),
        ("customer.created", {"country": "CZE"}, "data.country"),
        ("customer.created", {"country": "C1"}, "data.country"),
        ("customer.created", {"email": 5}, "data.email"),
        ("customer.created", {"attributes": {"a": [1]}}, "data.attributes"),
        ("customer.created", {"attributes": {"a": {}}}, "data.attributes"),
        ("customer.created", {"id": "c2"}, "customer"),
        ("customer.merged", {"into": {"source": "stripe", "customer": "c1"}}, "data.into"),
        ("customer.merged", {"into": "c2"}, "data.into"),
        ("customer.merged", {"into": {"source": "stripe"}}, "data.into.customer"),
        ("product.created", {"name": None}, "data.name"),
        ("plan.created", {"interval": "quarter"}, "data.interval"),
        ("plan.created", {"interval_count": 0}, "data.interval_count"),
        ("plan.created", {"interval_count": 1.0}, "data.interval_count"),
        ("plan.created", {"interval_count": 100_000}, "data.interval_count"),
        ("plan.created", {"unit_amount": "-1"}, "data.unit_amount"),
        ("plan.created", {"pricing_model": "free"}, "data.pricing_model"),
        ("invoice.paid", {"total": "90"}, "data.total"),
        ("invoice.paid", {"total": 90.0}, "data.total"),
        ("invoice.paid", {"total": 10**16}, "data.total"),
        ("invoice.paid", {"total": True}, "data.total"),
        ("invoice.paid", {"lines": [{"id": "a", "kind": "gift", "amount": 1}]},
         "data.lines[0].kind"),
        ("invoice.paid", {"lines": [{"id": "a", "kind": "tax"}]}, "data.lines[0].amount"),
        ("invoice.paid", {"period_start": "2025-05-01T00:00:00Z",
                          "period_end": "2025-04-01T00:00:00Z"}, "data.period_end"),
        ("payment.failed", {"amount": -1}, "data.amount"),
        ("payment.failed", {"attempt": -1}, "data.attempt"),
        ("payment.failed", {"attempt": 2**31}, "data.attempt"),
        ("payment.failed", {"method": "cheque"}, "data.method"),
        ("fx_rate.published", {"rate": "0"}, "data.rate"),
        ("fx_rate.published", {"rate": "0.000"}, "data.rate"),
        ("fx_rate.published", {"rate": "-1"}, "data.rate"),
        ("fx_rate.published", {"rate": 1.1}, "data.rate"),
        ("fx_rate.published", {"base": "EUR"}, "data.quote"),
        ("fx_rate.published", {"quote": "EUX"}, "data.quote"),
        ("fx_rate.published", {"day": "2025-04-01T00:00:00Z"}, "data.day"),
        ("fx_rate.published", {"day": "2025-02-29"}, "data.day"),
        ("fx_rate.published", {"day": "1970-01-01"}, "data.day"),
        ("expense.recorded", {"category": "marketing"}, "data.category"),
    ],
)  # fmt: skip
def test_a_wrong_payload(type: str, changes: dict[str, Any], path: str) -> None:
    assert paths_of(written(type, data=payload_of(type) | changes)) == [path]


@pytest.mark.parametrize(
    "amount",
    [-1, "-1", 1.5, 1000.0, "1,5", "1e3", "NaN", "Infinity", "", " 1", "1 ", "1\n", "+1", ".5",
     "5.", "1_000", "\u0661", "0x10", 10**15 + 1, "1" * 16, "0." + "1" * 21, None, True, [1]],
    ids=shown,
)  # fmt: skip
def test_amounts_that_are_refused(amount: object) -> None:
    item = SUBSCRIPTION["items"][0] | {"unit_amount": amount}
    path = "data.items[0].unit_amount"
    assert paths_of(written(data=SUBSCRIPTION | {"items": [item]})) == [path]


@pytest.mark.parametrize(
    "amount", [0, 10**15, "0", "007", "999999999999999", "0." + "1" * 20], ids=shown
)
def test_amounts_that_are_accepted(amount: object) -> None:
    item = SUBSCRIPTION["items"][0] | {"unit_amount": amount, "tax_inclusive_amount": "0"}
    assert parse(written(data=SUBSCRIPTION | {"items": [item]})).subject == "sub_1"


@pytest.mark.parametrize("percent", ["0", "100", "100.0", "33.333333", 0, 100, "12.5"], ids=shown)
def test_percentages_that_are_accepted(percent: object) -> None:
    discount = {"id": "d", "duration": "once", "percent_off": percent}
    assert parse(written(data=SUBSCRIPTION | {"discounts": [discount]})).subject == "sub_1"


@pytest.mark.parametrize("percent", ["100.1", "101", "-1", 101, 50.0, "1e1"], ids=shown)
def test_percentages_that_are_refused(percent: object) -> None:
    discount = {"id": "d", "duration": "once", "percent_off": percent}
    found = paths_of(written(data=SUBSCRIPTION | {"discounts": [discount]}))
    assert found == ["data.discounts[0].percent_off"]


def test_a_discount_is_one_thing() -> None:
    both: tuple[dict[str, str], ...] = ({}, {"percent_off": "10", "amount_off": "100"})
    for amounts in both:
        discount = {"id": "d", "duration": "forever"} | amounts
        found = paths_of(written(data=SUBSCRIPTION | {"discounts": [discount]}))
        assert found == ["data.discounts[0]"]


def test_tax_is_contained_in_the_price() -> None:
    item = SUBSCRIPTION["items"][0] | {"tax_inclusive_amount": "1000.01"}
    found = paths_of(written(data=SUBSCRIPTION | {"items": [item]}))
    assert found == ["data.items[0].tax_inclusive_amount"]


def test_catalogue_events_have_no_customer() -> None:
    assert paths_of(written("plan.created", customer="c1")) == ["customer"]


def test_a_payload_of_another_kind_is_recognised() -> None:
    first, *others = problems_of(written("payment.failed", data=SUBSCRIPTION))
    assert first.path == "type"
    assert "subscription" in first.problem
    assert [each.path for each in others] == ["data.amount"]


def test_an_unknown_type_gets_a_near_one() -> None:
    (problem,) = problems_of(written(type="subscription.cancelled"))
    assert problem.hint == "Did you mean 'subscription.canceled'?"


def test_many_problems_of_one_kind_are_cut_short() -> None:
    found = problems_of(written(data=SUBSCRIPTION | {"items": [{}] * 5000}))
    assert len(found) == 101
    assert found[-1].problem == "has 19900 more problems"
    assert paths_of(written(data=SUBSCRIPTION | {"items": [{}] * 10_001})) == ["data.items"]


# --- texts ----------------------------------------------------------------------------------------

_PAYMENT = (
    '{"source":"s","type":"payment.failed","customer":"c1","occurred_at":"2025-04-01T00:00:00Z",'
    '"data":{"id":"p","amount":1,"currency":"EUR","note":%s}}'
)


def noted(note: str) -> bytes:
    """A payment event with some JSON under a key that nobody knows."""
    return (_PAYMENT % note).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"null", b"5", b"[]", b'"text"', b"{", b"{}{}", b"not json", b"{'a': 1}",
     noted("1") + noted("2"), noted("1") + b"\n" + noted("2"), noted("1")[:-1], noted("NaN"),
     noted("Infinity"), noted("01"), noted("1."), noted('"\x01"'), noted('"\\x41"'), noted("[1,]"),
     b"\xef\xbb\xbf" + noted("1"), noted("1").decode().encode("utf-16")],
    ids=shown,
)  # fmt: skip
def test_what_is_not_one_json_object(text: bytes) -> None:
    (problem,) = problems_of(text)
    assert problem.path == ""


@pytest.mark.parametrize(
    "note",
    ['"\\ud800"', '"\\udc00\\ud800"', '"\\ud800x"', '"\ud800"', '{"\\udfff": 1}'],
    ids=shown,
)
def test_lone_surrogates_are_refused(note: str) -> None:
    assert problems_of(noted(note))


@pytest.mark.parametrize("note", ['"\\u0000"', '{"a\\u0000": 1}', '[["x\\u0000"]]'])
def test_nul_is_refused_wherever_it_is(note: str) -> None:
    (problem,) = problems_of(noted(note))
    assert "NUL" in problem.problem


def test_nul_in_a_known_key_is_refused() -> None:
    found = problems_of(written("product.created", data={"id": "a\0", "name": "b"}))
    assert [(each.path, "NUL" in each.problem) for each in found] == [("id", True)]


@pytest.mark.parametrize("note", ['"\\\\u0000"', '"\\ud83d\\ude00"', '"😀"', '"\x7f"', '"\\u0001"'])
def test_texts_that_only_look_dangerous_are_accepted(note: str) -> None:
    assert parse_event(noted(note)).subject == "p"


@pytest.mark.parametrize(
    "note",
    ["1e400", "-1e400", "1e200000", "1e-20000", "1" * 5000, "0." + "1" * 20_000, "1e99999999999",
     "0e999999999999"],
    ids=shown,
)  # fmt: skip
def test_absurd_numbers_are_refused(note: str) -> None:
    (problem,) = problems_of(noted(note))
    assert "out of range" in problem.problem


@pytest.mark.parametrize(
    "note", ["1e300", "1e-300", "-0", "-0.0", "1" * 200, "0." + "1" * 200], ids=shown
)
def test_large_but_sane_numbers_are_accepted(note: str) -> None:
    assert parse_event(noted(note)).subject == "p"


def test_deep_nesting_is_refused_not_a_crash() -> None:
    (problem,) = problems_of(noted("[" * 100_000 + "]" * 100_000))
    assert problem.problem == "is nested too deeply"


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    text = noted('"x"').replace(b'"x"', b'"\xff"')
    (problem,) = problems_of(text)
    assert "UTF-8" in problem.problem


def test_of_a_repeated_key_the_last_counts() -> None:
    text = noted("1").replace(b'"amount":1', b'"amount":1,"amount":2,"id":"q"')
    event = parse_event(text)
    assert event.subject == "q"
    assert json.loads(event.data)["amount"] == 2


def test_a_repeated_key_with_a_bad_first_value_is_explained() -> None:
    (problem,) = problems_of(noted("1").replace(b'"amount":1', b'"amount":"x","amount":2'))
    assert problem.problem == "has the key 'amount' more than once"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_objects_with_numbers_that_json_lacks_are_refused(value: float) -> None:
    event = written("customer.created")
    event["data"]["attributes"] = {"a": value}
    with pytest.raises(InvalidEvent, match=r"data\.attributes\.a: is not a finite number"):
        parse_event(event)


def test_objects_that_are_no_json_are_refused() -> None:
    for value in (object(), "\ud800", 10**400, {1: 2, (3,): 4}):
        with pytest.raises(InvalidEvent):
            parse_event(written() | {"data": {"id": value}})


# --- made by connectors ---------------------------------------------------------------------------


def test_what_a_connector_makes_reads_back() -> None:
    payload = Subscription(
        id="sub_1",
        status=SubscriptionStatus.ACTIVE,
        currency="EUR",
        items=[Item(id="si_1", quantity=2, unit_amount="999.5", interval=Interval.MONTH)],
        discounts=[Discount(id="d", duration=DiscountDuration.ONCE, amount_off=100)],
        started_at=MOMENT,
    )
    event = make_event(
        "stripe", "subscription.created", "cus_1", MOMENT, payload,
        sequence=3, native_id="evt_1", recorded_at=MOMENT, livemode=False,
    )  # fmt: skip
    assert (event.sequence, event.livemode, event.recorded_at) == (3, False, MOMENT)
    assert event.id == event_id("stripe", event.type, "sub_1", MOMENT, 3, "evt_1")
    assert events.Subscription.__name__ == "Subscription"
    assert json.loads(event.data) == {
        "id": "sub_1",
        "status": "active",
        "currency": "EUR",
        "items": [{"id": "si_1", "quantity": 2, "unit_amount": "999.5", "interval": "month"}],
        "discounts": [{"id": "d", "duration": "once", "amount_off": 100}],
        "started_at": "2025-04-01T00:00:00Z",
    }


def test_the_vendors_event_id_tells_two_events_of_one_instant_apart() -> None:
    payload = Payment(id="p", amount=1, currency="USD")
    first, second, again = (
        make_event("s", "payment.failed", "c", MOMENT, payload, native_id=native)
        for native in ("evt_1", "evt_2", "evt_1")
    )
    assert first.id != second.id
    assert first == again


def test_connectors_are_held_to_the_same_rules() -> None:
    payload = Payment(id="p", amount=-1, currency="XXX")
    with pytest.raises(InvalidEvent) as caught:
        make_event("s", "payment.failed", "", MOMENT, payload)
    assert {each.path for each in caught.value.problems} == {
        "customer", "data.amount", "data.currency",
    }  # fmt: skip
    with pytest.raises(InvalidEvent, match="is missing"):
        make_event("s", "payment.failed", "c", MOMENT, Customer(id="c"))


def test_catalogue_events_are_made_without_a_customer() -> None:
    payload = FxRate(base="USD", quote="EUR", day=date(2025, 4, 1), rate="1.1")
    event = make_event("ecb", "fx_rate.published", "", MOMENT, payload)
    assert (event.customer, event.subject) == ("", "USD/EUR/2025-04-01")
