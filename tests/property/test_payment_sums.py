"""Sums of payments that are kept while events arrive are those of all payments at once.

Payments fail, are tried again, refunded and corrected; what they are for is said by themselves, by
others of their reference, or by allocations, in any order, late, again, and by other customers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Boolean, Text, column, func, select, table

from tests.conftest import NewDatabase
from tests.contract.bus_contract import strangers
from tests.support.kept import BASE, differences, keep
from tests.support.weight import examples
from tidemill.bookkeeping import FACTS
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import Event, parse_event
from tidemill.models import metric_failure_daily
from tidemill.policy import Policy
from tidemill.rebuilding import rebuild
from tidemill.state import Books, apply
from tidemill.worker import CONSUMER

LOCKS: Final = table("pg_locks", column("locktype", Text), column("granted", Boolean))
POLICIES: Final = (
    "default",
    "default;tz=Asia/Kathmandu;identity=per_source",
    # Under which payments are told before movements are derived.
    "default;activation=partly_paid;refunds=as_if_unpaid",
)
# One name is of an invoice, a reference and a payment.
_INVOICES: Final = st.sampled_from(("in_1", "in_2", "a"))
_REFERENCES: Final = st.sampled_from(("r_1", "r_2", "a"))
# What happens in one has nothing to do with the others: as good as so many examples.
_SOURCES: Final = st.sampled_from([f"s{number}" for number in range(8)])
_DAYS: Final = st.integers(1, 28).map("2025-03-{:02}T20:00:00Z".format)

payments = st.fixed_dictionaries(
    {
        "source": _SOURCES,
        "type": st.sampled_from(("failed", "failed", "succeeded", "refunded")),
        "customer": st.sampled_from(("cus_1", "cus_2")),
        "occurred_at": _DAYS,
        "livemode": st.sampled_from((True, True, True, True, False)),
        "data": st.fixed_dictionaries(
            {
                "id": st.sampled_from(("p_1", "p_2", "p_3", "a")),
                "amount": st.sampled_from((5, 100)),
                "currency": st.sampled_from(("USD", "JPY")),
                "attempt": st.sampled_from((1, 2)),
            },
            optional={"invoice": _INVOICES, "reference": _REFERENCES},
        ),
    }
)
allocations = st.fixed_dictionaries(
    {
        "source": _SOURCES,
        "type": st.just("allocation.recorded"),
        "customer": st.just(""),
        "occurred_at": _DAYS,
        "data": st.fixed_dictionaries(
            {
                "id": st.sampled_from(("al_1", "al_2")),
                "reference": _REFERENCES,
                "invoice": _INVOICES,
            }
        ),
    }
)


def _event(number: int, told: dict[str, Any]) -> Event:
    kind = told["type"] if "." in told["type"] else f"payment.{told['type']}"
    instants = {"recorded_at": "2025-04-01T00:00:00Z", "sequence": number % 3}
    return parse_event({**told, **instants, "type": kind})


@settings(
    max_examples=examples(3),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    told=st.lists(st.one_of(payments, payments, allocations), min_size=40, max_size=120),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    text=st.sampled_from(POLICIES),
)
def test_kept_sums_are_those_of_all_payments(
    new_database: NewDatabase, told: list[dict[str, Any]], sizes: list[int], text: str
) -> None:
    policy = Policy.parse(text)
    with new_database() as database:
        keep(database, [_event(*each) for each in enumerate(told)], policy, sizes)
        assert differences(database, policy) == []
        rebuilt = rebuild(database, PostgresBus(database), Books(FACTS, policy, BASE))
        assert not any(rebuilt.differed.values())


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_what_failed_is_recovered_by_whatever_comes_last(
    database: Database, order: tuple[int, ...]
) -> None:
    """A failure, a payment, and what says that both are of one invoice, in batches of one event."""
    money = {"amount": 5, "currency": "USD"}
    failed = {"id": "p_1", "invoice": "in_1", **money}
    paid = {"id": "p_2", "reference": "r_1", **money}
    names = {"id": "al_1", "reference": "r_1", "invoice": "in_1"}
    told = [
        {"type": "failed", "customer": "cus_1", "occurred_at": "2025-03-01T00:00:00Z"},
        {"type": "succeeded", "customer": "cus_2", "occurred_at": "2025-03-05T00:00:00Z"},
        {"type": "allocation.recorded", "customer": "", "occurred_at": "2025-03-02T00:00:00Z"},
    ]
    events = [
        _event(number, {"source": "s", **each, "data": data})
        for number, (each, data) in enumerate(zip(told, (failed, paid, names), strict=True))
    ]
    for place in order:
        assert ("recovered", 1) not in _counted(database)
        keep(database, [events[place]], Policy.of(), [1])
    once = [("failed", 1), ("failure", 1), ("followed", 1), ("recovered", 1)]
    assert _counted(database) == once


def _counted(database: Database) -> list[tuple[str, int]]:
    kept = metric_failure_daily
    with database.connect() as connection:
        rows = connection.execute(select(kept.c.kind, kept.c.row_count))
        return sorted((kind, count) for kind, count in rows)


def test_two_workers_tell_of_one_invoice_one_after_the_other(database: Database) -> None:
    """Its payments travel in different partitions; neither worker sees what the other writes."""
    one, other = strangers(2)
    bus, books = PostgresBus(database), Books(FACTS, Policy.of(), BASE)
    money = {"amount": 5, "currency": "USD", "invoice": "in_1"}
    told = {"source": "stripe", "livemode": True}
    failed = {"customer": one, "type": "failed", "occurred_at": "2025-03-01T00:00:00Z"}
    paid = {"customer": other, "type": "succeeded", "occurred_at": "2025-03-05T00:00:00Z"}
    earlier = {**paid, "data": {"id": "p_0", "amount": 5, "currency": "USD"}}
    # Whoever is the first of all waits for other reasons.
    keep(database, [_event(0, {**told, **earlier})], Policy.of(), [1])
    waiting = select(func.count()).where(LOCKS.c.locktype == "advisory", ~LOCKS.c.granted)

    def work() -> None:
        with bus.claim(CONSUMER, 10) as delivery:
            assert delivery is not None
            apply(delivery.connection, delivery.rows, books)

    with ThreadPoolExecutor(1) as pool, database.connect() as watching:
        bus.append([_event(1, {**told, **failed, "data": {"id": "p_1", **money}})])
        with bus.claim(CONSUMER, 10, partitions=1) as delivery:
            assert delivery is not None
            apply(delivery.connection, delivery.rows, books)
            bus.append([_event(2, {**told, **paid, "data": {"id": "p_2", **money}})])
            second = pool.submit(work)
            while not (watching.execute(waiting).scalar_one() or second.done()):
                watching.rollback()
            assert not second.done(), "the other worker did not wait"
        second.result(timeout=30)
    assert differences(database, Policy.of()) == []
    assert ("recovered", 1) in _counted(database)
