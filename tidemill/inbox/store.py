"""Deliveries in the database: keeping them, finding what is to be done, noting what became of it.

Each function is one statement, or a few, whatever the number of deliveries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    SmallInteger,
    Text,
    bindparam,
    cast,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from tidemill.connectors.stripe.envelope import Envelope
from tidemill.connectors.stripe.known import KnownObject
from tidemill.models import delivery, vendor_object

__all__ = [
    "Kept",
    "Note",
    "Received",
    "awaken",
    "charges",
    "keep",
    "keep_objects",
    "keep_reading",
    "lock",
    "neighbours",
    "note",
    "objects",
    "release",
    "retry",
    "states_of",
    "take",
]

# The key of the advisory lock that lets one worker at a time take in deliveries: "inbox" in ASCII.
_LOCK: Final = int.from_bytes(b"inbox", "big")

# Each takes six parameters of a statement, which holds 65,535.
_OBJECTS_MAX: Final = 1_000

_KEYS: Final = ("source", "account", "livemode", "event")


@dataclass(frozen=True, slots=True)
class Received:
    """A delivery as it came in: to which source, and byte by byte."""

    source: str
    envelope: Envelope
    body: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of deliveries that were handed over: new here, and here before."""

    stored: int
    duplicate: int


def keep(connection: Connection, received: Sequence[Received]) -> Kept:
    """Store deliveries in the order given; the same event of an account is kept once.

    Durable once the caller's transaction has committed.
    """
    columns: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
        "source": (Text(), [each.source for each in received]),
        "account": (Text(), [each.envelope.account for each in received]),
        "livemode": (Boolean(), [each.envelope.livemode for each in received]),
        "event": (Text(), [each.envelope.event for each in received]),
        "type": (Text(), [each.envelope.type for each in received]),
        "object": (Text(), [each.envelope.object for each in received]),
        "created": (BigInteger(), [each.envelope.created for each in received]),
        "body": (LargeBinary(), [each.body for each in received]),
    }
    rows = _unnested("received", columns)
    statement = (
        postgresql.insert(delivery)
        .from_select(list(columns), select(*(rows.c[name] for name in columns)))
        .on_conflict_do_nothing(index_elements=_KEYS)
    )
    counted = connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
    return Kept(counted, len(received) - counted)


def lock(connection: Connection, *, wait: bool) -> bool:
    """Be the only one who takes in deliveries until the transaction ends; whether one is."""
    if wait:
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        return True
    return bool(connection.execute(select(func.pg_try_advisory_xact_lock(_LOCK))).scalar_one())


def release(connection: Connection, patience_s: float) -> None:
    """Let what is held be tried again: others of its second came, or it was held long enough."""
    other = delivery.alias()
    joined = exists().where(
        other.c.source == delivery.c.source,
        other.c.account == delivery.c.account,
        other.c.object == delivery.c.object,
        other.c.created == delivery.c.created,
        other.c.received_at > delivery.c.tried_at,
    )
    held = update(delivery).where(delivery.c.state == "held", or_(joined, _overdue(patience_s)))
    connection.execute(held.values(state="new"))


def _overdue(patience_s: float) -> ColumnElement[bool]:
    held_s = func.extract("epoch", func.clock_timestamp() - delivery.c.received_at)
    return held_s >= patience_s


def take(connection: Connection, limit: int, patience_s: float = 0.0) -> list[Row[Any]]:
    """The next deliveries to take in, of one source, in the order of arrival; with `overdue`."""
    new = delivery.c.state == "new"
    first = select(delivery.c.source).where(new).order_by(delivery.c.position).limit(1)
    source = connection.execute(first).scalar()
    if source is None:
        return []
    query = select(delivery, _overdue(patience_s).label("overdue"))
    query = query.where(new, delivery.c.source == source)
    return list(connection.execute(query.order_by(delivery.c.position).limit(limit)))


def neighbours(
    connection: Connection, source: str, abouts: Iterable[tuple[str, str, int]]
) -> list[Row[Any]]:
    """What is in the log of the same accounts, objects and seconds: bodies and steps."""
    wanted = sorted(set(abouts))
    if not wanted:
        return []
    asked = _unnested(
        "asked",
        {
            "account": (Text(), [each[0] for each in wanted]),
            "object": (Text(), [each[1] for each in wanted]),
            "created": (BigInteger(), [each[2] for each in wanted]),
        },
    )
    query = select(delivery).join(
        asked,
        (delivery.c.account == asked.c.account)
        & (delivery.c.object == asked.c.object)
        & (delivery.c.created == asked.c.created),
    )
    query = query.where(delivery.c.source == source, delivery.c.state == "stored")
    return list(connection.execute(query.order_by(delivery.c.position)))


def charges(
    connection: Connection, source: str, account: str, keys: Collection[str]
) -> list[bytes]:
    """What came in about charges that are in the log, by their ids: bodies."""
    query = select(delivery.c.body).where(
        delivery.c.source == source,
        delivery.c.account == account,
        delivery.c.object.in_(sorted(keys)),
        delivery.c.type.startswith("charge."),
        delivery.c.state == "stored",
    )
    return list(connection.execute(query).scalars())


