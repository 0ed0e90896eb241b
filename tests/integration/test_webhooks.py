"""Stripe's webhook on a real server: believed, kept, acknowledged, and then in the books."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from tests.support.http import serving
from tests.support.stripe import event, fixture
from tests.support.webhooks import PATH, SECRET, arrive, body_of, post, settle
from tidemill import quarantine
from tidemill.api.documents import ProblemDocument
from tidemill.api.receiving import Receiving
from tidemill.api.webhooks import BODY_BYTES_MAX
from tidemill.bookkeeping import FACTS
from tidemill.bus import PostgresBus
from tidemill.connectors.stripe.signature import TOLERANCE_S, signed
from tidemill.database import Database
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.inbox.following import follow_inbox
from tidemill.inbox.report import report
from tidemill.inbox.unsettled import unsettled
from tidemill.models import delivery, event_log, invoice_line, source
from tidemill.policy import Policy
from tidemill.state import Books

STORY = fixture("events.subscription_story")["events"]
BOOKS = Books(FACTS, base_currency="USD")
EVENT = body_of(STORY[0])


def books_of(database: Database) -> Tidemill:
    return Tidemill(database, MetricsEngine(database, base_currency="USD", policy=Policy.of()))


@pytest.fixture
def stripe(database: Database) -> Iterator[httpx.Client]:
    """A client of a server that believes three secrets, for two sources."""
    secrets = {"stripe": (SECRET, "whsec_next"), "eu": ("whsec_eu",)}
    with serving(books_of(database), Receiving(database, secrets)) as client:
        yield client


def stored(database: Database) -> int:
    with database.connect() as connection:
        return connection.execute(select(func.count()).select_from(delivery)).scalar_one()


def refused(response: httpx.Response, status: int, code: str) -> ProblemDocument:
    assert response.status_code == status, response.text
    document = ProblemDocument.model_validate(response.json())
    assert document.code == code
    assert document.hint or all(each.hint for each in document.errors)
    return document


# --- who is believed ------------------------------------------------------------------------------


def test_a_signed_event_is_durable_when_it_is_acknowledged(
    stripe: httpx.Client, database: Database
) -> None:
    response = post(stripe, EVENT)
    assert (response.status_code, response.json()) == (200, {"status": "received"})
    with database.connect() as connection:
        (row,) = connection.execute(select(delivery)).all()
    assert (row.body, row.event, row.source, row.state) == (EVENT, "evt_01", "stripe", "new")
    assert (row.account, row.livemode, row.created) == ("", False, STORY[0]["created"])


def test_both_secrets_are_valid_while_one_replaces_the_other(stripe: httpx.Client) -> None:
    for secret in (SECRET, "whsec_next"):
        assert post(stripe, EVENT, secret=secret).status_code == 200
    header = signed(EVENT, "whsec_gone", int(time.time()))
    two = f"{header},v1={signed(EVENT, SECRET, int(time.time())).rpartition('=')[2]},v0=x"
    assert stripe.post(PATH, content=EVENT, headers={"stripe-signature": two}).status_code == 200


def test_each_source_has_secrets_of_its_own(stripe: httpx.Client, database: Database) -> None:
    assert post(stripe, EVENT, secret="whsec_eu", path=f"{PATH}/eu").status_code == 200
    refused(post(stripe, EVENT, secret="whsec_eu"), 401, "signature_refused")
    refused(post(stripe, EVENT, path=f"{PATH}/eu"), 401, "signature_refused")
    found = refused(post(stripe, EVENT, path=f"{PATH}/us"), 503, "webhook_secret_missing")
    assert "STRIPE_WEBHOOK_SECRET=us=" in found.hint
    assert stored(database) == 1


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=,v1=",
        "v1=00",
        "t=NOW",
        "t=NOW,v1=00",
        f"t=NOW,v0={'0' * 64}",
        "t=soon,v1=00",
        "t=99999999999999999999999,v1=00",
        "t=٣,v1=00",
        "\xff\xfe",
    ],
)
def test_what_is_not_signed_is_refused_and_not_stored(
    stripe: httpx.Client, database: Database, header: str | None
) -> None:
    """Elsewhere a missing header was a way around the check (traps D01)."""
    header = header and header.replace("NOW", str(int(time.time())))
    sent = [] if header is None else [(b"stripe-signature", header.encode())]
    refused(stripe.post(PATH, content=EVENT, headers=sent), 401, "signature_refused")
    assert stored(database) == 0


def test_a_signature_is_of_these_very_bytes_and_of_now(
    stripe: httpx.Client, database: Database
) -> None:
    header = {"stripe-signature": signed(EVENT, SECRET, int(time.time()))}
    refused(stripe.post(PATH, content=EVENT + b" ", headers=header), 401, "signature_refused")
    refused(post(stripe, EVENT, age_s=TOLERANCE_S + 60), 401, "signature_refused")
    refused(post(stripe, EVENT, age_s=-TOLERANCE_S - 60), 401, "signature_refused")
    assert stored(database) == 0
    assert post(stripe, EVENT, age_s=TOLERANCE_S - 60).status_code == 200


def test_without_a_secret_nothing_is_accepted(database: Database) -> None:
    """Elsewhere no secret meant that every body was accepted (traps D02)."""
    for receiving in (None, Receiving(database), Receiving(database, {"stripe": ()})):
        with serving(books_of(database), receiving) as client:
            for secret in (SECRET, ""):
                found = refused(post(client, EVENT, secret=secret), 503, "webhook_secret_missing")
                assert "STRIPE_WEBHOOK_SECRET" in found.hint
            assert client.post(PATH, content=EVENT).status_code == 503
    assert stored(database) == 0


# --- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"{'a': 1}", b'{"a": NaN}', b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(
    stripe: httpx.Client, database: Database, body: bytes
) -> None:
    refused(post(stripe, body), 400, "body_not_json")
    assert stored(database) == 0


def test_a_body_that_is_too_large_is_not_read(stripe: httpx.Client, database: Database) -> None:
    large = b'"' + b"x" * BODY_BYTES_MAX + b'"'
    refused(post(stripe, large), 413, "body_too_large")
    chunks = (large[start : start + 65_536] for start in range(0, len(large), 65_536))
    refused(stripe.post(PATH, content=chunks), 413, "body_too_large")
    assert stored(database) == 0


@pytest.mark.parametrize("body", [b"7", b"null", b"[]", b'"x"', b"{}", b'{"id": "\\u0000"}'])
def test_json_that_is_no_event_waits_in_quarantine_and_holds_up_nothing(
    stripe: httpx.Client, database: Database, body: bytes
) -> None:
    assert post(stripe, body).status_code == 200
    for raw in STORY:
        assert post(stripe, body_of({**raw, "livemode": True})).status_code == 200
    worked = settle(database, BOOKS)
    assert (worked.stored, worked.waiting) == (5, 1)
    with database.connect() as connection:
        (waits,) = quarantine.listed(connection)
        assert waits.origin.startswith("webhook:")
        assert waits.problems


def test_copies_are_acknowledged_and_kept_once(stripe: httpx.Client, database: Database) -> None:
    for _ in range(3):
        assert post(stripe, EVENT).status_code == 200
    assert stored(database) == 1


def test_live_and_test_mode_and_connected_accounts_are_kept_apart(
    stripe: httpx.Client, database: Database
) -> None:
    live = {**STORY[0], "livemode": True}
    for raw in (live, {**live, "livemode": False}, {**live, "account": "acct_1"}):
        assert post(stripe, body_of(raw)).status_code == 200
    assert settle(database, BOOKS).stored == 3
    log = event_log.c
    with database.connect() as connection:
        names = select(source.c.name, log.livemode).join(source, source.c.id == log.source_id)
        found = {(row.name, row.livemode) for row in connection.execute(names)}
    assert found == {("stripe", True), ("stripe", False), ("stripe:acct_1", True)}


def test_a_source_of_the_test_mode_takes_it_for_its_books(
    stripe: httpx.Client, database: Database
) -> None:
    made = stripe.post("/api/sources", json={"name": "eu", "test_mode": True})
    assert (made.status_code, made.json()["test_mode"]) == (201, True)
    for raw in STORY:
        assert post(stripe, body_of(raw), secret="whsec_eu", path=f"{PATH}/eu").status_code == 200
    settle(database, BOOKS)
    value = books_of(database).query("mrr", "current", at="2026-04-20").rows[0]["mrr"]
    assert value == 4500


def test_what_arrives_is_in_the_books_without_anybody_asking(
    stripe: httpx.Client, database: Database
) -> None:
    stop = threading.Event()
    arguments = (database, PostgresBus(database), lambda source, account: None, stop)
    thread = threading.Thread(target=follow_inbox, args=arguments)
    thread.start()
    try:
        assert post(stripe, EVENT).status_code == 200
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with database.connect() as connection:
                if connection.execute(select(func.count()).select_from(event_log)).scalar_one():
                    break
            stop.wait(0.02)
        else:
            pytest.fail("the event never reached the log")
    finally:
        stop.set()
        thread.join()


# --- what is known later --------------------------------------------------------------------------


def tiered(**changes: Any) -> dict[str, Any]:
    """A subscription to a price whose tiers are not shown, as webhooks give it."""
    found = fixture("subscription.new_shape")
    item = {**found["items"]["data"][0], "quantity": 25}
    item["price"] = {**fixture("prices")["graduated"], "tiers": None}
    return {**found, "discounts": [], "items": {"object": "list", "data": [item]}, **changes}


def test_a_price_without_its_tiers_is_unresolved_and_visible_never_zero(
    database: Database,
) -> None:
    arrive(database, [event("customer.subscription.created", tiered())])
    assert settle(database, BOOKS).waiting == 1
    with database.connect() as connection:
        (found,), doubts = unsettled(connection)
        assert (found.subscription, doubts) == ("sub_T", [])
        assert "tiers" in found.reason
    result = books_of(database).query("mrr", "current", at="2026-04-30")
    assert any("unresolved" in each and "sub_T" in each for each in result.warnings)

    # Once the price is told with its tiers, what waited is taken in by itself.
    arrive(database, [event("price.updated", fixture("prices")["graduated"], id="evt_2")])
    settle(database, BOOKS)
    result = books_of(database).query("mrr", "current", at="2026-04-30")
    assert result.rows[0]["mrr"] == 27_000
    assert result.warnings == ()
    with database.connect() as connection:
        assert quarantine.waiting(connection) == 0
        assert unsettled(connection) == ([], [])


def test_a_price_seen_without_tiers_does_not_forget_them(database: Database) -> None:
    price = fixture("prices")["graduated"]
    arrive(database, [event("price.created", price, id="evt_1", created=1_775_001_600)])
    settle(database, BOOKS)
    arrive(database, [event("price.updated", {**price, "tiers": None}, id="evt_2")])
    settle(database, BOOKS)
    arrive(database, [event("customer.subscription.created", tiered(), id="evt_3")])
    assert settle(database, BOOKS).waiting == 0


def metered() -> dict[str, Any]:
    """A subscription whose price, which the lines of the fixture's invoice name, is metered."""
    found = fixture("subscription.new_shape")
    item = found["items"]["data"][0]
    recurring = {**item["price"]["recurring"], "usage_type": "metered"}
    item = {**item, "quantity": None, "price": {**item["price"], "recurring": recurring}}
    item.pop("plan", None)
    return {**found, "discounts": [], "items": {"object": "list", "data": [item]}}


