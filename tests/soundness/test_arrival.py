"""Order, repetition and identity, as they must show in MRR: arrival changes nothing.

The same traps in the core tables are in `test_ordering.py`.
"""

from __future__ import annotations

import pytest

from tests.support.telling import Told, described, invoiced, item, orders, paid, subscribed
from tidemill.bookkeeping import FACTS, settle
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import Event
from tidemill.ingest import ingest
from tidemill.policy import Policy
from tidemill.rebuilding import rebuild, rebuild_facts
from tidemill.state import Books

Moves = list[tuple[str, str, int]]

METERED = item(0, usage_type="metered", plan="calls")


def test_t01_change_before_creation(told: Told) -> None:
    """A change to 15000 arrives before the creation at 10000: 15000, level and movements."""
    told.hear(subscribed("ann", "2025-02-10", 15_000), subscribed("ann", "2025-01-10", 10_000))
    assert told.mrr("2025-02-28") == 15_000
    assert told.moved() == [("2025-01-10", "new", 10_000), ("2025-02-10", "expansion", 5_000)]


@pytest.mark.parametrize("again", ["the same", "another of the same instant"])
def test_t02_churn_before_activation_is_final(told: Told, again: str) -> None:
    """Churn arrives first, or an old activation once more after it: canceled, and 0."""
    active = subscribed("ann", "2025-01-10", type="subscription.activated")
    churned = subscribed("ann", "2025-03-10", status="canceled", type="subscription.churned")
    copy = subscribed("ann", "2025-01-10", as_="copy", type="subscription.activated")
    for order in orders([active, churned]):
        told = told.afresh()
        told.hear(*order, active if again == "the same" else copy)
        assert told.moved() == [("2025-01-10", "new", 10_000), ("2025-03-10", "churn", -10_000)]
        assert (told.mrr("2025-12-31"), told.customers("2025-12-31")) == (0, 0)


@pytest.mark.parametrize("usage", ["last_invoice", "trailing:3"])
def test_t03_usage_invoice_twice_counts_once(told: Told, usage: str) -> None:
    """The same usage invoice again: the same event, and another event with the same invoice."""
    first = invoiced("ann", "2025-02-01", 2_500, status="open")
    told.hear(subscribed("ann", "2025-01-10", items=[item(10_000), METERED | {"id": "si_2"}]))
    told.hear(first, first, invoiced("ann", "2025-02-01", 2_500, as_="paid"), first)
    assert told.mrr("2025-02-28", usage=usage) == 12_500
    assert told.moved(usage=usage) == [
        ("2025-01-10", "new", 10_000),
        ("2025-02-01", "expansion", 2_500),
    ]
    assert told.mrr("2025-02-28") == 10_000


def test_t04_subscription_before_its_customer(told: Told) -> None:
    """A subscription event before its customer's: counted at once, named later."""

    def named() -> list[tuple[str, str, int]]:
        rows = told.ask("mrr", "current", "customer_name", "country", at="2025-01-31").rows
        return [(row["customer_name"], row["country"], int(row["mrr"])) for row in rows]

    assert told.hear(subscribed("ann", "2025-01-10")).quarantined == 0
    assert named() == [("unknown", "unknown", 10_000)]
    told.hear(described("ann", "2025-01-05", name="Ann", country="de"))
    assert named() == [("Ann", "DE", 10_000)]
    assert told.customers("2025-01-31") == 1


@pytest.mark.parametrize("trouble", ["past_due", "unpaid"])
def test_t16_every_recovery_restores(told: Told, trouble: str) -> None:
    """Paid after all, twice: restored twice, in the level and in the movements."""
    states = ["active", trouble, "active", trouble, "active"]
    told.hear(
        *(
            subscribed("ann", f"2025-0{month}-10", status=status, type="subscription.recovered")
            for month, status in enumerate(states, 1)
        )
    )
    levels = [told.mrr(f"2025-0{month}-28", past_due="exclude") for month in range(1, 6)]
    assert levels == [10_000, 0, 10_000, 0, 10_000]
    kinds = [kind for _, kind, _ in told.moved(past_due="exclude")]
    assert kinds == ["new", "churn", "reactivation", "churn", "reactivation"]
    # By default past due counts until it is over, and unpaid never does.
    assert told.mrr("2025-02-28") == (10_000 if trouble == "past_due" else 0)
    assert told.mrr("2025-05-31") == 10_000


def test_t17_two_changes_in_one_second_are_two_movements(told: Told) -> None:
    """Two changes of one subscription within a second, in any order of arrival."""
    changes = [
        subscribed("ann", "2025-01-10T12:00:00Z", 10_000),
        subscribed("ann", "2025-02-10T12:00:00Z", 20_000, sequence=1),
        subscribed("ann", "2025-02-10T12:00:00.4Z", 50_000, sequence=2),
    ]
    for order in orders(changes):
        told = told.afresh()
        told.hear(*order)
        assert told.moved() == [("2025-01-10", "new", 10_000), ("2025-02-10", "expansion", 40_000)]
        each = told.ask("mrr", "movements", start="2025-02-01", end="2025-02-28", netting="none")
        assert [int(row["amount"]) for row in each.rows] == [10_000, 30_000]
        assert len({row["event_id"] for row in each.rows}) == 2


