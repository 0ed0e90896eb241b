"""What the books and Stripe disagree on is found, said beside every number, and mended."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.cli import Inside, inside
from tests.support.import_program import BOOKS
from tests.support.stripe_account import KEY, NOW, business, clock, reading, recent_account
from tidemill import models
from tidemill.bus import PostgresBus
from tidemill.cli.nightly import compare_nightly
from tidemill.cli.session import Session
from tidemill.connectors.stripe.reconcile import compare
from tidemill.database import Database
from tidemill.doctor import check
from tidemill.engine.notices import read_notices
from tidemill.sync import (
    Asked,
    Into,
    Reconciled,
    compare_export,
    due,
    latest,
    reconcile_stripe,
    sync_stripe,
)
from tidemill.testing.stripe import FakeStripe

EVENTS = business(20, 8)
CENTURY = 4_102_444_800  # 2100-01-01T00:00:00Z


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(recent_account(EVENTS)) as server:
        yield server


@pytest.fixture
def into(database: Database, fake: FakeStripe) -> Into:
    into = Into(database, PostgresBus(database), BOOKS)
    with reading(fake) as client:
        sync_stripe(into, client, Asked(), clock=clock)
    return into


def _reconcile(into: Into, fake: FakeStripe, *, fix: bool = False) -> Reconciled:
    with reading(fake) as client:
        return reconcile_stripe(into, client, Asked(), fix=fix)


def _running(fake: FakeStripe) -> dict[str, Any]:
    """A subscription that is active, to be changed behind everybody's back."""
    found = next(each for each in fake.account.listed("subscription") if each["status"] == "active")
    return copy.deepcopy(found)


def _doubled(fake: FakeStripe) -> str:
    """Double a quantity without an event, as when Stripe fails to make one."""
    found = _running(fake)
    found["items"]["data"][0]["quantity"] = 2 * (found["items"]["data"][0]["quantity"] or 1)
    fake.account.put(found)
    return str(found["id"])


def test_books_that_were_just_read_agree(into: Into, fake: FakeStripe) -> None:
    done = _reconcile(into, fake)
    assert not done.differences
    assert done.subscriptions == fake.account.count("subscription")


def test_a_difference_is_found_said_and_mended(into: Into, fake: FakeStripe) -> None:
    key = _doubled(fake)
    done = _reconcile(into, fake)
    assert [(each.subscription, each.field) for each in done.differences] == [(key, "items")]
    with into.database.snapshot() as connection:
        assert any(
            "differed from Stripe" in each for each in read_notices(connection, None).warnings
        )
    bus = PostgresBus(into.database)
    findings = {each.about: each for each in check(into.database, bus, BOOKS)}
    assert findings["comparison stripe"].level == "warning"

    assert _reconcile(into, fake, fix=True).left == ()
    assert not _reconcile(into, fake).differences
    with into.database.snapshot() as connection:
        assert not read_notices(connection, None).warnings
    version = models.subscription_version.c
    with into.database.connect() as connection:
        corrections = connection.execute(
            select(version.confidence).where(version.recorded_at > NOW, version.occurred_at > NOW)
        )
        assert corrections.scalars().all() == ["inferred"]


def test_an_end_nobody_told_is_dated_by_itself(into: Into, fake: FakeStripe) -> None:
    found = _running(fake)
    ended = int(NOW.timestamp()) - 5 * 86_400
    fake.account.put({**found, "status": "canceled", "ended_at": ended, "canceled_at": ended})
    done = _reconcile(into, fake, fix=True)
    assert {each.field for each in done.differences} >= {"status", "ended_at"}
    version = models.subscription_version.c
    with into.database.connect() as connection:
        told = connection.execute(
            select(version.occurred_at, version.confidence).where(
                version.ended_at == datetime.fromtimestamp(ended, UTC)
            )
        )
        assert told.all() == [(datetime.fromtimestamp(ended, UTC), "reconstructed")]


def test_a_subscription_nobody_told_of_is_brought_in(into: Into, fake: FakeStripe) -> None:
    found = _running(fake)
    fake.account.put({**found, "id": "sub_unheard_of"})
    assert [each.field for each in _reconcile(into, fake).differences] == ["missing"]
    _reconcile(into, fake, fix=True)
    assert not _reconcile(into, fake).differences