def states_of(
    connection: Connection, source: str, firsts: Mapping[tuple[str, str], int]
) -> list[Row[Any]]:
    """Of accounts and objects: the second of the end (`over`), and those of later life (`alive`).

    firsts: account and object → the second after which its life is asked about.
    """
    wanted = sorted(firsts)
    if not wanted:
        return []
    asked = _unnested(
        "asked",
        {
            "account": (Text(), [each[0] for each in wanted]),
            "object": (Text(), [each[1] for each in wanted]),
            "first": (BigInteger(), [firsts[each] for each in wanted]),
        },
    )
    later = ~delivery.c.final & (delivery.c.created > asked.c.first)
    query = (
        select(
            delivery.c.account,
            delivery.c.object,
            func.min(delivery.c.created).filter(delivery.c.final).label("over"),
            func.array_agg(delivery.c.created.distinct()).filter(later).label("alive"),
        )
        .join(
            asked, (delivery.c.account == asked.c.account) & (delivery.c.object == asked.c.object)
        )
        .where(delivery.c.source == source, delivery.c.state == "stored")
        .group_by(delivery.c.account, delivery.c.object)
    )
    return list(connection.execute(query))


def objects(
    connection: Connection, source: str, named: Iterable[tuple[str, str, str]]
) -> list[Row[Any]]:
    """Objects seen before, by account, kind and id."""
    wanted = sorted(set(named))
    if not wanted:
        return []
    asked = _unnested(
        "asked",
        {
            "account": (Text(), [each[0] for each in wanted]),
            "kind": (Text(), [each[1] for each in wanted]),
            "external_id": (Text(), [each[2] for each in wanted]),
        },
    )
    # Column collections are no dictionaries: iterating one gives columns.
    same = [vendor_object.c[name] == asked.c[name] for name in asked.c.keys()]  # noqa: SIM118
    query = select(vendor_object).join(asked, same[0] & same[1] & same[2])
    return list(connection.execute(query.where(vendor_object.c.source == source)))


def keep_objects(
    connection: Connection, source: str, found: Mapping[str, Sequence[tuple[KnownObject, bytes]]]
) -> None:
    """Keep objects for later, by account, unless a newer one of the id is kept already."""
    rows = [(account, known, body) for account, each in found.items() for known, body in each]
    for first in range(0, len(rows), _OBJECTS_MAX):
        _keep_some(connection, source, rows[first : first + _OBJECTS_MAX])


def _keep_some(
    connection: Connection, source: str, rows: Sequence[tuple[str, KnownObject, bytes]]
) -> None:
    new = postgresql.insert(vendor_object).values(
        [
            {
                "source": source,
                "account": account,
                "kind": known.kind,
                "external_id": known.id,
                "seen": known.seen,
                "body": body,
            }
            for account, known, body in rows
        ]
    )
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["source", "account", "kind", "external_id"],
            set_={"seen": new.excluded.seen, "body": new.excluded.body},
            where=new.excluded.seen >= vendor_object.c.seen,
        )
    )


@dataclass(frozen=True, slots=True)
class Note:
    """What became of a delivery."""

    position: int
    state: str
    reason: str | None = None
    step: int = 0
    doubtful: bool = False
    final: bool = False


def note(connection: Connection, notes: Sequence[Note]) -> None:
    """Write down what became of deliveries."""
    if not notes:
        return
    said = _unnested(
        "said",
        {
            "position": (BigInteger(), [each.position for each in notes]),
            "state": (Text(), [each.state for each in notes]),
            "reason": (Text(), [each.reason for each in notes]),
            "step": (SmallInteger(), [each.step for each in notes]),
            "doubtful": (Boolean(), [each.doubtful for each in notes]),
            "final": (Boolean(), [each.final for each in notes]),
        },
    )
    names = ("state", "reason", "step", "doubtful", "final")
    connection.execute(
        update(delivery)
        .where(delivery.c.position == said.c.position)
        .values({name: said.c[name] for name in names} | {"tried_at": func.clock_timestamp()})
    )


def awaken(
    connection: Connection, source: str, accounts: Iterable[str], types: Sequence[str] = ("",)
) -> int:
    """Let what waits be tried again, because more is known of these accounts; how many.

    types: how the types of those begin that may gain by it.
    """
    statement = (
        update(delivery)
        .where(
            delivery.c.state == "waiting",
            delivery.c.source == source,
            delivery.c.account.in_(sorted(set(accounts))),
            or_(*(delivery.c.type.startswith(each) for each in types)),
        )
        .values(state="new")
    )
    return connection.execute(statement).rowcount


def retry(connection: Connection) -> int:
    """Let everything that waits be tried again; how many deliveries that is."""
    waiting = update(delivery).where(delivery.c.state == "waiting")
    return connection.execute(waiting.values(state="new", read_at=null())).rowcount


def keep_reading(
    connection: Connection, position: int, reading: bytes | None, *, again: bool
) -> None:
    """Note that the API was asked because of a delivery, and what it said.

    again: whether the delivery is to be tried once more.
    """
    connection.execute(
        update(delivery)
        .where(delivery.c.position == position)
        .values(
            read=null() if reading is None else literal(reading, LargeBinary()),
            read_at=func.clock_timestamp(),
            **({"state": "new"} if again else {}),
        )
    )


def _unnested(name: str, columns: Mapping[str, tuple[TypeEngine[Any], Sequence[Any]]]) -> Any:
    """Values as rows of a table, column by column: one statement for any number of rows."""
    arrays = [
        bindparam(f"{name}_{key}", list(values), type_=postgresql.ARRAY(kind), unique=True)
        for key, (kind, values) in columns.items()
    ]
    typed = [
        cast(each, postgresql.ARRAY(kind))
        for each, (kind, _) in zip(arrays, columns.values(), strict=True)
    ]
    return func.unnest(*typed).table_valued(*columns).render_derived(name)