def test_an_invoice_waits_until_it_is_told_whether_what_it_names_is_metered(
    database: Database,
) -> None:
    """Its lines have only the id of their price: taken for another kind, they would stay so."""
    invoice = event("invoice.paid", fixture("invoice.new_shape"), id="evt_invoice")
    arrive(database, [invoice])
    assert settle(database, BOOKS).waiting == 1
    with database.connect() as connection:
        (waits,) = quarantine.listed(connection)
    (problem,) = waits.problems
    assert "metered" in problem.problem
    assert "STRIPE_API_KEY" in problem.hint

    # Its subscription shows the price, whenever it comes.
    arrive(database, [event("customer.subscription.created", metered(), id="evt_subscription")])
    settle(database, BOOKS)
    with database.connect() as connection:
        assert quarantine.waiting(connection) == 0
        kinds = dict(connection.execute(select(invoice_line.c.line, invoice_line.c.kind)).all())
    assert kinds == {"il_credit": "proration", "il_debit": "proration", "il_cycle": "usage"}


@pytest.mark.parametrize("key", ["p\0", "\ud800", "p" * 3_000, "", [], {}, 7, None])
def test_a_price_whose_id_is_none_holds_up_nothing(database: Database, key: object) -> None:
    found = metered()
    price = found["items"]["data"][0]["price"]
    price["id"] = key
    odd = [
        event("price.created", price, id="evt_price"),
        event("customer.subscription.created", found, id="evt_subscription"),
    ]
    good = fixture("subscription.new_shape") | {"id": "sub_good", "discounts": []}
    arrive(database, [*odd, event("customer.subscription.created", good, id="evt_good")])
    settle(database, BOOKS)
    with database.connect() as connection:
        states = dict(connection.execute(select(delivery.c.event, delivery.c.state)).all())
    assert states["evt_good"] == "stored"
    assert "new" not in states.values()


