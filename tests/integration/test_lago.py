"""Lago read in place: the worked examples, and that nothing is written.

Every expectation is written by hand; amounts are euro cents a month.
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
from tests.support.lago import NEWEST, LagoBook, create_lago, utc
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


@contextmanager
def reading(database: Database, **settings: Any) -> Iterator[tidemill.Tidemill]:
    given = {"base_currency": "EUR", "connector": "lago", "as_of": AS_OF} | settings
    with tidemill.connect(url_of(database), **given) as books:
        yield books


@pytest.fixture
def lago(new_database: NewDatabase) -> Iterator[LagoBook]:
    with new_database(schema=False) as database:
        yield create_lago(database)


def movements(books: tidemill.Tidemill, **how: Any) -> Told:
    rows = books.mrr.movements(start="2023-01-01", end="2024-12-31", **how).rows
    return [(f"{row['day']:%m-%d}", row["type"], int(row["native_amount"])) for row in rows]


def new_monthly(b: LagoBook) -> None:
    b.subscription(b.customer("c"), b.plan("pro", 4900), "s", "2024-01-10")


def annual(b: LagoBook) -> None:
    b.subscription(b.customer("c"), b.plan("proy", 48000, ("year", 1)), "s", "2024-01-15")


def upgrade(b: LagoBook) -> None:
    """The new period begins milliseconds before the old one ends."""
    c = b.customer("c")
    first = b.subscription(
        c, b.plan("pro", 4900), "s", "2024-01-01", terminated_at="2024-02-15T10:00:00.050"
    )
    scale = b.plan("scale", 9900)
    b.subscription(c, scale, "s", "2024-02-15T10:00:00", previous_subscription_id=first)


def downgrade(b: LagoBook) -> None:
    c = b.customer("c")
    at = "2024-03-01T00:05:00"
    first = b.subscription(c, b.plan("scale", 9900), "s", "2024-01-01", terminated_at=at)
    b.subscription(c, b.plan("pro", 4900), "s", at, previous_subscription_id=first)


def cancel(b: LagoBook) -> None:
    b.subscription(
        b.customer("c"), b.plan("pro", 4900), "s", "2024-01-05", terminated_at="2024-03-20T12:00:00"
    )


def subscribe_again(b: LagoBook) -> None:
    c, pro = b.customer("c"), b.plan("pro", 4900)
    b.subscription(c, pro, "s", "2024-01-05", terminated_at="2024-03-20T12:00:00")
    b.subscription(c, pro, "s", "2024-06-01T08:00:00")


def trial_paid(b: LagoBook) -> None:
    b.subscription(
        b.customer("c"), b.plan("prot", 4900, trial_period=14.0), "s", "2024-02-01T08:00:00",
        trial_ended_at="2024-02-15T08:00:00",
    )  # fmt: skip


def trial_lost(b: LagoBook) -> None:
    b.subscription(
        b.customer("c"), b.plan("prot", 4900, trial_period=14.0), "s", "2024-02-01",
        terminated_at="2024-02-10",
    )  # fmt: skip


def second_trial_is_none(b: LagoBook) -> None:
    """The trial counts from the first start of the same external_id."""
    c, prot = b.customer("c"), b.plan("prot", 4900, trial_period=14.0)
    b.subscription(c, prot, "s", "2024-02-01", terminated_at="2024-02-10")
    b.subscription(c, prot, "s", "2024-04-01")


def coupon(b: LagoBook) -> None:
    c = b.customer("c")
    b.subscription(c, b.plan("pro", 4900), "s", "2024-01-01")
    b.coupon(c, "2024-03-01", percentage_rate=20)


def two_subscriptions(b: LagoBook) -> None:
    c = b.customer("c")
    b.subscription(c, b.plan("pro", 4900), "s10a", "2024-01-01")
    b.subscription(c, b.plan("scale", 9900), "s10b", "2024-02-01", terminated_at="2024-04-10")


def never_started(b: LagoBook) -> None:
    c, pro = b.customer("c"), b.plan("pro", 4900)
    b.subscription(c, pro, "s1", None, status=3, canceled_at="2024-02-01", created_at="2024-01-01")
    b.subscription(
        c, pro, "s2", None, status=0, subscription_at="2099-01-01", created_at="2024-01-01"
    )


def price_in_place(b: LagoBook) -> None:
    """The plan costs 49.00 today; the fees tell that it was 39.00 until April."""
    c, pro = b.customer("c"), b.plan("pro", 4900, updated_at=datetime(2024, 3, 20))  # noqa: DTZ001 - Lago has no zone
    s = b.subscription(c, pro, "s", "2024-01-01")
    for month, price in ((1, 3900), (2, 3900), (3, 3900), (4, 4900)):
        last = {1: 31, 2: 29, 3: 31, 4: 30}[month]
        start, end = f"2024-{month:02}-01T00:00:00Z", f"2024-{month:02}-{last}T23:59:59.999Z"
        b.flat_fee(s, c, start, end, price)


def price_edited_since_the_last_fee(b: LagoBook) -> None:
    """It was raised on 20 March; the fee of March still told the old price."""
    c, pro = b.customer("c"), b.plan("pro", 4900, updated_at=datetime(2024, 3, 20))  # noqa: DTZ001 - Lago has no zone
    s = b.subscription(c, pro, "s", "2024-03-01")
    b.flat_fee(s, c, "2024-03-01T00:00:00Z", "2024-03-31T23:59:59.999Z", 3900)


def partner(b: LagoBook) -> None:
    c = b.customer("c", account_type="partner")
    b.subscription(c, b.plan("pro", 4900), "s", "2024-01-01")


def override(b: LagoBook) -> None:
    """An override is told under the plan it overrides."""
    pro = b.plan("pro", 4900)
    own = b.plan("pro", 4000, parent_id=pro)
    b.subscription(b.customer("c"), own, "s", "2024-01-10")


def planned_end(b: LagoBook) -> None:
    b.subscription(b.customer("c"), b.plan("pro", 4900), "s", "2024-01-10", ending_at="2024-06-10")


EXAMPLES: list[tuple[Callable[[LagoBook], None], Told]] = [
    (new_monthly, [("01-10", "new", 4900)]),
    (annual, [("01-15", "new", 4000)]),
    (upgrade, [("01-01", "new", 4900), ("02-15", "expansion", 5000)]),
    (downgrade, [("01-01", "new", 9900), ("03-01", "contraction", -5000)]),
    (cancel, [("01-05", "new", 4900), ("03-20", "churn", -4900)]),
    (
        subscribe_again,
        [("01-05", "new", 4900), ("03-20", "churn", -4900), ("06-01", "reactivation", 4900)],
    ),
    (trial_paid, [("02-15", "new", 4900)]),
    (trial_lost, []),
    (second_trial_is_none, [("04-01", "new", 4900)]),
    (coupon, [("01-01", "new", 4900), ("03-01", "contraction", -980)]),
    (
        two_subscriptions,
        [("01-01", "new", 4900), ("02-01", "expansion", 9900), ("04-10", "contraction", -9900)],
    ),
    (never_started, []),
    (price_in_place, [("01-01", "new", 3900), ("04-01", "expansion", 1000)]),
    (price_edited_since_the_last_fee, [("03-01", "new", 3900), ("04-01", "expansion", 1000)]),
    (partner, []),
    (override, [("01-10", "new", 4000)]),
    (planned_end, [("01-10", "new", 4900), ("06-10", "churn", -4900)]),
]


@pytest.mark.parametrize(("write", "wanted"), EXAMPLES, ids=[each.__name__ for each, _ in EXAMPLES])
def test_example(lago: LagoBook, write: Callable[[LagoBook], None], wanted: Told) -> None:
    write(lago)
    lago.save()
    with reading(lago.database) as books:
        told: dict[tuple[str, str], int] = {}
        for day, type_, amount in movements(books):
            told[day, type_] = told.get((day, type_), 0) + amount
        assert [(*key, amount) for key, amount in told.items()] == wanted


def test_questions_beside_the_numbers(lago: LagoBook) -> None:
    """Trace, explain, compare and cut; what a movement is due to is a row of Lago."""
    upgrade(lago)
    first = next(row["id"] for table, row in lago.rows if table == "subscriptions")
    lago.save()
    with reading(lago.database) as books:
        assert books.mrr(at="2024-03-01").value == 9900
        life = books.timeline("c")
        assert [each.type for each in life.versions] == ["lago.subscriptions"] * 2
        assert life.versions[0].event_id == str(first)
        assert [each.type for each in life.lives[0].movements][:1] == ["new"]
        explained = books.explain("mrr", at="2024-03-01", customer="c")
        assert explained.result.value == 9900
        by_plan = books.mrr(at="2024-03-01", by=["plan"]).rows
        assert [(row["plan"], row["mrr"]) for row in by_plan] == [("scale", 9900)]
        told = books.compare("mrr", presets=["default", "lago_oss"], at="2024-03-01")
        assert [side.error for side in told.sides] == [None, None]
        assert [each.source for each in books.freshness()] == ["lago"]


def test_what_lago_does_not_know_is_refused(lago: LagoBook) -> None:
    new_monthly(lago)
    lago.save()
    with reading(lago.database) as books:
        with pytest.raises(HistoryNotKept):
            books.mrr(known_at="2024-06-01T00:00:00Z")
        with pytest.raises(HistoryNotKept):
            books.diff("mrr", known_at=["2024-06-01T00:00:00Z"])
        with pytest.raises(HistoryNotKept):
            books.timeline("c", known_at="2024-06-01T00:00:00Z")
        with pytest.raises(KnobNotSupported):
            books.mrr(set={"event_time": "recorded"})
        with pytest.raises(NotInThisMode):
            books.merge_customers("lago:a", "lago:b")
        with pytest.raises(NotInThisMode):
            _ = books.attributes


def test_nothing_is_written(lago: LagoBook) -> None:
    """A role that may only read is enough, and not a row or transaction is left behind."""
    new_monthly(lago)
    coupon(lago)
    lago.save()
    before = rows_of(lago.database)
    with (
        reader_of(lago.database, "lago") as address,
        tidemill.connect(address, base_currency="EUR", connector="lago", as_of=AS_OF) as books,
    ):
        assert books.mrr(at="2024-12-31").value == 4900 + 3920
        books.timeline("c")
        books.compare("mrr", presets=["default", "chartmogul"], at="2024-12-31")
        books.explain("mrr", at="2024-12-31")
        with books.database.connect() as connection:
            assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
    assert rows_of(lago.database) == before


@pytest.mark.parametrize("version", [(1, 10), (1, 20), (1, 27), (1, 33), (1, 45), NEWEST])
def test_versions_of_the_schema(new_database: NewDatabase, version: tuple[int, int]) -> None:
    with new_database(schema=False) as database:
        book = create_lago(database, version)
        upgrade(book)
        coupon(book)
        book.save()
        with reading(database) as books:
            assert books.mrr(at="2024-12-31").value == 9900 + 3920


def test_another_schema_is_refused_with_all_that_is_missing(lago: LagoBook) -> None:
    with lago.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE plans DROP COLUMN amount_cents")
        connection.exec_driver_sql("DROP TABLE coupons")
    with pytest.raises(SchemaNotUnderstood) as refused, reading(lago.database):
        pass
    assert [each.path for each in refused.value.problems] == [
        "public.plans.amount_cents",
        "public.coupons",
    ]


def test_one_organization_of_several(lago: LagoBook) -> None:
    new_monthly(lago)
    lago.save()
    lago.organization = lago.add("organizations", name="Pied Piper")
    annual(lago)
    lago.save()
    with pytest.raises(TenantNotChosen, match="Hooli"), reading(lago.database):
        pass
    with reading(lago.database, source_tenant="Hooli") as books:
        assert books.mrr(at="2024-12-31").value == 4900
    with reading(lago.database, source_tenant=str(lago.organization)) as books:
        assert books.mrr(at="2024-12-31").value == 4000


def test_what_is_not_counted_is_said(lago: LagoBook) -> None:
    new_monthly(lago)
    lago.add("plans", code="card", name="Card", amount_cents=None, interval=None)
    lago.save()
    with reading(lago.database) as books:
        assert "Not counted: 1 plans priced by rate cards." in books.mrr(at="2024-12-31").warnings


def test_the_command_line(lago: LagoBook, tmp_path: Path) -> None:
    """Two variables, and the number is there; what would write is refused."""
    new_monthly(lago)
    lago.save()
    settings = {"TIDEMILL_CONNECTOR": "lago", "TIDEMILL_BASE_CURRENCY": "EUR"}
    prompt = Inside(tmp_path, url_of(lago.database), settings)
    assert "€49.00" in prompt.text("mrr", "--at", "2024-12-31")
    # Without its currency it says which one is meant.
    in_dollars = Inside(tmp_path, url_of(lago.database), {"TIDEMILL_CONNECTOR": "lago"})
    assert "TIDEMILL_BASE_CURRENCY=EUR" in in_dollars.run("mrr", "--at", "2024-12-31").stderr
    refused = prompt.run("migrate")
    assert refused.returncode == 1
    assert "TIDEMILL_SOURCE_URL" in refused.stderr
    no_address = Inside(tmp_path, "", settings).run("mrr")
    assert "TIDEMILL_SOURCE_URL" in no_address.stderr


def test_every_relation_has_its_columns(lago: LagoBook) -> None:
    """A relation that lacks a column fails where a metric wants it, and not before."""
    two_subscriptions(lago)
    lago.save()
    with reading(lago.database) as books, books.database.snapshot() as connection:
        relations = books.engine.provider.relations(base_currency="EUR")
        for name, columns in COLUMNS.items():
            relation = getattr(relations, name)
            assert set(columns) <= set(relation.c.keys()), name
            connection.execute(select(*(relation.c[each] for each in columns))).all()


def test_cash(lago: LagoBook) -> None:
    """Payments by whether they arrived; a refund is a credit note's."""
    c = lago.customer("c")
    invoice = lago.invoice(c, "2024-02-01", 4900)
    for state, amount in (("succeeded", 4900), ("failed", 700), ("pending", 800)):
        lago.add(
            "payments", payable_type="Invoice", payable_id=invoice, amount_cents=amount,
            amount_currency="EUR", payable_payment_status=state, status=state,
            created_at=utc("2024-02-02"),
        )  # fmt: skip
    lago.add(
        "credit_notes", customer_id=c, invoice_id=invoice, status=1, refund_status=1,
        refund_amount_cents=900, total_amount_currency="EUR", refunded_at=utc("2024-02-10"),
    )  # fmt: skip
    lago.save()
    with reading(lago.database) as books, books.database.snapshot() as connection:
        payments = books.engine.provider.relations(base_currency="EUR").payments
        found = connection.execute(select(payments.c.kind, payments.c.amount))
        assert sorted((kind, int(amount)) for kind, amount in found) == [
            ("failed", 700),
            ("refunded", 900),
            ("succeeded", 4900),
        ]
