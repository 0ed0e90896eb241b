"""Taking deliveries in: from the inbox into the log, batch by batch.

A batch is one transaction: it holds the events in the log, what is refused in the quarantine, and
what became of each delivery. Stopping it at any moment loses nothing and doubles nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, select

from tidemill import quarantine
from tidemill.bookkeeping import DEMO, clear, source_kinds
from tidemill.bus import PostgresBus
from tidemill.connectors.stripe.accounts import account_source
from tidemill.connectors.stripe.completing import completed
from tidemill.connectors.stripe.known import (
    GOING_BACK,
    NAMING,
    Known,
    KnownObject,
    Unowned,
    references,
    unowned,
)
from tidemill.connectors.stripe.live import Delivered, Memory, Verdict, decoded, judge
from tidemill.database import Database
from tidemill.inbox import store
from tidemill.intake import Rejected
from tidemill.models import source as source_table
from tidemill.payers import payers
from tidemill.problems import Problem

__all__ = ["ORIGIN", "PATIENCE_S", "Worked", "is_test_mode", "learned", "rejected", "take_in"]

ORIGIN: Final = "webhook:"
"""How the origin of a quarantined delivery begins, before its position."""

PATIENCE_S: Final = 60.0
"""How long a delivery is held whose place among others of its second nothing tells yet."""

_CHARGES: Final = frozenset({"charge.succeeded", "charge.captured"})
_HELD: Final = "nothing tells yet whether it comes before or after others of its second"
_BATCH: Final = 500
_REASON_MAX: Final = 500
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Worked:
    """What became of the deliveries that were taken in."""

    stored: int = 0
    ignored: int = 0
    waiting: int = 0

    def __add__(self, other: Worked) -> Worked:
        """Both together."""
        return Worked(
            self.stored + other.stored, self.ignored + other.ignored, self.waiting + other.waiting
        )

    @property
    def total(self) -> int:
        """All of them."""
        return self.stored + self.ignored + self.waiting


def take_in(
    database: Database, bus: PostgresBus, *, wait: bool = False, patience_s: float = PATIENCE_S
) -> Worked:
    """Take in every delivery that is new, in the order of arrival.

    wait:       also for another process that is at it; without, what it holds is left to it.
    patience_s: how long one is held whose place among others of its second nothing tells yet.
    """
    worked = Worked()
    with database.begin() as connection:
        store.release(connection, patience_s)
    while (batch := _batch(database, bus, patience_s, wait=wait)) is not None:
        worked += batch
    return worked


def _batch(database: Database, bus: PostgresBus, patience_s: float, *, wait: bool) -> Worked | None:
    """Take in the next batch; None when there is none."""
    _make_room(database, bus)
    with database.begin() as connection:
        if not store.lock(connection, wait=wait):
            return None
        rows = store.take(connection, _BATCH, patience_s)
        if not rows:
            return None
        source = rows[0].source
        memory = _remembered(connection, source, rows)
        deliveries = [
            Delivered(row.position, row.account, row.body, row.read, overdue=row.overdue)
            for row in rows
        ]
        test_mode = is_test_mode(connection, source)
        verdicts = judge(deliveries, memory, source=source, test_mode=test_mode)
        return _settle(connection, bus, rows, verdicts, memory.known)


def is_test_mode(connection: Connection, source: str) -> bool:
    """Whether the vendor's test mode is the books of a source."""
    wanted = select(source_table.c.test_mode).where(source_table.c.name == source)
    return bool(connection.execute(wanted).scalar())


def _make_room(database: Database, bus: PostgresBus) -> None:
    """Remove the demo business before the first delivery, so that no number mixes both."""
    with database.connect() as connection:
        stands_in = DEMO in source_kinds(connection).values()
        waits = stands_in and bool(store.take(connection, 1))
    if waits:
        clear(database, bus)


# --- what is remembered ---------------------------------------------------------------------------


def _remembered(connection: Connection, source: str, rows: Sequence[Row[Any]]) -> Memory:
    """What the inbox knows that bears on these deliveries."""
    memory = Memory()
    raws = [(row, decoded(row.body), decoded(row.read) if row.read else None) for row in rows]
    named = {
        (row.account, kind, key)
        for row, raw, read in raws
        for kind, key in references([_object(raw), _object_read(read)])
    }
    # What an event teaches may be known better already: with tiers, or newer.
    named |= {
        (row.account, kind, row.object)
        for row in rows
        if row.object and (kind := Known.kind_of(row.type)) is not None
    }
    for found in store.objects(connection, source, named):
        memory.known[found.account].take(_known(found))
    # What is named by what is known: the coupon of a discount.
    for account, known in list(memory.known.items()):
        further = references(list(known.discounts.values()))
        wanted = {(account, kind, key) for kind, key in further} - named
        for found in store.objects(connection, source, wanted):
            known.take(_known(found))
    lost: dict[str, set[Unowned]] = defaultdict(set)
    for row, raw, _ in raws:
        if isinstance(raw, Mapping) and (money := unowned(raw)) is not None:
            lost[row.account].add(money)
    for account, going_back in lost.items():
        _remember_payers(connection, source, account, going_back, memory.known[account])
    abouts = {(row.account, row.object, row.created) for row in rows if row.object}
    for other in store.neighbours(connection, source, abouts):
        about = (other.account, other.object, other.created)
        memory.placed[about].append((_raw_of(other), other.step))
    firsts: dict[tuple[str, str], int] = {}
    for account, key, created in abouts:
        firsts[account, key] = min(created, firsts.get((account, key), created))
    for state in store.states_of(connection, source, firsts):
        key = (state.account, state.object)
        if state.over is not None:
            memory.over[key] = state.over
        memory.alive[key].update(state.alive or ())
    return memory