def test_what_cannot_be_understood_stays_on_the_list(into: Into, fake: FakeStripe) -> None:
    found = _running(fake)
    price = {**found["items"]["data"][0]["price"], "billing_scheme": "tiered", "tiers_mode": "x"}
    found["items"]["data"][0]["price"] = {**price, "id": "price_unheard_of"}
    fake.account.put(found)
    done = _reconcile(into, fake, fix=True)
    assert [each.field for each in done.left] == ["unresolved"]
    assert "tiers_mode" in done.left[0].theirs


def _scheduled(fake: FakeStripe, quantity: int, **more: Any) -> dict[str, Any]:
    """A schedule that nobody told of, for more seats of a running subscription in 2100."""
    running, created = _running(fake), int(NOW.timestamp()) - 86_400
    price = running["items"]["data"][0]["price"]["id"]
    phases = [
        {"start_date": start, "items": [{"price": price, "quantity": seats}], "discounts": []}
        for start, seats in ((created, 1), (CENTURY, quantity))
    ]
    found = {
        "id": "sub_sched_1",
        "object": "subscription_schedule",
        "created": created,
        "customer": running["customer"],
        "end_behavior": "release",
        "livemode": True,
        "status": "active",
        "subscription": running["id"],
        "phases": phases,
    }
    return found | more


def test_a_plan_nobody_told_of_is_found_and_mended(into: Into, fake: FakeStripe) -> None:
    def mended() -> list[tuple[str, str, str]]:
        done = _reconcile(into, fake)
        found = [(each.subscription, each.field, each.ours) for each in done.differences]
        assert _reconcile(into, fake, fix=True).left == ()
        assert not _reconcile(into, fake).differences
        return found

    fake.account.put(planned := _scheduled(fake, 3))
    key = str(planned["subscription"])
    assert mended() == [(key, "plan", "nothing")]
    with into.database.connect() as connection:
        phase = models.planned_phase.c
        starts_at = connection.execute(select(phase.starts_at)).scalars().all()
    assert starts_at == [datetime.fromtimestamp(CENTURY, UTC)]

    fake.account.put(_scheduled(fake, 5))
    ((_, field, ours),) = mended()
    assert (field, ours.startswith(f"{key}: from 2100-01-01 00:00:00 3 × ")) == ("plan", True)

    fake.account.put(_scheduled(fake, 5, status="released", released_subscription=key))
    ((_, field, ours),) = mended()
    assert (field, ours.startswith(f"{key}: from 2100-01-01 00:00:00 5 × ")) == ("plan", True)


def test_a_subscription_that_is_to_begin_is_compared(into: Into, fake: FakeStripe) -> None:
    later = _scheduled(fake, 3, status="not_started", subscription=None)
    fake.account.put(later | {"phases": later["phases"][1:]})
    fields = [each.field for each in _reconcile(into, fake).differences]
    assert fields == ["missing"]
    _reconcile(into, fake, fix=True)
    assert not _reconcile(into, fake).differences
    fake.account.put(later | {"phases": later["phases"][1:], "status": "canceled"})
    assert {each.field for each in _reconcile(into, fake).differences} >= {"status", "items"}
    _reconcile(into, fake, fix=True)
    assert not _reconcile(into, fake).differences


def test_the_nightly_comparison_is_due_once(into: Into, fake: FakeStripe) -> None:
    morning = NOW.replace(hour=9)
    with into.database.connect() as connection:
        assert due(connection, morning) == ["stripe"]
    with reading(fake) as client:
        reconcile_stripe(into, client, Asked(), clock=lambda: morning)
    with into.database.connect() as connection:
        assert due(connection, morning.replace(hour=23)) == []
        assert due(connection, morning.replace(day=2, hour=2)) == []
        assert due(connection, morning.replace(day=2, hour=4)) == ["stripe"]


