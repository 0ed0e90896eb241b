"""A copy of a billing database: what it holds, and what of it is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.conftest import NewDatabase
from tests.integration.test_killbill import override, pause, pauses_overlap, quantity, trial, undone
from tests.integration.test_lago import (
    coupon,
    downgrade,
    price_in_place,
    subscribe_again,
    trial_paid,
    two_subscriptions,
    upgrade,
)
from tests.support.copies import books, differences, refresh
from tests.support.killbill import CATALOG, KillBillBook, create_killbill
from tests.support.lago import LagoBook, create_lago, utc
from tests.support.walks import set_rows
from tests.support.weight import first
from tidemill.database import Database


@pytest.fixture
def store(database: Database) -> Database:
    return database


@pytest.fixture
def lago(new_database: NewDatabase) -> Iterator[LagoBook]:
    with new_database(schema=False) as made:
        yield create_lago(made)


@pytest.fixture
def killbill(new_database: NewDatabase) -> Iterator[KillBillBook]:
    with new_database(schema=False) as made:
        yield create_killbill(made)


# The examples themselves are told in test_lago and test_killbill, and random lives of both are
# copied in tests/property: the default run copies some of each.
LAGO = (
    *(coupon, trial_paid, price_in_place),
    *(upgrade, downgrade, subscribe_again, two_subscriptions),
)
KILLBILL = (*(override, pauses_overlap, undone), *(pause, quantity, trial))


@pytest.mark.parametrize("write", first(3, LAGO))
def test_copy_of_lago(store: Database, lago: LagoBook, write: Callable[[LagoBook], None]) -> None:
    write(lago)
    lago.save()
    held = books("EUR")
    done = refresh(store, lago.database, "lago", held)
    assert (done.how, done.changed) == ("first", 1)
    assert differences(store, lago.database, "lago", held) == []


@pytest.mark.parametrize("write", first(3, KILLBILL))
def test_copy_of_killbill(
    store: Database, killbill: KillBillBook, write: Callable[[KillBillBook], None]
) -> None:
    write(killbill)
    killbill.save()
    held = books("USD")
    done = refresh(store, killbill.database, "killbill", held)
    assert done.how == "first"
    assert differences(store, killbill.database, "killbill", held) == []


# --- what is noticed ------------------------------------------------------------------------------

LATER = datetime(2024, 8, 1, 12)  # noqa: DTZ001 - neither keeps a zone
LAGO_CHANGES: dict[str, dict[str, Any]] = {
    "customers": {"name": "Renamed"},
    "subscriptions": {"status": 2, "terminated_at": LATER},
    "plans": {"amount_cents": 7700},
    "fees": {"amount_cents": 1},
    "invoices": {"status": 2},
    "invoice_subscriptions": {"to_datetime": LATER},
    "coupons": {"limited_plans": True},
    "coupon_targets": {"deleted_at": None},
    "applied_coupons": {"percentage_rate": 50},
    "payments": {"status": "failed", "payable_payment_status": "failed"},
    "credit_notes": {"refund_amount_cents": 3},
}


def one_of_everything(b: LagoBook, name: str) -> None:
    """A customer with a row in every table; its coupon is for its plan alone."""
    c, plan = b.customer(name), b.plan(f"plan-{name}", 4900)
    s = b.subscription(c, plan, f"s-{name}", "2024-01-01")
    b.coupon(c, "2024-02-01", percentage_rate=20)
    coupon = next(row for table, row in reversed(b.rows) if table == "coupons")
    coupon["limited_plans"] = name == "d"
    b.add("coupon_targets", coupon_id=coupon["id"], plan_id=plan, deleted_at=utc("2024-02-02"))
    b.usage_fee(
        s, c, "2024-03-01", 500, properties={
            "charges_from_datetime": "2024-02-01", "charges_to_datetime": "2024-03-01",
        },
    )  # fmt: skip
    invoice = next(row["id"] for table, row in reversed(b.rows) if table == "invoices")
    b.add(
        "invoice_subscriptions", invoice_id=invoice, subscription_id=s,
        from_datetime=utc("2024-02-01"), to_datetime=utc("2024-03-01"),
    )  # fmt: skip
    b.add(
        "payments", invoice_id=invoice, amount_cents=500, amount_currency="EUR",
        status="succeeded", payable_type="Invoice", payable_id=invoice,
        payable_payment_status="succeeded", created_at=utc("2024-03-02"),
    )  # fmt: skip
    b.add(
        "credit_notes", customer_id=c, invoice_id=invoice, status=1, refund_status=1,
        refund_amount_cents=2, total_amount_currency="EUR", created_at=utc("2024-03-03"),
    )  # fmt: skip


@pytest.mark.parametrize("table", LAGO_CHANGES)
def test_every_table_of_lago_is_watched(store: Database, lago: LagoBook, table: str) -> None:
    for name in ("c", "d"):
        one_of_everything(lago, name)
    # The second customer's coupon is limited to plans, so its targets matter; it takes nothing.
    is_second = table not in {"coupons", "applied_coupons"}
    row = [each for name, each in lago.rows if name == table][is_second]
    lago.save()
    held = books("EUR")
    assert refresh(store, lago.database, "lago", held).changed == 2
    set_rows(lago, table, {"id": row["id"]}, **LAGO_CHANGES[table], updated_at=LATER)
    done = refresh(store, lago.database, "lago", held)
    assert (done.how, done.read, done.changed) == ("changes", 1, 1)
    assert differences(store, lago.database, "lago", held) == []
    assert refresh(store, lago.database, "lago", held).read == 0


def test_a_change_without_a_mark_is_found_by_comparing(store: Database, lago: LagoBook) -> None:
    """Rows that are deleted leave nothing behind, and some clocks are late."""
    for name in ("c", "d", "e"):
        one_of_everything(lago, name)
    fee = next(row for table, row in lago.rows if table == "fees")
    lago.save()
    held = books("EUR")
    refresh(store, lago.database, "lago", held)
    with lago.database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM fees WHERE id = %s", (fee["id"],))
    set_rows(lago, "customers", {"external_id": "d"}, name="Late", updated_at=utc("2023-01-01"))
    assert refresh(store, lago.database, "lago", held).changed == 0
    assert len(differences(store, lago.database, "lago", held)) == 3
    done = refresh(store, lago.database, "lago", held, full=True)
    assert (done.how, done.read, done.changed) == ("everybody", 3, 2)
    assert differences(store, lago.database, "lago", held) == []
    with lago.database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM customers WHERE external_id = 'e'")
    assert refresh(store, lago.database, "lago", held, full=True).changed == 1
    assert differences(store, lago.database, "lago", held) == []


KILLBILL_CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "accounts": ({"external_key": "c-1"}, {"name": "Renamed"}),
    "subscription_events": ({"user_type": "CHANGE"}, {"is_active": False}),
    "blocking_states": ({"block_billing": False}, {"is_active": False}),
    "payment_transactions": ({"transaction_type": "PURCHASE"}, {"processed_amount": 7}),
}


def account_with_all(b: KillBillBook) -> dict[str, dict[str, Any]]:
    """An account with a row in every table; its rows by table."""
    account = b.account()
    bundle = b.bundle(account)
    special = b.override("pro-monthly", "evergreen", 33)
    row = b.subscription(
        account, ("CREATE", "2024-01-01", {"plan": "basic-monthly"}),
        ("CHANGE", "2024-03-01", {"plan": special}), bundle=bundle,
    )  # fmt: skip
    of = {"account_record_id": account["record_id"]}
    b.block(bundle, "2024-04-01", billing=True, **of)
    b.block(bundle, "2024-05-01", billing=False, **of)
    invoice = b.add(
        "invoices", account_id=account["id"], invoice_date=utc("2024-02-01"), currency="USD",
        status="COMMITTED", parent_invoice=False, **of,
    )  # fmt: skip
    b.add(
        "invoice_items", type="RECURRING", invoice_id=invoice["id"], amount=20, currency="USD",
        subscription_id=row["id"], start_date=utc("2024-02-01"), end_date=utc("2024-03-01"), **of,
    )  # fmt: skip
    payment = "payment-of-it"
    b.add(
        "payment_transactions", transaction_type="PURCHASE", transaction_status="SUCCESS",
        effective_date=utc("2024-02-02"), amount=20, currency="USD", processed_amount=20,
        processed_currency="USD", payment_id=payment, **of,
    )  # fmt: skip
    b.add(
        "invoice_payments", type="ATTEMPT", invoice_id=invoice["id"], payment_id=payment,
        amount=20, payment_date=utc("2024-02-02"), currency="USD", status="SUCCESS", **of,
    )  # fmt: skip
    return {"accounts": account, "invoices": invoice, "subscriptions": row}


@pytest.mark.parametrize("table", KILLBILL_CHANGES)
def test_every_dated_table_of_killbill_is_watched(
    store: Database, killbill: KillBillBook, table: str
) -> None:
    account_with_all(killbill)
    killbill.subscription(killbill.account("d"), ("CREATE", "2024-01-01", {"plan": "pro-annual"}))
    killbill.save()
    held = books("USD")
    refresh(store, killbill.database, "killbill", held)
    where, values = KILLBILL_CHANGES[table]
    assert set_rows(killbill, table, where, **values, updated_date=LATER) == 1
    done = refresh(store, killbill.database, "killbill", held)
    assert (done.how, done.read, done.changed) == ("changes", 1, 1)
    assert differences(store, killbill.database, "killbill", held) == []


KILLBILL_ROWS: dict[str, dict[str, Any]] = {
    "tags": {
        "object_type": "ACCOUNT", "tag_definition_id": "00000000-0000-0000-0000-000000000006",
        "created_date": LATER, "updated_date": LATER,
    },
    "invoices": {
        "invoice_date": LATER, "currency": "USD", "status": "DRAFT", "parent_invoice": False,
    },
    "invoice_items": {
        "type": "USAGE", "amount": 3, "currency": "USD", "start_date": LATER, "end_date": LATER,
        "usage_name": "calls",
    },
    "invoice_payments": {
        "type": "REFUND", "payment_id": "another", "amount": -5, "payment_date": LATER,
        "currency": "USD", "status": "SUCCESS",
    },
    "subscriptions": {"category": "ADD_ON", "created_date": LATER, "updated_date": LATER},
}  # fmt: skip


@pytest.mark.parametrize("table", KILLBILL_ROWS)
def test_new_rows_of_killbill_are_noticed(
    store: Database, killbill: KillBillBook, table: str
) -> None:
    rows = account_with_all(killbill)
    killbill.subscription(killbill.account("d"), ("CREATE", "2024-01-01", {"plan": "pro-annual"}))
    killbill.save()
    held = books("USD")
    refresh(store, killbill.database, "killbill", held)
    account, row = rows["accounts"], rows["subscriptions"]
    killbill.add(
        table, object_id=account["id"], account_id=account["id"], invoice_id=rows["invoices"]["id"],
        account_record_id=account["record_id"], subscription_id=row["id"],
        bundle_id=row["bundle_id"], external_key="another", **KILLBILL_ROWS[table],
    )  # fmt: skip
    killbill.save()
    done = refresh(store, killbill.database, "killbill", held)
    # A subscription without an event is none yet, and changes nothing.
    assert (done.how, done.read, done.changed) == ("changes", 1, int(table != "subscriptions"))
    assert differences(store, killbill.database, "killbill", held) == []


def test_a_price_made_for_one_customer_is_watched(store: Database, killbill: KillBillBook) -> None:
    """It is never changed by Kill Bill; another one would be noticed by its number."""
    account_with_all(killbill)
    killbill.save()
    held = books("USD")
    refresh(store, killbill.database, "killbill", held)
    number = max(killbill.numbers.values()) + 1
    plan = {"parent_plan_name": "pro-monthly"}
    set_rows(killbill, "catalog_override_plan_definition", plan, record_id=number)
    assert refresh(store, killbill.database, "killbill", held).read == 0  # no choice names it
    phase = {"parent_phase_name": "pro-monthly-evergreen"}
    set_rows(killbill, "catalog_override_plan_definition", plan, record_id=1)
    set_rows(killbill, "catalog_override_phase_definition", phase, record_id=number)
    of = {"target_plan_def_record_id": 1}
    set_rows(killbill, "catalog_override_plan_phase", of, phase_def_record_id=number)
    assert refresh(store, killbill.database, "killbill", held).read == 1
    assert differences(store, killbill.database, "killbill", held) == []


def test_a_new_catalogue_concerns_everybody(store: Database, killbill: KillBillBook) -> None:
    account_with_all(killbill)
    killbill.subscription(
        killbill.account("d"), ("CREATE", "2024-01-01", {"plan": "basic-monthly"})
    )
    killbill.subscription(killbill.account("e"), ("CREATE", "2024-01-01", {"plan": "pro-annual"}))
    killbill.save()
    held = books("USD")
    refresh(store, killbill.database, "killbill", held)
    name = 'prettyName="Basic Monthly">'
    existing = "effectiveDateForExistingSubscriptions"
    later = f"<{existing}>2024-06-15T00:00:00Z</{existing}>"
    dearer = CATALOG.replace("2023-01-01", "2024-06-01").replace(">20<", ">25<")
    dearer = dearer.replace(name, f"{name}{later}")
    killbill.add("tenant_kvs", tenant_key="CATALOG", tenant_value=dearer)
    killbill.save()
    done = refresh(store, killbill.database, "killbill", held)
    assert (done.how, done.read) == ("everybody", 3)
    assert 0 < done.changed < 3
    assert differences(store, killbill.database, "killbill", held) == []


def test_another_version_of_the_schema_concerns_everybody(store: Database, lago: LagoBook) -> None:
    one_of_everything(lago, "c")
    lago.save()
    held = books("EUR")
    refresh(store, lago.database, "lago", held)
    with lago.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE customers DROP COLUMN firstname")
    assert refresh(store, lago.database, "lago", held).how == "everybody"
    with lago.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE fees DROP COLUMN updated_at")
    # Nothing marks what has changed in it: everybody is compared each time.
    refresh(store, lago.database, "lago", held)
    assert refresh(store, lago.database, "lago", held).how == "everybody"
    assert differences(store, lago.database, "lago", held) == []
