"""An account read through the API gives the books that its events would have given."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.conftest import NewDatabase
from tests.support.asking import settled
from tests.support.import_program import BOOKS
from tests.support.stripe import subscription
from tests.support.stripe_account import END, KEY, NOW, business, clock, reading, recent_account
from tests.support.stripe_money import NEW, Money, seconds
from tests.support.tables import named_tables, undated_tables
from tests.support.webhooks import arrive, settle
from tidemill import models
from tidemill.bus import PostgresBus
from tidemill.connectors.stripe.ahead import IN_FLIGHT
from tidemill.connectors.stripe.backfill import EVENTS_KEPT_S
from tidemill.connectors.stripe.connector import Stripe
from tidemill.connectors.stripe.told import wrapped
from tidemill.database import Database
from tidemill.demo.rates import fx_rates
from tidemill.errors import ApiKeyWrongMode, ApiPermissionMissing, ApiUnreachable
from tidemill.ingest import ingest
from tidemill.sync import Asked, Into, Synced, count_only, reconcile_stripe, sync_stripe
from tidemill.testing.stripe import FakeAccount, FakeStripe, Fault, Key, Seen

EVENTS = business(40, 12)


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(recent_account(EVENTS)) as server:
        yield server


def _into(database: Database) -> Into:
    return Into(database, PostgresBus(database), BOOKS)


def _sync(database: Database, fake: FakeStripe, asked: Asked | None = None) -> Synced:
    with reading(fake) as client:
        return sync_stripe(_into(database), client, asked or Asked(), clock=clock)


def _a_little_later() -> datetime:
    return NOW + timedelta(hours=5)


def _levels(database: Database) -> dict[str, dict[date, Decimal]]:
    """Subscription → its movements by day."""
    moved: dict[str, dict[date, Decimal]] = defaultdict(dict)
    rows, named = models.metric_mrr_movement.c, models.subscription.c
    with database.connect() as connection:
        found = connection.execute(
            select(named.external_id, rows.day, func.sum(rows.amount_minor))
            .join(models.subscription, named.id == rows.subscription_id)
            .group_by(named.external_id, rows.day)
        )
        for key, day, amount in found:
            moved[key][day] = amount
    return moved


def _present(database: Database) -> dict[str, Decimal]:
    """Subscription → its level now."""
    return {
        key: level
        for key, days in _levels(database).items()
        if (level := sum(days.values(), Decimal(0)))
    }


def _log(database: Database) -> set[str]:
    with database.connect() as connection:
        return {str(each) for each in connection.scalars(select(models.event_log.c.id))}


def _wrong_share(truth: Database, read: Database) -> Decimal:
    """The share of MRR, added up over days and subscriptions, by which two books differ."""
    one, two = _levels(truth), _levels(read)
    wrong = whole = Decimal(0)
    for key in {**one, **two}:
        days = sorted({**one.get(key, {}), **two.get(key, {})})
        at, levels = days[0], [Decimal(0), Decimal(0)]
        while at <= NOW.date():
            levels[0] += one.get(key, {}).get(at, Decimal(0))
            levels[1] += two.get(key, {}).get(at, Decimal(0))
            whole += levels[0]
            wrong += abs(levels[0] - levels[1])
            at += timedelta(days=1)
    return wrong / whole


def test_the_past_comes_out_nearly_as_it_was(
    database: Database, new_database: NewDatabase, fake: FakeStripe
) -> None:
    done = _sync(database, fake)
    assert done.mode == "first"
    assert done.taken.quarantined == 0
    with new_database() as truth:
        translated = Stripe().translate_many(EVENTS, source="stripe")
        ingest(truth, PostgresBus(truth), (e for t in translated for e in t.events), BOOKS)
        # What Stripe does not keep: when a pause began, short spells of being unpaid, and (in this
        # account, whose pending items nobody shows) changes since the last invoice.
        assert _wrong_share(truth, database) < Decimal("0.04")
        assert _present(truth) == _present(database)


def test_money_is_followed_as_the_events_of_its_days_tell(
    database: Database, new_database: NewDatabase, fake: FakeStripe
) -> None:
    """Recoveries, and what cohorts have paid net of refunds: which invoice each payment was for."""
    _sync(database, fake)

    def answers(books: Database) -> list[Any]:
        ingest(books, PostgresBus(books), fx_rates(12, seed=5, end=END), BOOKS)
        engine = settled(books, as_of=NOW)
        span: dict[str, Any] = {"start": "2025-07-01", "end": "2026-06-30"}
        return [
            engine.query("payments", "series", **span).rows,
            engine.query("ltv", "cohort", **span).rows,
            engine.query("cash", "series", **span).rows,
        ]

    read = answers(database)
    with new_database() as truth:
        translated = Stripe().translate_many(EVENTS, source="stripe")
        ingest(truth, PostgresBus(truth), (e for t in translated for e in t.events), BOOKS)
        told = answers(truth)
    payments, _, cash = read
    assert sum(each["recovered"] for each in payments) > 2
    assert sum(each["refunds"] for each in cash) < 0
    for row, other in zip(read[0], told[0], strict=True):
        # Charges show their reason to fail either way; fees only the API shows.
        assert row == other
    assert read[1] == told[1]
    assert [each["net"] for each in read[2]] == [each["net"] for each in told[2]]


def test_money_that_came_again_is_told_with_its_day(database: Database) -> None:
    """A refund that failed and a dispute won in part, both longer ago than there are events of."""
    money = Money(NEW)
    charge = money.charged("2026-02-10", 6_000, "in_1")["data"]["object"]
    entries = [_entry("2026-02-20", -6_000, 1_500), _entry("2026-04-02", 5_000, 0)]
    lost = _entry("2026-03-05", 4_000, 0) | {"id": "txn_1"}
    refund = money.refund("2026-02-25", 4_000, "in_1", "2026-02-10")
    dispute = money.disputed("2026-02-20", 6_000, "in_1", "2026-02-10")["data"]["object"]
    account = FakeAccount(
        [
            {"id": "cus_T", "object": "customer", "created": seconds("2026-01-10")},
            charge | {"balance_transaction": None},
            refund | {"status": "failed", "failure_balance_transaction": lost},
            dispute | {"created": charge["created"], "balance_transactions": entries},
        ]
    )
    with FakeStripe(account) as fake:
        done = _sync(database, fake)
    assert done.taken.quarantined == 0
    engine = settled(database, as_of=NOW)
    rows = engine.query("cash", "series", start="2026-02-01", end="2026-04-30").rows
    assert [(each["refunds"], each["disputes"], each["fees"]) for each in rows] == [
        (-4_000, -6_000, -1_500),
        (4_000, 0, 0),
        (0, 5_000, 0),
    ]


def test_money_past_stripe_is_told_by_invoices_and_credit_notes(database: Database) -> None:
    """Paid by cheque; a part given back from the bank; another credit note was voided."""
    money = Money(NEW)
    said = {"discounts": [], **money.past_stripe(6_000)}
    invoice = money.invoice("2026-02-10", 6_000, "in_1", **said)
    given, voided = (
        money.credited(when, amount, "in_1", out_of_band_amount=amount)["data"]["object"]
        for when, amount in (("2026-03-02", 1_500), ("2026-03-03", 2_000))
    )
    account = FakeAccount(
        [
            {"id": "cus_T", "object": "customer", "created": seconds("2026-01-10")},
            invoice["data"]["object"],
            given,
            voided | {"status": "void", "voided_at": seconds("2026-04-04")},
        ]
    )
    with FakeStripe(account) as fake:
        done = _sync(database, fake)
    assert done.taken.quarantined == 0
    engine = settled(database, as_of=NOW)
    rows = engine.query("cash", "series", start="2026-02-01", end="2026-04-30").rows
    assert [(each["payments"], each["refunds"]) for each in rows] == [
        (6_000, 0),
        (0, -3_500),
        (0, 2_000),
    ]


def _entry(when: str, amount: int, fee: int) -> dict[str, Any]:
    entry = {"object": "balance_transaction", "amount": amount, "fee": fee, "currency": "usd"}
    return entry | {"created": seconds(when)}


def test_events_that_hold_only_the_first_ten_items_are_made_whole(database: Database) -> None:
    """A subscription of twelve items; its events are cut as Stripe cuts them, old ones by count."""
    (item,) = subscription()["items"]["data"]
    items = [{**item, "id": f"si_{number}"} for number in range(12)]
    at = int(NOW.timestamp()) - 86_400
    whole = subscription(
        items={"object": "list", "data": items, "has_more": False},
        discounts=[],
        livemode=True,
        start_date=at,
        created=at,
    )
    account = FakeAccount([{"id": "cus_T", "object": "customer", "created": at}, whole])
    cuts: list[dict[str, Any]] = [{"has_more": True}, {"has_more": False, "total_count": 12}]
    for number, cut in enumerate(cuts):
        shown = {**whole, "items": {"object": "list", "data": items[:10], **cut}}
        kind = f"customer.subscription.{('created', 'updated')[number]}"
        account.put(wrapped(kind, f"evt_{number}", at + number, shown))
    with FakeStripe(account) as fake:
        assert _sync(database, fake).taken.quarantined == 0
    (level,) = _present(database).values()
    alone = Decimal(item["price"]["unit_amount"] * item["quantity"])
    assert level == 12 * alone


def test_what_was_read_explains_deliveries_to_come(database: Database, fake: FakeStripe) -> None:
    """A delivery names a discount by its id alone, without a key to ask with."""
    _sync(database, fake)
    found = next(
        each
        for each in fake.account.listed("subscription")
        if each["discounts"] and each["status"] == "active"
    )
    named = {**found, "discounts": [each["id"] for each in found["discounts"]]}
    raw = wrapped("customer.subscription.updated", "evt_later", int(NOW.timestamp()), named)
    arrive(database, [raw])
    worked = settle(database, BOOKS)
    assert (worked.stored, worked.waiting) == (1, 0)


def test_a_second_run_changes_nothing(database: Database, fake: FakeStripe) -> None:
    _sync(database, fake)
    log = _log(database)
    with database.connect() as connection:
        tables = named_tables(connection)
    for asked in (Asked(), Asked(since=date(2020, 1, 1))):
        with reading(fake) as client:
            done = sync_stripe(_into(database), client, asked, clock=_a_little_later)
        assert done.mode == ("again" if asked.since else "catch-up")
        assert done.taken.applied == 0
        assert _log(database) == log
    with database.connect() as connection:
        assert named_tables(connection) == tables
        assert not connection.execute(select(models.sync_object)).all()


def test_every_version_says_how_sure_it_is(database: Database, fake: FakeStripe) -> None:
    done = _sync(database, fake)
    version = models.subscription_version.c
    with database.connect() as connection:
        rows = connection.execute(
            select(version.confidence, func.count()).group_by(version.confidence)
        )
        counted = {str(row[0]): int(row[1]) for row in rows}
    assert counted.pop("observed") > 0
    assert counted == done.versions
    assert counted["reconstructed"] > 10 * counted["inferred"] > 0
    assert done.unknown


def test_trouble_on_the_way_changes_nothing(
    database: Database, new_database: NewDatabase, fake: FakeStripe
) -> None:
    with new_database() as undisturbed:
        _sync(undisturbed, fake)
        fake.faults = [
            Fault(429, times=3, after=2, headers={"Retry-After": "1"}),
            Fault(500, path="/v1/invoices", times=2, after=4),
            Fault(-1, path="/v1/charges", times=2, after=1),
        ]
        _sync(database, fake)
        assert all(each.times == 0 for each in fake.faults)
        with database.connect() as one, undisturbed.connect() as two:
            assert undated_tables(one) == undated_tables(two)


def test_a_run_that_fails_is_gone_on_with(
    database: Database, new_database: NewDatabase, fake: FakeStripe
) -> None:
    fake.faults = [Fault(503, path="/v1/invoices", times=8 * IN_FLIGHT, after=5)]
    with pytest.raises(ApiUnreachable):
        _sync(database, fake)
    before = len(fake.seen)
    done = _sync(database, fake)
    again = [each.path for each in fake.seen[before:]]
    assert "/v1/customers" not in again, "what was read is not read again"
    with new_database() as undisturbed:
        whole = _sync(undisturbed, fake)
        assert done.objects == whole.objects
        with database.connect() as one, undisturbed.connect() as two:
            assert undated_tables(one) == undated_tables(two)


def test_what_happens_while_it_reads_is_told_once(
    database: Database, new_database: NewDatabase
) -> None:
    """A quantity changes in the middle: its event comes by webhook, and again with the reading."""
    account = recent_account(EVENTS)
    found = next(e for e in account.listed("subscription") if e["status"] == "active")
    # Nothing else of this subscription lies in the days of which events are kept.
    for event in account.listed("event").copy():
        if event["data"]["object"].get("id") == found["id"]:
            account.delete("event", event["id"])
    at = int(NOW.timestamp()) - 60
    after = copy.deepcopy(found)
    after["items"]["data"][0]["quantity"] += 7
    event = {
        "id": "evt_meanwhile", "object": "event", "api_version": "2026-10-28.endive",
        "type": "customer.subscription.updated", "created": at, "livemode": True,
        "data": {"object": after, "previous_attributes": {"items": found["items"]}},
    }  # fmt: skip
    into = _into(database)

    def meanwhile(seen: Seen) -> None:
        if seen.path == "/v1/subscriptions" and account.find("evt_meanwhile") is None:
            account.happen(event)
            told = Stripe().translate(event, source="stripe").events
            into.bus.append(told, source_kind="stripe")

    with FakeStripe(account, before_answer=meanwhile) as fake:
        _sync(database, fake)
        with reading(fake) as client:
            assert not reconcile_stripe(into, client, Asked()).differences
    days = _levels(database)[found["id"]]
    assert max(days) == NOW.date() - timedelta(days=1)
    with new_database() as quiet:
        account.delete("event", "evt_meanwhile")
        account.put(found)
        with FakeStripe(account) as fake:
            _sync(quiet, fake)
        before = _levels(quiet)[found["id"]]
    assert {day: amount for day, amount in days.items() if day != max(days)} == before


@pytest.mark.parametrize(("days", "mode"), [(10, "catch-up"), (75, "again")])
def test_a_later_run_brings_what_has_happened_since(
    database: Database, new_database: NewDatabase, days: int, mode: str
) -> None:
    """Within thirty days events tell it; after that the account is read again."""
    then = NOW - timedelta(days=days)
    early = [each for each in EVENTS if each["created"] < then.timestamp()]
    into = _into(database)
    with FakeStripe(recent_account(early, then)) as fake, reading(fake) as client:
        sync_stripe(into, client, Asked(), clock=lambda: then)
    with FakeStripe(recent_account(EVENTS)) as fake, reading(fake) as client:
        done = sync_stripe(into, client, Asked(), clock=clock)
        assert done.mode == mode
        assert done.taken.quarantined == 0
        assert not reconcile_stripe(into, client, Asked()).differences
        with new_database() as at_once:
            sync_stripe(_into(at_once), client, Asked(), clock=clock)
            assert _present(at_once) == _present(database)
            # The later run knows more of the time before: the earlier one had events of it.
            assert _wrong_share(at_once, database) < Decimal("0.04")


def test_a_missing_permission_stops_it_and_is_named(database: Database) -> None:
    keys = [Key(KEY, frozenset({"charges"}))]
    with (
        FakeStripe(recent_account(EVENTS), keys=keys) as fake,
        pytest.raises(ApiPermissionMissing, match="Charges and Refunds: Read"),
    ):
        _sync(database, fake)


def test_a_key_of_the_other_mode_reads_nothing(database: Database, fake: FakeStripe) -> None:
    with reading(fake) as client, pytest.raises(ApiKeyWrongMode):
        sync_stripe(_into(database), client, Asked(test_mode=True), clock=clock)
    assert not fake.seen


def test_a_dry_run_counts_what_a_run_reads(database: Database, fake: FakeStripe) -> None:
    with reading(fake) as client:
        counted = count_only(client, Asked(), NOW)
    done = _sync(database, fake)
    # Customers that were deleted stand in no list; a run finds them through their subscriptions.
    assert counted["customer"] <= done.objects["customer"]
    counted["customer"] = done.objects["customer"]
    assert {kind: number for kind, number in counted.items() if number} == done.objects


def test_a_change_that_nothing_dates_is_told_by_a_later_run(database: Database) -> None:
    """The bill that shows what was before is not read again, and the event is gone."""
    then = NOW - timedelta(days=75)
    account = recent_account([each for each in EVENTS if each["created"] < then.timestamp()], then)
    found = next(
        copy.deepcopy(each)
        for each in account.listed("subscription")
        if each["status"] == "active" and each["items"]["data"][0].get("quantity", 0) > 1
    )
    into = _into(database)
    with FakeStripe(account) as fake, reading(fake) as client:
        sync_stripe(into, client, Asked(), clock=lambda: then)
        found["items"]["data"][0]["quantity"] += 7
        account.put(found)
        for invoice in account.listed("invoice"):
            account.delete("invoice", invoice["id"])
        again = [sync_stripe(into, client, Asked(), clock=clock) for _ in range(2)]
        assert [each.mode for each in again] == ["again", "catch-up"]
        assert again[0].unknown["undated_change"] == 1
        assert not reconcile_stripe(into, client, Asked()).differences
    changed = NOW - timedelta(seconds=EVENTS_KEPT_S)
    assert changed.date() in _levels(database)[found["id"]]


def test_what_is_planned_is_read(database: Database) -> None:
    """A schedule read twice tells once; changed, it tells again; called off, it plans nothing."""
    account = recent_account(EVENTS)
    found = next(
        each
        for each in account.listed("subscription")
        if each["status"] == "active" and len(each["items"]["data"]) == 1
    )
    (item,) = found["items"]["data"]
    starts = int((NOW + timedelta(days=40)).timestamp())
    planned = {
        "id": "sub_sched_1", "object": "subscription_schedule", "created": EVENTS[-1]["created"],
        "customer": found["customer"], "subscription": found["id"], "status": "active",
        "end_behavior": "release", "livemode": True, "current_phase": None, "test_clock": None,
        "phases": [
            {
                "start_date": start, "end_date": start + 86_400 * 30, "discounts": [],
                "items": [{"price": item["price"]["id"], "quantity": item["quantity"] + more}],
            }
            for start, more in ((found["created"], 0), (starts, 4))
        ],
    }  # fmt: skip
    account.put(planned)
    with FakeStripe(account) as fake:
        _sync(database, fake)
        days = _levels(database)[found["id"]]
        assert max(days) == datetime.fromtimestamp(starts, UTC).date()
        before = _log_size(database)
        _sync(database, fake, Asked(since=date(2025, 1, 1)))
        assert _log_size(database) == before
        planned["phases"][1]["start_date"] = starts + 86_400
        account.put(planned)
        _sync(database, fake, Asked(since=date(2025, 1, 1)))
        assert _log_size(database) == before + 1
        assert max(_levels(database)[found["id"]]) == datetime.fromtimestamp(starts, UTC).date() + (
            timedelta(days=1)
        )
        account.put(planned | {"status": "released", "released_at": int(NOW.timestamp())})
        _sync(database, fake, Asked(since=date(2025, 1, 1)))
        assert max(_levels(database)[found["id"]]) < NOW.date()


def _log_size(database: Database) -> int:
    with database.connect() as connection:
        return connection.execute(select(func.count()).select_from(models.event_log)).scalar_one()
