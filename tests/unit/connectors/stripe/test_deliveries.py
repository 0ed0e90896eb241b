"""Deliveries one by one: who sent them, their names, where they belong, what they teach."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.stripe import AT, event, fixture
from tidemill.connectors.stripe.completing import completed, snapshot_type, wanted
from tidemill.connectors.stripe.connector import Stripe
from tidemill.connectors.stripe.envelope import read_envelope
from tidemill.connectors.stripe.known import Known, references
from tidemill.connectors.stripe.meanings import EVENT_TYPES
from tidemill.connectors.stripe.order import LAST_STEP, ends, place
from tidemill.connectors.stripe.signature import TOLERANCE_S, refusal, signed

UPDATED = "customer.subscription.updated"

# --- who sent it ----------------------------------------------------------------------------------


def test_the_signature_is_the_one_of_the_documentation() -> None:
    """Worked by hand: HMAC-SHA256 of `1.{}` under `whsec_x`."""
    import hashlib
    import hmac

    digest = hmac.new(b"whsec_x", b"1.{}", hashlib.sha256).hexdigest()
    assert signed(b"{}", "whsec_x", 1) == f"t=1,v1={digest}"


@pytest.mark.parametrize(
    ("header", "now", "said"),
    [
        ("OK", 1_000, None),
        ("v0=old, OK , v1=ff", 1_000, None),
        ("OK", 1_000 + TOLERANCE_S, None),
        ("OK", 1_001 + TOLERANCE_S, "signed more than"),
        ("OK", 999 - TOLERANCE_S, "signed more than"),
        (None, 1_000, "carries no"),
        ("OK,t=1000", 1_000, "no time"),
        ("t=1000,v1=é", 1_000, "no signature of it"),
    ],
)
def test_signatures(header: str | None, now: float, said: str | None) -> None:
    good = signed(b"{}", "two", 1_000)
    given = header and header.replace("OK", good)
    found = refusal(given, b"{}", ("one", "two"), now)
    assert (found is None) == (said is None)
    assert said is None or said in str(found)


# --- what it is called ----------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [None, 7, [], {}, {"id": 7}, {"id": "x" * 300}, {"id": "a\0b"}])
def test_what_has_no_id_is_called_by_its_body(raw: Any) -> None:
    one, other = (read_envelope(raw, body) for body in (b"one", b"other"))
    assert one.event.startswith("sha256:")
    assert one.event != other.event
    assert (one.object, one.created, one.account, one.livemode) == ("", 0, "", True)


@pytest.mark.parametrize("created", [True, -1, 2**70, "1", 1.5, None])
def test_a_time_that_is_none_is_left_out(created: Any) -> None:
    assert read_envelope({"id": "evt_1", "created": created}, b"").created == 0


def test_thin_events_are_dated_by_the_second() -> None:
    thin = fixture("event.thin_v1_subscription_updated")["pushed_notification"]
    found = read_envelope({**thin, "context": "acct_1"}, b"")
    assert (found.event, found.object, found.created) == (thin["id"], "sub_T", 1_776_297_600)
    assert (found.account, found.livemode) == ("acct_1", False)
    for created in ("2026-04-16", "soon", 7, "9" * 400):
        assert read_envelope({**thin, "created": created}, b"").created == 0


# --- where it belongs -----------------------------------------------------------------------------


def seats(key: str, quantity: int, before: int | None) -> dict[str, Any]:
    previous = {} if before is None else {"previous": {"quantity": before}}
    return event(UPDATED, {"id": "s", "quantity": quantity}, id=key, **previous)


def test_places_leave_room_for_what_comes_later() -> None:
    one, two, three = seats("evt_c", 1, 0), seats("evt_b", 2, 1), seats("evt_a", 3, 2)
    assert place(one, [], None) == place(three, [], None)
    first = place(one, [], None).step
    last = place(three, [(one, first)], None)
    assert not last.sure
    behind = place(two, [(one, first)], None)
    before = place(one, [(two, first)], None)
    assert behind.sure
    assert before.sure
    assert before.step < first < behind.step
    between = place(two, [(one, first), (three, first + 16)], None)
    assert first < between.step < first + 16
    assert between.sure


def test_without_room_it_goes_behind_and_is_doubted() -> None:
    one, two, three = seats("evt_c", 1, 0), seats("evt_b", 2, 1), seats("evt_a", 3, 2)
    crowded = place(two, [(one, 0), (three, 1)], None)
    assert crowded.step > 1
    assert not crowded.sure
    wrong_way = place(two, [(three, 0), (one, 16)], None)
    assert not wrong_way.sure
    assert wrong_way.step <= LAST_STEP


def test_what_makes_no_difference_needs_no_order() -> None:
    same = {"id": "s", "status": "active"}
    one = event(UPDATED, {**same, "metadata": {"a": "1"}}, id="evt_1")
    other = event(UPDATED, {**same, "metadata": {"a": "2"}}, id="evt_2")
    assert place(other, [(one, 0)], None).sure
    worth = event(UPDATED, {**same, "status": "past_due"}, id="evt_2")
    assert not place(worth, [(one, 0)], None).sure


def test_an_end_is_the_earliest_and_of_what_can_end() -> None:
    found = ends(
        [
            event(UPDATED, {"id": "s", "status": "canceled"}, id="1", created=AT + 5),
            event("customer.subscription.deleted", {"id": "s", "status": "canceled"}, id="2"),
            event(UPDATED, {"id": "t", "status": "active"}, id="3"),
            event("invoice.paid", {"id": "i", "status": "paid"}, id="4", account="acct_1"),
            event("invoice.updated", {"id": "j", "status": "open"}, id="5"),
            event(UPDATED, {"id": "u", "status": ["canceled"]}, id="6"),
        ]
    )
    assert found == {("", "s"): AT, ("acct_1", "i"): AT}


@pytest.mark.parametrize("kind", ["invoice.updated", UPDATED])
def test_a_state_from_before_the_end_is_ignored_in_files_too(kind: str) -> None:
    family, over, alive = (
        ("invoice.new_shape", "paid", "open")
        if kind.startswith("invoice")
        else ("subscription.new_shape", "canceled", "active")
    )
    end = event(kind, {**fixture(family), "status": over, "ended_at": AT}, id="evt_1")
    stale = event(kind, {**fixture(family), "status": alive}, id="evt_2", created=AT + 1)
    said = {
        translated.ignored
        for order in ((end, stale), (stale, end))
        for translated in Stripe().translate_many(order, source="stripe")
        if not translated.events
    }
    assert len(said) == 1
    assert "old state" in str(said)


# --- what it teaches ------------------------------------------------------------------------------


def test_what_was_shown_once_is_not_forgotten() -> None:
    whole, bare = {"id": "p", "tiers": [1], "active": True}, {"id": "p", "active": False}
    for order in ((whole, bare), (bare, whole)):
        known = Known()
        for found in order:
            created = AT if found is whole else AT + 1
            known.add(event("price.updated", found, id=f"evt_{created}", created=created))
        assert known.prices["p"] == {"id": "p", "tiers": [1], "active": False}
        assert [(one.kind, one.id, one.seen) for one in known.fresh()] == [("price", "p", AT + 1)]
    stub = Known()
    stub.add(event("coupon.deleted", {"id": "c", "deleted": True}))
    assert not stub.coupons


def test_an_object_teaches_all_that_it_shows() -> None:
    known = Known()
    known.learn({"x": [{"object": "coupon", "id": "c"}], "p": {"object": "price", "id": "p"}}, AT)
    assert (set(known.coupons), set(known.prices)) == ({"c"}, {"p"})


def test_names_are_found_at_any_depth_that_is_sane() -> None:
    nested: Any = {"coupon": "deep"}
    for _ in range(40):
        nested = {"x": nested}
    assert references(nested) == set()
    assert references({"a": [{"coupon": "c"}], "discounts": ["d", {"id": "e"}, 7]}) == {
        *(("coupon", "c"), ("discount", "d"), ("discount", "e")),
    }


def test_finer_thin_types_are_updates() -> None:
    kinds = {
        "v1.customer.subscription.past_due": UPDATED,
        "v1.customer.subscription.deleted": "customer.subscription.deleted",
        "v1.customer.subscription.trial_will_end": "customer.subscription.trial_will_end",
        "v1.invoice.paid": "invoice.paid",
    }
    for thin, snapshot in kinds.items():
        assert snapshot_type({"type": thin}) == snapshot


@pytest.mark.parametrize("key", ["../charges", "sub?x=1", "a\nb", 7, None])
def test_nothing_odd_is_asked_for(key: Any) -> None:
    """An id ends up in an address: what could be another one is not asked for."""

    class Never:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    raw = event("product.updated", {"id": key})
    assert wanted(raw, Never()) is None


def test_what_is_read_fills_in_and_replaces_nothing_else() -> None:
    shown = {"id": "in_1", "status": "open", "lines": {"data": [1], "has_more": True}}
    read = {"id": "in_1", "status": "paid", "lines": {"data": [1, 2], "has_more": False}}
    raw = event("invoice.finalized", shown)
    found = completed(raw, {"object": read})["data"]["object"]
    assert found == {"id": "in_1", "status": "open", "lines": read["lines"]}
    assert completed(raw, None) == raw
    assert completed(raw, {"object": None}) == raw


def test_what_to_subscribe_to_is_what_is_read() -> None:
    """Written into the docs and Stripe's dashboard by people: a change is worth a look."""
    assert "invoice.paid" in EVENT_TYPES
    assert "coupon.created" in EVENT_TYPES
    assert "invoice.payment_succeeded" not in EVENT_TYPES
    assert list(EVENT_TYPES) == sorted(EVENT_TYPES)
    assert json.dumps(EVENT_TYPES)
