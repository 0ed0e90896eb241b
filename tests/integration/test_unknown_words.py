"""Words that this version does not know are kept as they came, and counted."""

from __future__ import annotations

from typing import Any

from tests.support.asking import settled
from tests.support.import_program import BOOKS
from tests.support.stripe import event, fixture, subscription
from tests.support.webhooks import arrive, settle
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.doctor import check
from tidemill.sources import overview
from tidemill.unknown_words import UnknownWord, unknown_words


def _events() -> list[dict[str, Any]]:
    paid = {**fixture("charge"), "payment_method_details": {"type": "shell_pay"}}
    reason = {"reason": "stars_misaligned", "feedback": None, "comment": None}
    paused = {"behavior": "hibernate", "resumes_at": None}
    state = subscription(discounts=[], cancellation_details=reason, pause_collection=paused)
    return [
        event("charge.succeeded", paid, id="evt_1"),
        event("charge.succeeded", {**paid, "id": "ch_2"}, id="evt_2"),
        event("charge.succeeded", fixture("charge") | {"id": "ch_3"}, id="evt_3"),
        event("customer.subscription.updated", state, id="evt_4"),
    ]


def test_they_are_counted_where_people_look(database: Database) -> None:
    arrive(database, _events())
    settle(database, BOOKS)
    with database.connect() as connection:
        assert unknown_words(connection) == [
            UnknownWord("stripe", "payment", "method", "shell_pay", 2),
            UnknownWord("stripe", "subscription", "cancel_reason", "stars_misaligned", 1),
            UnknownWord("stripe", "subscription", "paused_at", "hibernate", 1),
        ]
        (source,) = overview(connection, {})
        assert source["unknown_words"][0] == {
            "type": "payment", "key": "method", "word": "shell_pay", "count": 2,
        }  # fmt: skip
    said = [
        each.found
        for each in check(database, PostgresBus(database), BOOKS)
        if each.about == "words of stripe"
    ]
    assert said[0] == "payment method 'shell_pay' is not known; in 2 events"
    answer = settled(database).query("mrr", "current", at="2026-04-30")
    assert any("3 events hold words that this version does not know" in w for w in answer.warnings)


def test_without_any_nothing_is_said(database: Database) -> None:
    arrive(database, [_events()[2]])
    settle(database, BOOKS)
    answer = settled(database).query("mrr", "current", at="2026-04-30")
    assert not any("does not know" in each for each in answer.warnings)
