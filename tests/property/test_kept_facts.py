"""Facts that are kept while events arrive equal the ledger derived from all of them at once.

For every preset and for policies that look at everything there is to look at; for any batch sizes
and any order of arrival; for histories that customers share in every way they can; and through a
change of the policy.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import NewDatabase
from tests.support.books import Size, books, random_book
from tests.support.kept import BASE, differences, keep
from tests.support.weight import everything, examples, first
from tidemill.bookkeeping import FACTS, settle
from tidemill.bus import PostgresBus
from tidemill.engine.side_by_side import derive_side_by_side
from tidemill.events import Event, parse_event
from tidemill.policy import Policy
from tidemill.presets import PRESETS
from tidemill.rebuilding import rebuild
from tidemill.state import Books

# Knobs under which facts rest on more than subscriptions: payments, refunds, usage, rates, clocks.
DEMANDING: Final = (
    "default;activation=partly_paid;refunds=as_if_unpaid",
    "default;activation=invoice_issued;usage=trailing:2;movement_level=subscription",
    "default;fx=at_renewal;annual_refund_churns=yes;churn_recognition=at_period_end",
    "default;fx=at_movement;netting=month;identity=per_source",
    "default;netting=window:90;free_plans=after_paid;event_time=recorded",
    "default;late_events=book_when_received;join_churn_same_month=ignore;tz=Asia/Kathmandu",
)
POLICIES: Final = (*PRESETS, *DEMANDING)

# Each is a delivery of its own.
LATE: Final = 15 if everything() else 6

_FEW = settings(
    max_examples=examples(3),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def entangled(
    book: Iterable[dict[str, Any]], chance: random.Random, moving: float
) -> Iterator[dict[str, Any]]:
    """The book with histories that customers share.

    Subscriptions move from one customer to another and back, somebody else pays or is billed (a
    share `moving` of the events), and merges are corrected and taken back.
    """
    events = list(book)
    owners = sorted({(each["source"], each["customer"]) for each in events if each["customer"]})
    for each in events:
        others = [name for source, name in owners if source == each["source"]]
        moves = chance.random() < moving and not each["type"].startswith("customer.")
        if each["customer"] and moves:
            yield each | {"customer": chance.choice(others)}
        else:
            yield each
    for source, name in owners:
        for day in range(1, 1 + chance.choice((0, 0, 1, 2, 3))):
            other_source, other = chance.choice(owners)
            into = {"source": other_source, "customer": other}
            undone = (other_source, other) == (source, name) or chance.random() < 0.4
            yield {
                "source": source,
                "type": "customer.merged",
                "occurred_at": f"2025-09-0{day}T00:00:00Z",
                "recorded_at": "2025-09-09T00:00:00Z",
                "customer": name,
                "data": {"id": name, "into": None if undone else into},
            }


def events_of(book: Iterable[dict[str, Any]], seed: int, moving: float) -> list[Event]:
    """The entangled book in an order that has nothing to do with time."""
    chance = random.Random(seed)
    told = entangled(book, chance, moving)
    events = [
        parse_event({key: value for key, value in each.items() if value is not None})
        for each in told
    ]
    chance.shuffle(events)
    return events


# Where much moves, everybody is derived with everybody, and what a merge forgets does not show.
_HALF = tuple(zip(POLICIES, cycle((0.1, 0)), strict=False))
_OTHER_HALF = tuple(zip(POLICIES, cycle((0, 0.1)), strict=False))


@pytest.mark.parametrize(("text", "moving"), first(len(_HALF), (*_HALF, *_OTHER_HALF)))
def test_facts_of_every_policy_are_what_it_derives(
    new_database: NewDatabase, text: str, moving: float
) -> None:
    policy = Policy.parse(text)
    events = events_of(random_book(110, customers=6), 110, moving)
    # One by one at the end, when nothing else touches the customers that they leave behind.
    late = [each for each in events if each.type in ("customer.merged", "payment.refunded")][-LATE:]
    with new_database() as database:
        keep(database, [each for each in events if each not in late], policy, [7, 40, 1, 25])
        assert differences(database, policy) == []
        keep(database, late, policy, [1])
        assert differences(database, policy) == []
        assert differences(database, policy, derive_side_by_side) == []


@_FEW
@given(
    book=books(Size(customers_max=4)),
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    moving=st.sampled_from([0, 0.1]),
    texts=st.tuples(st.sampled_from(POLICIES), st.sampled_from(POLICIES)),
)
def test_facts_follow_the_policy_in_force(
    new_database: NewDatabase,
    book: list[dict[str, Any]],
    seed: int,
    sizes: list[int],
    moving: float,
    texts: tuple[str, str],
) -> None:
    """Also what a process applies that was configured before the policy became another."""
    before, after = map(Policy.parse, texts)
    events = events_of(book, seed, moving)
    cut = random.Random(seed).randint(0, len(events))
    with new_database() as database:
        bus = PostgresBus(database)
        keep(database, events[:cut], before, sizes)
        assert differences(database, before) == []
        settle(database, bus, Books(FACTS, after, BASE))
        assert differences(database, after) == []
        keep(database, events[cut:], before, sizes)
        assert differences(database, after) == []
        assert differences(database, after, derive_side_by_side) == []
        rebuild(database, bus, Books(FACTS, before, BASE))
        assert differences(database, before) == []