def test_a_worker_compares_at_night(
    into: Into, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = _prompt(tmp_path, into.database, fake)
    for name, value in settings.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    key = _doubled(fake)
    stop = Event()
    stop.set()
    compare_nightly(Session(settings.url), stop)
    with into.database.connect() as connection:
        (found,) = latest(connection)
        assert (found["source"], found["differences"]) == ("stripe", 1)
        report = connection.scalars(select(models.reconciliation.c.report)).one()
    assert [each["subscription"] for each in report["differences"]] == [key]
    monkeypatch.setenv("TIDEMILL_STRIPE_RECONCILE_NIGHTLY", "false")
    before = len(fake.seen)
    compare_nightly(Session(settings.url), stop)
    assert len(fake.seen) == before


def test_amounts_of_a_coupon_in_other_currencies_are_known(into: Into, fake: FakeStripe) -> None:
    found = next(
        copy.deepcopy(each)
        for each in fake.account.listed("subscription")
        if each["status"] == "active" and each["currency"] == "eur"
    )
    coupon = fake.account.find("TENOFF", "coupon")
    discount = {
        "id": "di_unheard_of", "object": "discount", "start": int(time.time()), "end": None,
        "source": {"type": "coupon", "coupon": coupon}, "subscription": found["id"],
    }  # fmt: skip
    fake.account.put({**found, "discounts": [discount]})
    assert [each.field for each in _reconcile(into, fake).differences] == ["discounts"]


def test_an_export_of_the_dashboard_is_compared(into: Into, tmp_path: Path) -> None:
    with into.database.connect() as connection:
        rows = connection.execute(
            select(models.subscription.c.external_id).order_by(models.subscription.c.external_id)
        )
        known = str(rows.scalars().first())
    lines = [
        "id,Customer ID,Plan,Quantity,Currency,Interval,Amount,Status,Created (UTC),Ended At (UTC)",
        f"{known},cus_1,price_x,999,usd,month,1.00,past_due,2026-01-01 00:00,",
        "sub_unheard_of,cus_2,price_x,1,usd,month,1.00,active,2026-01-01 00:00,",
    ]
    path = tmp_path / "subscriptions.csv"
    path.write_text("\n".join(lines))
    done = compare_export(into, [str(path)], "stripe", NOW)
    found = {(each.subscription, each.field) for each in done.differences}
    assert (known, "status") in found
    assert ("sub_unheard_of", "missing") in found
    assert done.subscriptions == 2


def test_a_discount_that_has_ended_is_no_difference() -> None:
    ended = {
        "id": "di_1", "coupon": "c", "percent_off": "20", "duration": "repeating",
        "ends_at": "2026-06-01T00:00:00Z",
    }  # fmt: skip
    one: dict[str, Any] = {"id": "sub_1", "status": "active", "currency": "usd", "items": []}
    assert not compare(one | {"discounts": [ended]}, one, customer="c", now=NOW)
    running = ended | {"ends_at": "2026-08-01T00:00:00Z"}
    (found,) = compare(one | {"discounts": [running]}, one, customer="c", now=NOW)
    assert (found.ours, found.theirs) == ("c (20 % until 2026-08-01)", "none")


def _prompt(folder: Path, database: Database, fake: FakeStripe) -> Inside:
    plain = inside(folder, database)
    settings = {
        "STRIPE_API_KEY": KEY,
        "TIDEMILL_STRIPE_API_BASE": fake.url,
        "TIDEMILL_STRIPE_REQUESTS_PER_SECOND": "0",
    }
    return Inside(plain.folder, plain.url, settings)


def test_the_command_line(database: Database, tmp_path: Path, fake: FakeStripe) -> None:
    prompt = _prompt(tmp_path, database, fake)
    counted = prompt.json("sync", "stripe", "--dry-run")
    assert counted["objects"]["invoice"] == fake.account.count("invoice")
    assert "could not be known" in prompt.text("sync", "stripe")
    assert "The books agree with Stripe" in prompt.text("reconcile", "stripe")
    key = _doubled(fake)
    refused = prompt.run("reconcile", "stripe")
    assert refused.returncode == 1
    assert key in refused.stdout
    assert "1 correction was applied" in prompt.text("reconcile", "stripe", "--fix")
    again = prompt.json("sync", "stripe")
    assert again["mode"] == "catch-up"

    without_key = inside(tmp_path, database).run("sync", "stripe")
    assert without_key.returncode == 1
    assert "STRIPE_API_KEY" in without_key.stderr
