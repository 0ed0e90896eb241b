"""Facts that are kept in deliveries of any size, and held against a derivation of everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Select, Table, select

from tidemill.bookkeeping import FACTS
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import Event
from tidemill.ledger import derive
from tidemill.models import metric_mrr_movement
from tidemill.policy import Policy
from tidemill.relations import core_relations
from tidemill.state import Books, apply
from tidemill.state.rollups import sums_of
from tidemill.worker import CONSUMER

__all__ = ["BASE", "differences", "keep"]

BASE: Final = "USD"


def keep(database: Database, events: list[Event], policy: Policy, sizes: Iterable[int]) -> None:
    """Append the events and apply them in deliveries of the given sizes, the last one repeated."""
    bus = PostgresBus(database)
    bus.append(events)
    rest = iter(sizes)
    size = next(rest)
    while True:
        with bus.claim(CONSUMER, size) as delivery:
            if delivery is None:
                return
            done = apply(delivery.connection, delivery.rows, Books(FACTS, policy, BASE))
            assert not done.quarantined
        size = next(rest, size)


def differences(
    database: Database, policy: Policy, derivation: Callable[..., Select[Any]] = derive
) -> list[str]:
    """Where the kept facts are not what the derivation of everything says, column by column.

    And where their roll-ups are not the sums of them.
    """
    query, sums = _wanted(policy, derivation)
    names = [column.name for column in metric_mrr_movement.columns]
    with database.connect() as connection:
        kept = Counter(map(tuple, connection.execute(select(metric_mrr_movement))))
        wanted = Counter(
            tuple(getattr(row, name) for name in names) for row in connection.execute(query)
        )
        wrong_sums = [
            f"{said} {tuple(row)} in {rollup.name}"
            for rollup, fresh in sums.items()
            for said, one, other in (
                ("extra", select(rollup), fresh),
                ("missing", fresh, select(rollup)),
            )
            for row in connection.execute(one.except_all(other))
        ]
    return wrong_sums + [
        f"{said} {dict(zip(names, row, strict=True))}"
        for said, rows in (("extra", kept - wanted), ("missing", wanted - kept))
        for row in rows.elements()
    ]


@lru_cache(maxsize=32)
def _wanted(
    policy: Policy, derivation: Callable[..., Select[Any]]
) -> tuple[Select[Any], dict[Table, Select[Any]]]:
    """What the movements must be, and each table of sums; building it takes longer than asking."""
    relations = core_relations(base_currency=BASE)
    sums: dict[Table, Select[Any]] = {
        rollup.table: sums_of(rollup, fact.table) for fact in FACTS for rollup in fact.rollups
    }
    sums |= {fact.table: fact.derive(relations, policy) for fact in FACTS if fact.of_payments}
    return derivation(relations, policy), sums