def test_what_is_of_no_interest_is_counted(database: Database) -> None:
    kinds = ["account.updated", "account.updated", "invoice.upcoming", "x.y"]
    arrive(database, [event(kind, {}, id=f"evt_{n}") for n, kind in enumerate(kinds)])
    settle(database, BOOKS)
    with database.connect() as connection:
        (found,) = report(connection)
    assert found.ignored == {"account.updated": 2, "invoice.upcoming": 1, "x.y": 1}
    assert (found.received, found.states) == (4, {"ignored": 4})


def test_a_thin_event_waits_until_it_can_be_read(database: Database) -> None:
    thin = fixture("event.thin_v1_subscription_updated")["pushed_notification"]
    arrive(database, [thin, {**thin, "id": "evt_other", "type": "v1.account.updated"}])
    worked = settle(database, BOOKS)
    assert (worked.waiting, worked.ignored) == (1, 1)
    with database.connect() as connection:
        (waits,) = quarantine.listed(connection)
    assert "STRIPE_API_KEY" in waits.problems[0].hint


# --- sources --------------------------------------------------------------------------------------


def test_sources_tell_what_their_webhooks_received(
    stripe: httpx.Client, database: Database
) -> None:
    assert post(stripe, body_of({**STORY[0], "livemode": True})).status_code == 200
    settle(database, BOOKS)
    document = stripe.get("/api/sources").json()
    eu, main = document["sources"]
    assert (eu["name"], eu["events"], eu["webhook"]) == ("eu", 0, {"secret_configured": True})
    assert main["webhook"]["received"] == main["events"] == 1
    assert main["webhook"]["states"] == {"stored": 1}
    told = document["webhooks"]["stripe"]
    assert told["path"] == PATH
    assert "customer.subscription.updated" in told["events"]
    assert json.dumps(document).count("whsec") == 0


