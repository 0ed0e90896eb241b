"""Two knowledge dates of one question: what was restated in between, and because of which events.

A figure can be restated by movements or by exchange rates. Movements are compared natively, those
that only one date knows are listed, and each is put down to one late event:

1. the event that is its cause, when that came late; else, because a late event also changes what
   the events around it do,
2. a late event of its subscription, or of an invoice for it; else
3. a late event of its customer, or of one that is the same company.

Of several it is the last that had happened by then, else the first after it. So the amounts of the
events add up to those of the movements.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, Text, and_, cast, func, or_, select

from tidemill.database import Database
from tidemill.engine.answering import Asked, Asker
from tidemill.engine.comparison import Value, less
from tidemill.engine.notices import ledger_of, read_notices
from tidemill.engine.restatement import Figure, LateEvent, RestatedMovement, Restatement
from tidemill.engine.scratch import scratch_snapshot
from tidemill.ledger import whole_companies
from tidemill.metrics.base import Behind, Column
from tidemill.metrics.result import Result, Row
from tidemill.models import customer, event_log, source
from tidemill.policy import Policy
from tidemill.relations import core_relations

__all__ = ["restatement"]

_FIGURES: Final = frozenset({"money", "ratio", "count"})
# Counts that place a row, as a cohort's months do; they are no figures.
_PLACES: Final = frozenset({"offset"})
# What a movement is worth in base currency changes with rates, which are told by themselves.
_AT_RATES: Final = "amount"
# Events about nothing that a ledger reads.
_SILENT: Final = ("customer.created", "customer.updated", "customer.deleted")


@dataclass(frozen=True, slots=True)
class _Late:
    """A late event with what it can have changed."""

    event: LateEvent
    subscriptions: frozenset[str]
    company: str | None


def restatement(
    database: Database,
    asked: Asked,
    between: tuple[datetime, datetime],
    *,
    base_currency: str,
    configured: Policy,
) -> Restatement:
    """The question at two knowledge dates, the earlier one first, in one snapshot.

    Raises: as an answer does; MissingRate when not even the earlier date can be answered.
    """
    sides = [replace(asked, known_at=known_at) for known_at in between]
    ledgers = [(ledger_of(asked.policy), each.known_at) for each in sides]
    with scratch_snapshot(database, ledgers) as scratch:
        askers = [
            Asker(
                scratch.connection,
                read_notices(scratch.connection, each.known_at),
                base_currency,
                configured,
                scratch,
            )
            for each in sides
        ]
        before, after = (asker.answer(each) for asker, each in zip(askers, sides, strict=True))
        behind = askers[1].behind_of(sides[1])
        moved = [
            asker.movements(each, behind) for asker, each in zip(askers, sides, strict=True)
        ]
        changed = list(_changed(moved[0].rows, moved[1].rows))
        figures = tuple(_figures(before, after))
        late = _late_events(scratch.connection, asked, between, changed, base_currency)
        movements = tuple(
            RestatedMovement(what, row, _because(row, late, changed)) for what, row in changed
        )
        rates = _late_rates(scratch.connection, asked, between, behind, moved[1], base_currency)
    return Restatement(
        before=before,
        after=after,
        figures=figures,
        movement_columns=moved[1].columns,
        movements=movements,
        events=tuple(_told(late, movements, rates if figures else [])),
    )


# --- figures --------------------------------------------------------------------------------------


def _figures(before: Result, after: Result) -> Iterator[Figure]:
    """Every figure that differs, in the order of the later answer, then those only before."""
    columns = after.columns
    keys = [each.name for each in columns if not _is_figure(each)]
    old, new = _numbered(before.rows, keys), _numbered(after.rows, keys)
    for key in dict.fromkeys((*new, *old)):
        one, other = old.get(key), new.get(key)
        for column in columns:
            if not _is_figure(column):
                continue
            values = [None if row is None else row[column.name] for row in (one, other)]
            if values[0] != values[1]:
                named = dict(zip(keys, key[0], strict=True))
                yield Figure(named, column, values[0], values[1], _change(column, *values))


def _is_figure(column: Column) -> bool:
    return column.unit in _FIGURES and not column.dimension and column.name not in _PLACES


def _numbered(rows: Iterable[Row], keys: Sequence[str]) -> dict[tuple[Any, int], Row]:
    """The rows by what they are about; equals, as lists can have them, one by one."""
    seen: Counter[Any] = Counter()
    found = {}
    for row in rows:
        key = tuple(row[name] for name in keys)
        found[key, seen[key]] = row
        seen[key] += 1
    return found


def _change(column: Column, before: Value, after: Value) -> Value:
    if column.unit == "ratio":
        return less(after, before)
    return less(after or 0, before or 0)


# --- movements ------------------------------------------------------------------------------------

_Moved = tuple[Literal["added", "removed"], Row]


def _changed(before: Sequence[Row], after: Sequence[Row]) -> Iterator[_Moved]:
    """The movements that only one date knows, in the order of their instants."""
    found: list[_Moved] = [("removed", row) for row in _without(before, after)]
    found += [("added", row) for row in _without(after, before)]
    yield from sorted(found, key=lambda each: (each[1]["occurred_at"], each[0]))


def _without(rows: Sequence[Row], others: Sequence[Row]) -> Iterator[Row]:
    left = Counter(_identity(row) for row in others)
    for row in rows:
        identity = _identity(row)
        if left[identity] > 0:
            left[identity] -= 1
        else:
            yield row


def _identity(row: Row) -> tuple[Any, ...]:
    return tuple(value for name, value in row.items() if name != _AT_RATES)


def _because(row: Row, late: Mapping[str, _Late], changed: Sequence[_Moved]) -> str | None:
    """The late event that a movement is put down to."""
    if row["event_id"] in late:
        return str(row["event_id"])
    near = [each for each in late.values() if row["subscription"] in each.subscriptions]
    near = near or [each for each in late.values() if each.company == row["customer"]]
    happened = [each.event for each in near if each.event.occurred_at <= row["occurred_at"]]
    if happened:
        return happened[-1].id
    return near[0].event.id if near else None


# --- late events ----------------------------------------------------------------------------------


def _late_events(
    connection: Connection,
    asked: Asked,
    between: tuple[datetime, datetime],
    changed: Sequence[_Moved],
    base_currency: str,
) -> dict[str, _Late]:
    """Id → late event of the customers and subscriptions whose movements differ, as they happened.

    An event of a customer that was merged is one of the whole company.
    """
    if not changed:
        return {}
    names = sorted({str(row["customer"]) for _, row in changed})
    subscriptions = sorted({str(row["subscription"]) for _, row in changed})
    owners: dict[int, str] = {}
    for known_at in between:
        owners |= _owners(connection, names, known_at, asked, base_currency)
    log = event_log
    about = func.coalesce(log.c.data["subscription"].astext, log.c.subject)
    lines = log.c.data["lines"]
    found = connection.execute(
        select(
            cast(log.c.id, Text).label("id"),
            source.c.name.label("source"),
            log.c.type,
            log.c.customer,
            log.c.subject,
            log.c.occurred_at,
            log.c.recorded_at,
            about.label("about"),
            lines.label("lines"),
            customer.c.id.label("customer_id"),
        )
        .join(source, source.c.id == log.c.source_id)
        .join(
            customer,
            and_(
                customer.c.source_id == log.c.source_id,
                customer.c.external_id == log.c.customer,
            ),
        )
        .where(
            _is_late(log.c.recorded_at, between),
            log.c.livemode,
            log.c.type.not_in(_SILENT),
            or_(customer.c.id.in_(owners), about.in_(subscriptions)),
        )
        .order_by(log.c.occurred_at, log.c.sequence, log.c.recorded_at, log.c.id)
    )
    return {
        row.id: _Late(
            LateEvent(
                id=row.id,
                source=row.source,
                type=row.type,
                customer=row.customer,
                subject=row.subject,
                occurred_at=row.occurred_at,
                recorded_at=row.recorded_at,
                amount=Decimal(0),
            ),
            frozenset([row.about, *_of_lines(row.lines)]),
            owners.get(row.customer_id),
        )
        for row in found
    }


def _of_lines(lines: Any) -> Iterator[str]:
    """The subscriptions that an invoice's lines are for."""
    for line in lines if isinstance(lines, list) else ():
        if isinstance(line, dict) and isinstance(line.get("subscription"), str):
            yield line["subscription"]


