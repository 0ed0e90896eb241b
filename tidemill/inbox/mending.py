"""Asking the vendor's API about deliveries that leave something open.

Done between batches and outside of transactions: a vendor that answers slowly holds up nobody. What
is read is kept with the delivery, which is then taken in like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, Select, select, update

from tidemill import quarantine
from tidemill.connectors.stripe.completing import Reader, wanted
from tidemill.connectors.stripe.envelope import Envelope, is_thin
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.live import REREAD, decoded, worth
from tidemill.database import Database
from tidemill.errors import Permanent, TidemillError
from tidemill.inbox import store
from tidemill.inbox.unsettled import doubtful
from tidemill.inbox.work import learned, rejected
from tidemill.models import delivery

__all__ = ["Readers", "mend"]

Readers = Callable[[str, str], Reader | None]
"""Who reads for a source and a connected account; None where no key is configured."""

_AT_ONCE: Final = 100
_TOLD_LATER: Final = "told by a later thin event of the same object"
_ENCODER: Final = msgspec.json.Encoder()


def mend(database: Database, readers: Readers, *, now: int) -> int:
    """Read what waiting deliveries lack, and objects whose last change is in doubt; how many.

    now: Unix seconds.
    Raises: what the readers do. What was read before that is kept; what can never be read is noted
        and not asked for again until somebody wants everything tried again.
    """
    with database.begin() as connection:
        waiting = _without_overtaken(connection, list(connection.execute(_waiting())))
        doubts = list(connection.execute(doubtful().limit(_AT_ONCE)))
    mended, refused = 0, None
    for row in [*waiting, *doubts]:
        reader = readers(row.source, row.account)
        if reader is None:
            continue
        settle = _settle_doubt if row.doubtful else _read_for
        try:
            settle(database, row, reader, now)
            mended += 1
        except TidemillError as error:
            if not isinstance(error, Permanent):
                raise
            refused = refused or error
            with database.begin() as connection:
                store.keep_reading(connection, row.position, None, again=False)
    if refused is not None:
        raise refused
    return mended


def _waiting() -> Select[Any]:
    """Deliveries that wait and for which the API was not asked yet."""
    query = select(delivery).where(delivery.c.state == "waiting", delivery.c.read_at.is_(None))
    return query.order_by(delivery.c.position).limit(_AT_ONCE)


def _without_overtaken(connection: Connection, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """The deliveries without thin events that a later one of their object makes needless.

    Reading shows the object as it is now, so the earlier of two would be given the later's state.
    """
    last = {(row.source, row.account, row.object): row.position for row in rows if _thin(row)}
    kept: list[Row[Any]] = []
    overtaken: list[Row[Any]] = []
    for row in rows:
        newest = last.get((row.source, row.account, row.object), row.position)
        (overtaken if _thin(row) and row.position != newest else kept).append(row)
    store.note(
        connection, [store.Note(each.position, "ignored", _TOLD_LATER) for each in overtaken]
    )
    quarantine.settle(connection, [rejected(each) for each in overtaken])
    return kept


def _thin(row: Row[Any]) -> bool:
    raw = decoded(row.body)
    return isinstance(raw, Mapping) and is_thin(raw)


def _read_for(database: Database, row: Row[Any], reader: Reader, now: int) -> None:
    """Read what a delivery lacks, and let it be tried again."""
    raw = decoded(row.body)
    reading = wanted(raw, reader) if isinstance(raw, Mapping) else None
    with database.begin() as connection:
        if reading is None:
            store.keep_reading(connection, row.position, None, again=False)
            return
        known = Known()
        known.learn(reading, now)
        learned(connection, row.source, {row.account: known})
        store.keep_reading(connection, row.position, _ENCODER.encode(reading), again=True)


def _settle_doubt(database: Database, row: Row[Any], reader: Reader, now: int) -> None:
    """Let the object itself say which of two changes of a second came last.

    When it still is as one of them left it, that one was the last. When it is otherwise, it has
    changed since, and is told as it is now.
    """
    found = reader.subscription(row.object)
    with database.begin() as connection:
        connection.execute(
            update(delivery)
            .where(
                delivery.c.source == row.source,
                delivery.c.account == row.account,
                delivery.c.object == row.object,
                delivery.c.created == row.created,
            )
            .values(doubtful=False)
        )
        if found is None:
            return
        known = Known()
        known.learn(found, now)
        learned(connection, row.source, {row.account: known})
        tied = store.neighbours(connection, row.source, [(row.account, row.object, row.created)])
        raw = _told(row, found, now)
        seen = worth(raw, known)
        if any(worth(decoded(each.body), known) == seen for each in tied):
            raw = _told(row, found, row.created)
        body = _ENCODER.encode(raw)
        envelope = Envelope(
            event=str(raw["id"]),
            account=row.account,
            livemode=row.livemode,
            type=str(raw["type"]),
            object=row.object,
            created=raw["created"],
        )
        store.keep(connection, [store.Received(row.source, envelope, body)])


def _told(row: Row[Any], found: Mapping[str, Any], at: int) -> dict[str, Any]:
    """An object that was read again, as the event that would have shown it."""
    return {
        "id": f"{REREAD}{row.object}:{row.created}",
        "object": "event",
        "type": "customer.subscription.updated",
        "created": at,
        "livemode": row.livemode,
        **({"account": row.account} if row.account else {}),
        "data": {"object": found},
    }
