"""The quarantine: input that could not be applied, kept with every reason until it is replayed.

Nothing refused is lost and nothing is refused in silence: what cannot become an event, and what the
log holds but the tables do not take, stands here with all its problems, written in the transaction
that went on without it. Replaying is the business of `replay`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.dialects import postgresql

from tidemill.bus import Refused
from tidemill.errors import Problem, UnknownQuarantined
from tidemill.events import Event, event_line
from tidemill.intake import Rejected
from tidemill.models import quarantine

__all__ = [
    "Quarantined",
    "find",
    "keep",
    "listed",
    "mark_replayed",
    "rejected_event",
    "set_aside",
    "settle",
    "waiting",
]

# Rows of one INSERT; each takes six of the 65,535 parameters a statement may have.
_ROWS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row of the quarantine. Instants are UTC; `replayed_at` is None while it still waits."""

    id: int
    source: str
    origin: str
    kind: str
    body: str
    problems: tuple[Problem, ...]
    quarantined_at: datetime
    replayed_at: datetime | None


def keep(connection: Connection, items: Iterable[Rejected]) -> None:
    """Put input aside in the caller's transaction; the same input is kept once, however often sent.

    What was replayed before and is refused again waits again, with its new problems.
    """
    rows = list({row["fingerprint"]: row for row in map(_row, items)}.values())
    for start in range(0, len(rows), _ROWS_MAX):
        new = postgresql.insert(quarantine).values(rows[start : start + _ROWS_MAX])
        connection.execute(
            new.on_conflict_do_update(
                index_elements=["fingerprint"],
                set_={"problems": new.excluded.problems, "replayed_at": None},
            )
        )


def listed(
    connection: Connection, *, everything: bool = False, limit: int | None = None
) -> list[Quarantined]:
    """What waits in the quarantine, oldest first; with `everything` also what was replayed."""
    query = select(quarantine).order_by(quarantine.c.id).limit(limit)
    if not everything:
        query = query.where(quarantine.c.replayed_at.is_(None))
    return [_quarantined(row) for row in connection.execute(query)]


def find(connection: Connection, ids: Sequence[int]) -> list[Quarantined]:
    """Rows of the quarantine by their ids, in the order asked for.

    Raises:
        UnknownQuarantined: there is no such row.
    """
    query = select(quarantine).where(quarantine.c.id.in_(ids))
    found = {row.id: _quarantined(row) for row in connection.execute(query)}
    if missing := [each for each in ids if each not in found]:
        raise UnknownQuarantined(missing)
    return [found[each] for each in ids]


def waiting(connection: Connection) -> int:
    """How many pieces of input wait in the quarantine."""
    query = select(func.count()).where(quarantine.c.replayed_at.is_(None))
    return connection.execute(query).scalar_one()


def mark_replayed(connection: Connection, ids: Sequence[int]) -> None:
    """Say that these have found their way into the books, in the caller's transaction."""
    connection.execute(
        update(quarantine).where(quarantine.c.id.in_(ids)).values(replayed_at=func.now())
    )


def settle(connection: Connection, items: Sequence[Rejected]) -> None:
    """Say that pieces of input which may wait here have found their way into the books."""
    prints = sorted({_row(item)["fingerprint"] for item in items})
    if prints:
        connection.execute(
            update(quarantine)
            .where(quarantine.c.fingerprint.in_(prints), quarantine.c.replayed_at.is_(None))
            .values(replayed_at=func.now())
        )


def rejected_event(origin: str, event: Event, problem: Problem) -> Rejected:
    """A well-formed event that was refused later on, written as it would stand in a file."""
    body = event_line(event).decode(errors="backslashreplace")
    return Rejected(origin, event.source, "events", body, (problem,))


def set_aside(
    connection: Connection, rejected: Iterable[Rejected], refused: Iterable[Refused]
) -> int:
    """Quarantine what is no event, and what the log cannot hold; how many they are."""
    items = [
        *rejected,
        *(rejected_event(f"event:{each.event.id}", each.event, each.problem) for each in refused),
    ]
    keep(connection, items)
    return len(items)


def _row(item: Rejected) -> dict[str, Any]:
    identity = f"{item.source}\0{item.kind}\0{item.body}".encode(errors="surrogatepass")
    return {
        "source": _storable(item.source),
        "origin": _storable(item.origin),
        "kind": item.kind,
        "body": _storable(item.body),
        "fingerprint": hashlib.sha256(identity).hexdigest(),
        "problems": [
            {key: _storable(text) for key, text in problem.document().items()}
            for problem in item.problems
        ],
    }


def _storable(text: str) -> str:
    r"""The text as PostgreSQL can hold it: what is no character stands there as its escape.

    >>> _storable("a\0b\udcff")
    'a\\x00b\\udcff'
    """
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


def _quarantined(row: Row[Any]) -> Quarantined:
    problems = tuple(Problem(**problem) for problem in row.problems)
    return Quarantined(
        id=row.id,
        source=row.source,
        origin=row.origin,
        kind=row.kind,
        body=row.body,
        problems=problems,
        quarantined_at=row.quarantined_at,
        replayed_at=row.replayed_at,
    )
