"""What stands on a day in a billing database is what its movements up to that day sum to.

A question for a day reads only states that hold then; movements are made of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

import tidemill
from tests.conftest import NewDatabase
from tests.integration import test_killbill, test_lago, test_lago_fixed
from tests.support.in_place import url_of
from tests.support.killbill import create_killbill
from tests.support.lago import create_lago
from tests.support.weight import thinned
from tidemill.database import Database

_DAYS = [date(2024, 1, 1) + timedelta(days=11 * number) for number in range(34)]
_POLICIES: tuple[dict[str, str], ...] = (
    {},
    {"churn_recognition": "when_scheduled"},
    {"trials_in_mrr": "include"},
)


def check(database: Database, connector: str, currency: str, policy: dict[str, str]) -> None:
    """Ask for every day, and sum up."""
    as_of = datetime(2025, 1, 31, tzinfo=UTC)
    given = {"base_currency": currency, "connector": connector, "as_of": as_of}
    with tidemill.connect(url_of(database), policy_set=policy, **given) as books:
        rows = books.mrr.movements(start="2020-01-01", end="2024-12-31").rows
        assert len(rows) > len(_DAYS)
        # Each day is a question of its own: a third of them in the default run.
        for day in thinned(_DAYS, 3):
            moved = sum(row["amount"] for row in rows if row["day"] <= day)
            assert (books.mrr(at=day).value or 0) == moved, day


def _killbill(new_database: NewDatabase, policy: dict[str, str]) -> None:
    t = test_killbill
    examples = (
        *(t.new_monthly, t.annual, t.upgrade, t.downgrade, t.cancel, t.again, t.trial),
        *(t.discount, t.override, t.two, t.pause, t.pauses_overlap, t.quantity, t.undone),
        *(t.later, t.replaced, t.expired),
    )
    with new_database(schema=False) as database:
        book = create_killbill(database)
        for write in examples:
            write(book)
        for table, row in book.rows:
            if table == "accounts":
                row["external_key"] = row["id"]
        book.save()
        check(database, "killbill", "USD", policy)


def _lago(new_database: NewDatabase, policy: dict[str, str]) -> None:
    """Also a fixed amount off, which is taken from a subscription that has ended by then."""
    with new_database(schema=False) as database:
        book = create_lago(database)
        for write, _ in (*test_lago.EXAMPLES, *test_lago_fixed.EXAMPLES):
            write(book)
        customer, plan = book.customer("two"), book.plan("pro", 4900)
        book.subscription(customer, plan, "first", "2024-01-05", terminated_at="2024-04-05")
        book.subscription(customer, plan, "second", "2024-02-05")
        book.coupon(customer, "2024-01-01", amount_cents=1000)
        book.save()
        check(database, "lago", "EUR", policy)


@pytest.mark.parametrize("policy", _POLICIES, ids=lambda each: "-".join(each) or "default")
@pytest.mark.parametrize("fill", [_killbill, _lago], ids=["killbill", "lago"])
def test_a_day_is_the_sum_of_its_movements(
    new_database: NewDatabase,
    fill: Callable[[NewDatabase, dict[str, str]], None],
    policy: dict[str, str],
) -> None:
    fill(new_database, policy)