@pytest.mark.parametrize(
    ("status", "level"),
    [("incomplete", 0), ("past_due", 10_000), ("unpaid", 0), ("trialing", 0), ("active", 10_000)],
)
def test_t18_created_in_any_status(told: Told, status: str, level: int) -> None:
    """A subscription may begin in any status, and is then worth what that status is worth."""
    done = told.hear(subscribed("ann", "2025-01-10", status=status, type="subscription.created"))
    assert (done.applied, done.quarantined) == (1, 0)
    assert told.mrr("2025-01-31") == level
    told.hear(subscribed("ann", "2025-02-10", status="active", type="subscription.activated"))
    assert told.mrr("2025-02-28") == 10_000
    assert [kind for _, kind, _ in told.moved()] == ["new"]


def test_t33_usage_invoice_before_its_subscription(told: Told) -> None:
    """A usage invoice that is processed before its subscription is not lost."""
    events = [
        subscribed("ann", "2025-01-10", items=[METERED]),
        invoiced("ann", "2025-02-01", 2_500),
        invoiced("ann", "2025-03-01", 4_000, subscription=None, lines=[
            {"id": "il_1", "kind": "usage", "amount": 4_000, "subscription": "sub_ann"}
        ]),
    ]  # fmt: skip
    for order in orders(events):
        told = told.afresh()
        told.hear(*order)
        assert told.moved(usage="last_invoice") == [
            ("2025-02-01", "new", 2_500),
            ("2025-03-01", "expansion", 1_500),
        ]
        assert told.moved() == []


@pytest.mark.parametrize("ids", ["ab", "ba"])
def test_t34_terminal_state_is_the_last_of_a_burst(told: Told, ids: str) -> None:
    """A burst with equal timestamps ends canceled, whatever its order and the order of its ids."""
    burst = [
        subscribed("ann", "2025-01-10", status="incomplete", sequence=-1),
        subscribed("ann", "2025-01-10", 20_000, as_=ids[0]),
        subscribed("ann", "2025-01-10", 20_000, "canceled", as_=ids[1]),
    ]
    for order in orders(burst):
        told = told.afresh()
        told.hear(*order)
        assert told.mrr("2025-12-31") == 0
        assert told.moved() == []


def test_t35_same_kind_of_change_twice_is_two_movements(told: Told) -> None:
    """The second price rise reaches the books, although type and subscription are the first's."""
    told.hear(*(subscribed("ann", f"2025-0{month}-10", 10_000 * month) for month in (1, 2, 3)))
    assert told.moved() == [
        ("2025-01-10", "new", 10_000),
        ("2025-02-10", "expansion", 10_000),
        ("2025-03-10", "expansion", 10_000),
    ]


def test_t36_movements_are_dated_to_the_change(told: Told) -> None:
    """The price of an item created in January is raised in April and in June."""
    since = {"started_at": "2025-01-10T12:00:00Z"}
    told.hear(
        subscribed("ann", "2025-06-20", 15_000, **since),
        subscribed("ann", "2025-01-10", 10_000, **since),
        subscribed("ann", "2025-04-20", 12_000, **since),
    )
    assert told.moved() == [
        ("2025-01-10", "new", 10_000),
        ("2025-04-20", "expansion", 2_000),
        ("2025-06-20", "expansion", 3_000),
    ]


def test_t38_facts_added_later_begin_at_the_beginning(store: Database) -> None:
    """A metric whose facts nobody kept so far knows the whole history when it is added."""
    bus, without = PostgresBus(store), Books(base_currency="USD")
    ingest(store, bus, [subscribed("ann", "2025-01-10")], without)
    settle(store, bus, without)
    rebuild_facts(store, bus, Books(FACTS, Policy.of(), "USD"))
    told = Told(store)
    assert told.moved() == [("2025-01-10", "new", 10_000)]
    told.hear(subscribed("ann", "2025-02-10", 15_000))
    assert told.mrr("2025-02-28") == 15_000


def test_t39_deleted_customer_keeps_history(told: Told) -> None:
    """A deletion is accepted; what was paid before stays, and so does who paid it."""
    events = [
        described("ann", "2025-01-05", name="Ann"),
        subscribed("ann", "2025-01-10"),
        described("ann", "2025-03-01", type="customer.deleted"),
    ]
    for order in orders(events):
        told = told.afresh()
        told.hear(*order)
        flow = told.waterfall("2025-01-01", "2025-03-31", "customer_name").rows
        assert [(row["customer_name"], row["closing"]) for row in flow] == [("Ann", 10_000)] * 3


def test_t42_rebuilding_gives_the_same_answers(told: Told) -> None:
    """The log has a tie-break: a rebuild from it answers as the live tables did."""
    tied: list[Event] = [
        subscribed("ann", "2025-02-10", amount, as_=str(amount)) for amount in (300, 100, 200)
    ]
    told.hear(subscribed("ann", "2025-01-10"), *tied, invoiced("ann", "2025-02-01", 50))
    told.hear(subscribed("bob", "2025-02-10"), paid("ann", "2025-02-02", 50, "in_2025-02-01"))
    questions = {"start": "2025-01-01", "end": "2025-12-31"}
    before = told.ask("mrr", "movements", **questions).rows
    assert len(before) == 3
    rebuild(told.database, told.bus, told.books)
    assert told.ask("mrr", "movements", **questions).rows == before
    assert told.mrr("2025-12-31") == sum(row["amount"] for row in before)