def _owners(
    connection: Connection, names: Sequence[str], known_at: datetime, asked: Asked, base: str
) -> dict[int, str]:
    """Customer key → the name under which the ledger knew the customer at a date."""
    relations = core_relations(base_currency=base, known_at=known_at)
    named, merged = relations.customers, relations.identities
    if asked.policy.identity != "merged":
        own = select(named.c.customer_id, named.c.external_id).where(named.c.external_id.in_(names))
        return {row[0]: row[1] for row in connection.execute(own)}
    wanted = select(named.c.customer_id).where(named.c.external_id.in_(names)).subquery()
    members = whole_companies(wanted, merged).subquery("member")
    owner = relations.customers.alias("owner")
    canonical = func.coalesce(merged.c.canonical_id, members.c.customer_id)
    found = select(members.c.customer_id, owner.c.external_id).select_from(
        members.outerjoin(merged, merged.c.customer_id == members.c.customer_id).join(
            owner, owner.c.customer_id == canonical
        )
    )
    return {row[0]: row[1] for row in connection.execute(found)}


def _is_late(
    recorded_at: ColumnElement[datetime], between: tuple[datetime, datetime]
) -> ColumnElement[bool]:
    return and_(recorded_at > between[0], recorded_at <= between[1])


def _late_rates(
    connection: Connection,
    asked: Asked,
    between: tuple[datetime, datetime],
    behind: Behind,
    moved: Result,
    base_currency: str,
) -> list[LateEvent]:
    """The rates recorded in between that the later answer can rest on: of its currencies and days.

    A rate of a day also counts on the days after it, up to the next day with one.
    """
    currencies = {row["currency"] for row in moved.rows} - {base_currency}
    if not currencies:
        return []
    rate = select_rates(between[1])
    start, end = _span(asked, behind)
    found = connection.execute(
        select(
            cast(event_log.c.id, Text).label("id"),
            source.c.name.label("source"),
            event_log.c.type,
            event_log.c.subject,
            event_log.c.occurred_at,
            event_log.c.recorded_at,
        )
        .join(rate, rate.c.id == event_log.c.position)
        .join(source, source.c.id == event_log.c.source_id)
        .where(
            _is_late(rate.c.recorded_at, between),
            or_(
                and_(rate.c.base == base_currency, rate.c.quote.in_(currencies)),
                and_(rate.c.quote == base_currency, rate.c.base.in_(currencies)),
            ),
            *([] if end is None else [rate.c.day <= end]),
            *([] if start is None else [or_(rate.c.until.is_(None), rate.c.until > start)]),
        )
        .order_by(event_log.c.occurred_at, event_log.c.id)
    )
    return [LateEvent(**row._mapping, customer=None, amount=None) for row in found]