def _remember_payers(
    connection: Connection, source: str, account: str, lost: Collection[Unowned], known: Known
) -> None:
    """Whose money refunds and disputes are about: as the books have it, or a charge's delivery."""
    paid = {each.reference for each in lost}
    known.payers.update(payers(connection, account_source(source, account), paid))
    for body in store.charges(connection, source, account, {each.charge for each in lost}):
        known.add(decoded(body))


def _known(row: Row[Any]) -> KnownObject:
    return KnownObject(row.kind, row.external_id, row.seen, decoded(row.body))


def _raw_of(row: Row[Any]) -> Mapping[str, Any]:
    raw = decoded(row.body)
    return completed(raw, decoded(row.read)) if row.read else raw


def _object(raw: object) -> object:
    data = raw.get("data") if isinstance(raw, Mapping) else None
    return data.get("object") if isinstance(data, Mapping) else None


def _object_read(reading: object) -> object:
    return reading.get("object") if isinstance(reading, Mapping) else None


# --- what became of them --------------------------------------------------------------------------


def _settle(
    connection: Connection,
    bus: PostgresBus,
    rows: Sequence[Row[Any]],
    verdicts: Sequence[Verdict],
    known: Mapping[str, Known],
) -> Worked:
    """Write down a batch: events, refusals, what was learned, what became of each delivery."""
    source = rows[0].source
    events = [event for each in verdicts for event in each.events]
    appended = bus.append(events, source_kind="stripe", connection=connection)
    refused = [
        quarantine.rejected_event(f"event:{each.event.id}", each.event, each.problem)
        for each in appended.refused
    ]
    pairs = list(zip(rows, verdicts, strict=True))
    waiting = [rejected(row, each.problems) for row, each in pairs if each.problems]
    quarantine.keep(connection, [*refused, *waiting])
    solved = [rejected(row) for row, each in pairs if row.tried_at and not each.problems]
    quarantine.settle(connection, solved)
    store.note(connection, [_noted(row, each) for row, each in pairs])
    learned(connection, source, known)
    teaching = {row.account for row in rows if row.tried_at is None and Known.teaches(row.type)}
    if teaching:
        store.awaken(connection, source, teaching)
    showing = {account for account, each in known.items() if each.gained} - teaching
    if showing:
        store.awaken(connection, source, showing, NAMING)
    paying = {row.account for row in rows if row.tried_at is None and row.type in _CHARGES}
    if paying:
        store.awaken(connection, source, paying, GOING_BACK)
    return Worked(
        stored=sum(bool(each.events) for each in verdicts),
        ignored=sum(each.ignored is not None for each in verdicts),
        waiting=len(waiting),
    )


def learned(connection: Connection, source: str, known: Mapping[str, Known]) -> None:
    """Keep what was learned of prices, coupons and discounts, by account."""
    found = {
        account: [(one, _ENCODER.encode(one.body)) for one in each.fresh()]
        for account, each in known.items()
    }
    store.keep_objects(connection, source, found)


def _noted(row: Row[Any], verdict: Verdict) -> store.Note:
    if verdict.problems:
        reason = " ".join(str(each) for each in verdict.problems)
        return store.Note(row.position, "waiting", _short(reason))
    if verdict.held:
        return store.Note(row.position, "held", _HELD)
    if verdict.ignored is not None:
        return store.Note(row.position, "ignored", verdict.ignored)
    return store.Note(
        row.position,
        "stored",
        step=verdict.step,
        doubtful=verdict.doubtful,
        final=verdict.final,
    )


def _short(reason: str) -> str:
    text = reason[:_REASON_MAX].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text.encode(errors="replace").decode()


def rejected(row: Row[Any], problems: tuple[Problem, ...] = ()) -> Rejected:
    """A delivery as it stands in the quarantine."""
    body = row.body.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    origin = f"{ORIGIN}{row.position}"
    return Rejected(origin, row.source, "stripe-events", body, problems)
