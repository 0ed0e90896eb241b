"""Kill Bill read in place: the worked examples, and that nothing is written.

Every expectation is written by hand; amounts are cents a month.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import tidemill
from tests.conftest import NewDatabase
from tests.support.cli import Inside
from tests.support.in_place import reader_of, rows_of, url_of
from tests.support.killbill import (
    CATALOG,
    NEWEST,
    OLDEST,
    KillBillBook,
    catalog,
    create_killbill,
)
from tidemill.database import Database
from tidemill.errors import (
    HistoryNotKept,
    KnobNotSupported,
    NotInThisMode,
    SchemaNotUnderstood,
    TenantNotChosen,
)
from tidemill.relations import COLUMNS

AS_OF = datetime(2024, 12, 31, tzinfo=UTC)
Told = list[tuple[str, str, int]]
BASIC = {"plan": "basic-monthly"}
PRO = {"plan": "pro-monthly"}
REPRICED = ("07-01", "expansion", 200)


@contextmanager
def reading(database: Database, **settings: Any) -> Iterator[tidemill.Tidemill]:
    given = {"base_currency": "USD", "connector": "killbill", "as_of": AS_OF} | settings
    with tidemill.connect(url_of(database), **given) as books:
        yield books


@pytest.fixture
def killbill(new_database: NewDatabase) -> Iterator[KillBillBook]:
    with new_database(schema=False) as database:
        yield create_killbill(database)


def new_monthly(b: KillBillBook) -> None:
    b.subscription(b.account(), ("CREATE", "2024-01-10", BASIC))


def annual(b: KillBillBook) -> None:
    b.subscription(b.account(), ("CREATE", "2024-01-15", {"plan": "pro-annual"}))


def upgrade(b: KillBillBook) -> None:
    events = ("CREATE", "2024-01-01", BASIC), ("CHANGE", "2024-02-16", PRO)
    b.subscription(b.account(), *events)


def downgrade(b: KillBillBook) -> None:
    change = {**BASIC, "asked": "2024-02-10"}
    b.subscription(b.account(), ("CREATE", "2024-01-01", PRO), ("CHANGE", "2024-03-01", change))


def cancel(b: KillBillBook) -> None:
    """Entitlement ends before billing does; the level ends with billing."""
    ends = ("CANCEL", "2024-04-01", {"asked": "2024-03-20"})
    row = b.subscription(b.account(), ("CREATE", "2024-01-01", BASIC), ends)
    b.block(row, "2024-03-20", billing=False, state="ENT_CANCELLED", type="SUBSCRIPTION")


def again(b: KillBillBook) -> None:
    c = b.account()
    b.subscription(c, ("CREATE", "2024-01-01", BASIC), ("CANCEL", "2024-03-01"))
    b.subscription(c, ("CREATE", "2024-04-01", BASIC))


def trial(b: KillBillBook) -> None:
    plan = {"plan": "trial-monthly"}
    first = ("CREATE", "2024-02-01", {**plan, "phase": "trial"})
    b.subscription(b.account(), first, ("PHASE", "2024-02-15", plan))


def discount(b: KillBillBook) -> None:
    plan = {"plan": "promo-monthly"}
    first = ("CREATE", "2024-01-01", {**plan, "phase": "discount"})
    b.subscription(b.account(), first, ("PHASE", "2024-04-01", plan))


def override(b: KillBillBook) -> None:
    plan = b.override("basic-monthly", "evergreen", 15)
    b.subscription(b.account(), ("CREATE", "2024-01-01", {"plan": plan}))


def two(b: KillBillBook) -> None:
    c = b.account()
    bundle = b.bundle(c)
    extra = {"plan": "extra-monthly"}
    b.subscription(c, ("CREATE", "2024-01-01", BASIC), bundle=bundle)
    added = ("CREATE", "2024-02-01", extra), ("CANCEL", "2024-05-01")
    b.subscription(c, *added, bundle=bundle)


def euro(b: KillBillBook) -> None:
    b.subscription(b.account(currency="EUR"), ("CREATE", "2024-01-01", BASIC))


def pause(b: KillBillBook) -> None:
    c = b.account()
    bundle = b.bundle(c)
    b.subscription(c, ("CREATE", "2024-01-01", BASIC), bundle=bundle)
    b.block(bundle, "2024-03-10", billing=True)
    b.block(bundle, "2024-04-05", billing=False)


def pauses_overlap(b: KillBillBook) -> None:
    """The account's and the bundle's are one; one of an hour is none."""
    c = b.account()
    bundle = b.bundle(c)
    b.subscription(c, ("CREATE", "2024-01-01", BASIC), bundle=bundle)
    b.block(bundle, "2024-02-01T00:00", billing=True)
    b.block(bundle, "2024-02-01T01:00", billing=False)
    b.block(bundle, "2024-03-10", billing=True)
    b.block(c, "2024-03-20", billing=True, service="overdue-service", type="ACCOUNT")
    b.block(bundle, "2024-03-25", billing=False)
    b.block(c, "2024-04-05", billing=False, service="overdue-service", type="ACCOUNT")


def quantity(b: KillBillBook) -> None:
    more = ("QUANTITY_UPDATE", "2024-02-01", {"quantity": 3})
    b.subscription(b.account(), ("CREATE", "2024-01-01", BASIC), more)


def undone(b: KillBillBook) -> None:
    b.subscription(
        b.account(),
        ("CREATE", "2024-01-01", PRO),
        ("CANCEL", "2024-06-01", {"is_active": False, "asked": "2024-05-01"}),
        ("UNCANCEL", "2024-05-15"),
    )


def later(b: KillBillBook) -> None:
    b.subscription(b.account(), ("CREATE", "2024-05-10", BASIC))


def replaced(b: KillBillBook) -> None:
    """A change at the instant of the start takes its place."""
    gone = {**BASIC, "is_active": False}
    b.subscription(b.account(), ("CREATE", "2024-01-01", gone), ("CREATE", "2024-01-01", PRO))


def expired(b: KillBillBook) -> None:
    b.subscription(b.account(), ("CREATE", "2024-01-01", PRO), ("EXPIRED", "2024-06-01"))


def usage(b: KillBillBook) -> None:
    row = b.subscription(b.account(), ("CREATE", "2024-01-01", PRO))
    of = {"account_record_id": row["account_record_id"]}
    invoice = b.add("invoices", status="COMMITTED", currency="USD", **of)
    b.add(
        "invoice_items", type="USAGE", invoice_id=invoice["id"], subscription_id=row["id"],
        amount="12.34", currency="USD", usage_name="calls", **of,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("write", "wanted"),
    [
        (new_monthly, [("01-10", "new", 2000), REPRICED]),
        (annual, [("01-15", "new", 4000)]),
        (upgrade, [("01-01", "new", 2000), ("02-16", "expansion", 3000)]),
        (downgrade, [("01-01", "new", 5000), ("03-01", "contraction", -3000), REPRICED]),
        (cancel, [("01-01", "new", 2000), ("04-01", "churn", -2000)]),
        (
            again,
            [
                ("01-01", "new", 2000),
                ("03-01", "churn", -2000),
                ("04-01", "reactivation", 2000),
                REPRICED,
            ],
        ),
        (trial, [("02-15", "new", 3000)]),
        (discount, [("01-01", "new", 1000), ("04-01", "expansion", 1000)]),
        (override, [("01-01", "new", 1500)]),
        (
            two,
            [
                ("01-01", "new", 2000),
                ("02-01", "expansion", 500),
                ("05-01", "contraction", -500),
                REPRICED,
            ],
        ),
        (euro, [("01-01", "new", 1800)]),
        *(
            (
                write,
                [
                    ("01-01", "new", 2000),
                    ("03-10", "churn", -2000),
                    ("04-05", "reactivation", 2000),
                    REPRICED,
                ],
            )
            for write in (pause, pauses_overlap)
        ),
        (
            quantity,
            [("01-01", "new", 2000), ("02-01", "expansion", 4000), ("07-01", "expansion", 600)],
        ),
        (undone, [("01-01", "new", 5000)]),
        (later, [("05-10", "new", 2200)]),
        (replaced, [("01-01", "new", 5000)]),
        (expired, [("01-01", "new", 5000), ("06-01", "churn", -5000)]),
        (usage, [("01-01", "new", 5000)]),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_worked_examples(
    killbill: KillBillBook, write: Callable[[KillBillBook], None], wanted: Told
) -> None:
    write(killbill)
    killbill.save()
    currency = "EUR" if write is euro else "USD"
    with reading(killbill.database, base_currency=currency) as books:
        rows = books.mrr.movements(start="2023-01-01", end="2024-12-31").rows
        told: dict[tuple[str, str], int] = {}
        for row in rows:
            key = f"{row['day']:%m-%d}", row["type"]
            told[key] = told.get(key, 0) + int(row["native_amount"])
        assert [(*key, amount) for key, amount in told.items()] == wanted


def test_questions_beside_the_numbers(killbill: KillBillBook) -> None:
    """Trace, explain, compare and cut; what a movement is due to is a row of Kill Bill."""
    pause(killbill)
    killbill.save()
    with reading(killbill.database) as books:
        life = books.timeline("c-1")
        assert [each.type for each in life.versions] == [
            "killbill.subscription_events",
            "killbill.blocking_states",
            "killbill.blocking_states",
            "killbill.subscription_events",
        ]
        assert books.explain("mrr", at="2024-08-01", customer="c-1").result.value == 2200
        by = books.mrr(at="2024-08-01", by=["plan", "product"]).rows
        assert [(row["plan"], row["product"], row["mrr"]) for row in by] == [
            ("basic-monthly", "Basic", 2200)
        ]
        asked = books.mrr(at="2024-08-01")
        with books.database.snapshot() as connection:
            row = connection.exec_driver_sql(asked.sql.replace("%", "%%")).mappings().one()
        assert row["mrr"] == asked.value == 2200
        told = books.compare("mrr", presets=["default", "chartmogul"], at="2024-03-20")
        assert [side.error for side in told.sides] == [None, None]
        assert [each.source for each in books.freshness()] == ["killbill"]


def test_what_kill_bill_does_not_know_is_refused(killbill: KillBillBook) -> None:
    new_monthly(killbill)
    killbill.save()
    with reading(killbill.database) as books:
        with pytest.raises(HistoryNotKept):
            books.mrr(known_at="2024-06-01T00:00:00Z")
        with pytest.raises(KnobNotSupported):
            books.mrr(set={"event_time": "recorded"})
        with pytest.raises(NotInThisMode):
            books.merge_customers("killbill:a", "killbill:b")


def test_nothing_is_written(killbill: KillBillBook) -> None:
    """A role that may only read is enough, and not a row or transaction is left behind."""
    new_monthly(killbill)
    killbill.save()
    before = rows_of(killbill.database)
    with (
        reader_of(killbill.database, "killbill") as address,
        tidemill.connect(address, base_currency="USD", connector="killbill", as_of=AS_OF) as books,
    ):
        assert books.mrr(at="2024-12-31").value == 2200
        books.timeline("c-1")
        books.compare("mrr", presets=["default", "chartmogul"], at="2024-12-31")
        with books.database.connect() as connection:
            assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
    assert rows_of(killbill.database) == before


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_versions_and_another_schema(new_database: NewDatabase, version: str) -> None:
    with new_database(schema=False) as database:
        book = create_killbill(database, version, "killbillschema")
        upgrade(book)
        book.save()
        with reading(database, source_schema="killbillschema") as books:
            assert books.mrr(at="2024-12-31").value == 5000


def test_another_schema_is_refused_with_all_that_is_missing(killbill: KillBillBook) -> None:
    with killbill.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE accounts DROP COLUMN currency")
        connection.exec_driver_sql("DROP TABLE tags")
    with pytest.raises(SchemaNotUnderstood) as refused, reading(killbill.database):
        pass
    found = [each.path for each in refused.value.problems]
    assert found == ["public.accounts.currency", "public.tags"]


def test_one_tenant_of_several(killbill: KillBillBook) -> None:
    new_monthly(killbill)
    killbill.new_tenant("pied-piper")
    annual(killbill)
    killbill.save()
    with pytest.raises(TenantNotChosen, match="hooli"), reading(killbill.database):
        pass
    for tenant, wanted in (("hooli", 2200), ("pied-piper", 4000)):
        with reading(killbill.database, source_tenant=tenant) as books:
            assert books.mrr(at="2024-12-31").value == wanted


def test_accounts_for_tests_are_left_out(killbill: KillBillBook) -> None:
    new_monthly(killbill)
    account = next(row for table, row in killbill.rows if table == "accounts")
    tag = "00000000-0000-0000-0000-000000000006"
    killbill.add("tags", tag_definition_id=tag, object_id=account["id"], object_type="ACCOUNT")
    killbill.save()
    with reading(killbill.database) as books:
        assert books.mrr(at="2024-12-31").value == 0


def test_what_is_not_counted_is_said(killbill: KillBillBook) -> None:
    """A plan of a catalogue that is not in the database, and one without the currency."""
    killbill.subscription(killbill.account(), ("CREATE", "2024-01-01", {"plan": "elsewhere"}))
    killbill.subscription(killbill.account("d", "EUR"), ("CREATE", "2024-01-01", PRO))
    killbill.save()
    with reading(killbill.database) as books:
        said = "Not counted: 2 subscriptions of plans whose price no catalogue"
        assert any(each.startswith(said) for each in books.mrr(at="2024-12-31").warnings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<catalog", "not XML"),
        ('<!DOCTYPE c [<!ENTITY a "b">]>' + CATALOG[CATALOG.index("<catalog") :], "document type"),
        (catalog("soon"), "'soon' is not a date"),
        (CATALOG.replace("MONTHLY", "LUNAR"), "'LUNAR'"),
    ],
)
def test_a_catalogue_that_is_not_understood(killbill: KillBillBook, text: str, said: str) -> None:
    killbill.add("tenant_kvs", tenant_key="CATALOG", tenant_value=text)
    killbill.save()
    with pytest.raises(SchemaNotUnderstood, match=said), reading(killbill.database):
        pass


def test_the_command_line(killbill: KillBillBook, tmp_path: Path) -> None:
    """Two variables, and the number is there."""
    new_monthly(killbill)
    killbill.save()
    settings = {"TIDEMILL_CONNECTOR": "killbill", "TIDEMILL_BASE_CURRENCY": "USD"}
    prompt = Inside(tmp_path, url_of(killbill.database), settings)
    assert "$22.00" in prompt.text("mrr", "--at", "2024-12-31")


def test_every_relation_has_its_columns(killbill: KillBillBook) -> None:
    """A relation that lacks a column fails where a metric wants it, and not before."""
    usage(killbill)
    killbill.save()
    with reading(killbill.database) as books, books.database.snapshot() as connection:
        relations = books.engine.provider.relations(base_currency="USD")
        for name, columns in COLUMNS.items():
            relation = getattr(relations, name)
            assert set(columns) <= set(relation.c.keys()), name
            connection.execute(select(*(relation.c[each] for each in columns))).all()
        lines = relations.usage_lines
        assert connection.execute(select(lines.c.amount)).scalar_one() == 1234


def test_cash(killbill: KillBillBook) -> None:
    """What moved money or failed to, by transaction; an authorization moves none."""
    of = {"account_record_id": killbill.account()["record_id"], "currency": "USD"}
    for kind, status, amount in (
        ("AUTHORIZE", "SUCCESS", 49),
        ("CAPTURE", "SUCCESS", 49),
        ("PURCHASE", "PAYMENT_FAILURE", 7),
        ("REFUND", "SUCCESS", 9),
        ("CHARGEBACK", "SUCCESS", 5),
        ("PURCHASE", "PENDING", 8),
    ):
        killbill.add(
            "payment_transactions", transaction_type=kind, transaction_status=status,
            amount=amount, processed_amount=amount, processed_currency="USD", **of,
        )  # fmt: skip
    killbill.save()
    with reading(killbill.database) as books, books.database.snapshot() as connection:
        payments = books.engine.provider.relations(base_currency="USD").payments
        found = connection.execute(select(payments.c.kind, payments.c.amount))
        assert sorted((kind, int(amount)) for kind, amount in found) == [
            ("disputed", 500),
            ("failed", 700),
            ("refunded", 900),
            ("succeeded", 4900),
        ]
