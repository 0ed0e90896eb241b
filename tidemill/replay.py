"""Doing it again from the quarantine, with the outcome it would have had the first time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Table, select

from tidemill import models, quarantine, worker
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import Event
from tidemill.intake import Ignored, Rejected
from tidemill.quarantine import Quarantined
from tidemill.state import LOGGED, Books, apply

__all__ = ["MADE", "Parse", "Replayed", "replay"]

MADE: Final[tuple[Table, ...]] = (
    models.customer,
    models.customer_attribute,
    models.attribute,
    models.attribute_pin,
    models.customer_merge,
    models.product,
    models.plan,
    models.subscription,
    models.subscription_version,
    models.version_item,
    models.version_discount,
    models.schedule_version,
    models.planned_phase,
    models.invoice_version,
    models.invoice_line,
    models.payment,
    models.allocation,
    models.expense,
    models.fx_rate,
)
"""Everything that is made from the log alone, except for the facts."""

Parse = Callable[[Quarantined], Iterable[Event | Rejected | Ignored]]
"""Reads the body of something quarantined again, by its `kind`."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of quarantined input: now in the books, and still refused."""

    replayed: int = 0
    refused: int = 0


def replay(
    database: Database,
    bus: PostgresBus,
    books: Books,
    parse: Parse,
    *,
    ids: Sequence[int] | None = None,
) -> Replayed:
    """Try quarantined input again: `ids`, or everything that waits.

    The outcome is what it would have been had the input been good from the start: an event that is
    in the log already is applied at its own position, any other is appended to it. Each piece is
    tried in a transaction of its own, that also marks it as replayed or renews its problems.

    Raises:
        UnknownQuarantined: one of `ids` does not exist.
    """
    # Keys go by the first mention, so what came before must be in the tables first.
    worker.drain(bus, books)
    with database.begin() as connection:
        found = quarantine.listed(connection) if ids is None else quarantine.find(connection, ids)
    outcome = Replayed()
    for item in found:
        good = _again(database, bus, books, parse, item)
        outcome = Replayed(outcome.replayed + good, outcome.refused + (not good))
    worker.drain(bus, books)
    return outcome


def _again(
    database: Database, bus: PostgresBus, books: Books, parse: Parse, item: Quarantined
) -> bool:
    """Try one piece of quarantined input again; whether it is in the books now, or in the log."""
    read = list(parse(item))
    rejected = [each for each in read if isinstance(each, Rejected)]
    with database.begin() as connection:
        if not rejected:
            events = [each for each in read if isinstance(each, Event)]
            appended = bus.append(events, connection=connection)
            rejected = [
                quarantine.rejected_event(item.origin, each.event, each.problem)
                for each in appended.refused
            ]
        quarantine.keep(connection, rejected)
        good = not rejected
        if good and item.origin.startswith(LOGGED):
            bus.hold(connection, worker.CONSUMER)
            log = models.event_log
            position = int(item.origin.removeprefix(LOGGED))
            row = select(log).where(log.c.position == position).subquery()
            good = apply(connection, row, books).quarantined == 0
        if good:
            quarantine.mark_replayed(connection, [item.id])
    return good