def test_a_source_that_cannot_be_is_refused_with_every_problem(stripe: httpx.Client) -> None:
    found = refused(
        stripe.post("/api/sources", json={"name": "A:b", "kind": "strpe"}), 400, "invalid_source"
    )
    assert [each.path for each in found.errors] == ["name", "kind"]
    assert "stripe" in found.errors[1].hint
    assert stripe.post("/api/sources", json={"name": "eu"}).status_code == 201
    assert stripe.post("/api/sources", json={"name": "eu"}).status_code == 201
    again = stripe.post("/api/sources", json={"name": "eu", "test_mode": True})
    refused(again, 400, "invalid_source")
    wrongs: list[Any] = [{}, {"name": 7}, {"name": "x", "colour": "red"}, [], {"name": "x" * 64}]
    for wrong in wrongs:
        assert stripe.post("/api/sources", json=wrong).status_code == 400


def test_the_webhook_is_called_by_any_name_and_nothing_else_is(stripe: httpx.Client) -> None:
    """A proxy hands on the name it is called by; the signature is what is believed."""
    header = {"stripe-signature": signed(EVENT, SECRET, int(time.time())), "host": "example.com"}
    assert stripe.post(PATH, content=EVENT, headers=header).status_code == 200
    assert stripe.get("/api/sources", headers={"host": "example.com"}).status_code == 400
