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

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Text,
    and_,
    cast,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.database import Database
from tidemill.engine.answering import Asked, Asker, told
from tidemill.engine.comparison import Value, less
from tidemill.engine.notices import ledger_of
from tidemill.engine.restatement import Figure, LateEvent, RestatedMovement, Restatement
from tidemill.engine.scratch import scratch_snapshot
from tidemill.ledger import whole_companies
from tidemill.metrics.base import Behind
from tidemill.metrics.columns import Column
from tidemill.metrics.result import Result, Row
from tidemill.models import customer, event_log, fx_rate, source
from tidemill.policy import Policy

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
    companies: frozenset[str]


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
    ledgers = [(ledger_of(asked.policy), known_at) for known_at in between]
    with scratch_snapshot(database, ledgers, in_place=not asked.provider.keeps_facts) as scratch:
        answers, moved, rests_on = [], [], []
        for known_at in between:
            notices = asked.provider.notices(scratch.connection, known_at)
            asker = Asker(scratch.connection, told(notices), base_currency, configured, scratch)
            side = replace(asked, known_at=known_at)
            answers.append(asker.answer(side))
            rests_on.append(asker.behind_of(side))
            moved.append(asker.movements(side, rests_on[-1]))
        news = _News(scratch.connection, asked, between, base_currency)
        changed = list(_changed(moved[0].rows, moved[1].rows))
        late = news.events(changed)
        because = _Suspects.of(late).of_movement
        movements = [RestatedMovement(what, row, because(row)) for what, row in changed]
        figures = tuple(_figures(*answers))
        currencies = {row.get("currency", base_currency) for row in moved[1].rows}
        currencies -= {base_currency}
        rates = news.rates(rests_on[-1], currencies) if figures and currencies else []
    return Restatement(
        before=answers[0],
        after=answers[1],
        figures=figures,
        movement_columns=moved[1].columns,
        movements=tuple(movements),
        events=tuple(_told(late, movements, rates)),
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
    if column.quotient:
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


@dataclass(frozen=True, slots=True)
class _Suspects:
    """The late events by what they can have changed, each in the order of their instants."""

    late: Mapping[str, _Late]
    by_subscription: Mapping[str, list[LateEvent]]
    by_company: Mapping[str, list[LateEvent]]

    @classmethod
    def of(cls, late: Mapping[str, _Late]) -> _Suspects:
        """The late events, ordered as given."""
        by_subscription: dict[str, list[LateEvent]] = defaultdict(list)
        by_company: dict[str, list[LateEvent]] = defaultdict(list)
        for each in late.values():
            for name in each.subscriptions:
                by_subscription[name].append(each.event)
            for name in each.companies:
                by_company[name].append(each.event)
        return cls(late, by_subscription, by_company)

    def of_movement(self, row: Row) -> str | None:
        """The late event that a movement is put down to."""
        if row["event_id"] in self.late:
            return str(row["event_id"])
        near = self.by_subscription.get(row["subscription"])
        near = near or self.by_company.get(row["customer"], [])
        after = bisect_right(near, row["occurred_at"], key=lambda each: each.occurred_at)
        return near[max(0, after - 1)].id if near else None


# --- late events ----------------------------------------------------------------------------------


# What is told of any late event.
_TOLD: Final = (
    cast(event_log.c.id, Text).label("id"),
    source.c.name.label("source"),
    event_log.c.type,
    event_log.c.subject,
    event_log.c.occurred_at,
    event_log.c.recorded_at,
)


@dataclass(frozen=True, slots=True)
class _News:
    """What was recorded between two knowledge dates."""

    connection: Connection
    asked: Asked
    between: tuple[datetime, datetime]
    base: str

    def events(self, changed: Sequence[_Moved]) -> dict[str, _Late]:
        """Id → event that can have changed these movements, in the order of their instants.

        Those are the events of their customers, or of one that is the same company, and those about
        their subscriptions.
        """
        if not changed:
            return {}
        names = sorted({str(row["customer"]) for _, row in changed})
        subscriptions = sorted({str(row["subscription"]) for _, row in changed})
        owners: dict[int, set[str]] = defaultdict(set)
        for known_at in self.between:
            for key, owner in self._owners(names, known_at):
                owners[key].add(owner)
        log = event_log
        about = func.coalesce(log.c.data["subscription"].astext, log.c.subject)
        more = (
            about.label("about"),
            log.c.data["lines"].label("lines"),
            customer.c.id.label("key"),
        )
        of_customer = and_(
            customer.c.source_id == log.c.source_id, customer.c.external_id == log.c.customer
        )
        found = self.connection.execute(
            select(*_TOLD, log.c.customer, *more)
            .select_from(log)
            .join(source, source.c.id == log.c.source_id)
            .join(customer, of_customer)
            .where(
                self._is_late(log.c.recorded_at),
                log.c.livemode,
                log.c.type.not_in(_SILENT),
                or_(customer.c.id.in_(owners), about.in_(subscriptions)),
            )
            .order_by(log.c.occurred_at, log.c.sequence, log.c.recorded_at, log.c.id)
        )
        return {
            row.id: _Late(
                LateEvent(**_told_of(row), customer=row.customer, amount=Decimal(0)),
                frozenset([row.about, *_of_lines(row.lines)]),
                frozenset(owners.get(row.key, ())),
            )
            for row in found
        }

    def rates(self, behind: Behind, currencies: set[str]) -> list[LateEvent]:
        """The rates of these currencies that the later answer can rest on.

        A rate of a day also counts on the days after it, up to the next day with one.
        """
        rate, (start, end) = self._restated_rates(), _rate_days(self.asked, behind)
        found = self.connection.execute(
            select(*_TOLD)
            .select_from(event_log)
            .join(rate, rate.c.id == event_log.c.position)
            .join(source, source.c.id == event_log.c.source_id)
            .where(
                or_(
                    and_(rate.c.base == self.base, rate.c.quote.in_(currencies)),
                    and_(rate.c.quote == self.base, rate.c.base.in_(currencies)),
                ),
                *([] if end is None else [rate.c.day <= end]),
                *([] if start is None else [or_(rate.c.until.is_(None), rate.c.until > start)]),
            )
        )
        return [LateEvent(**_told_of(row), customer=None, amount=None) for row in found]

    def _owners(self, names: Sequence[str], known_at: datetime) -> list[tuple[int, str]]:
        """Customer key → the name under which the ledger knew the customer at a date."""
        relations = self.asked.provider.relations(base_currency=self.base, known_at=known_at)
        named, merged = relations.customers, relations.identities
        if self.asked.policy.identity != "merged":
            own = select(named.c.customer_id, named.c.external_id).where(
                named.c.external_id.in_(names)
            )
            return [(row[0], row[1]) for row in self.connection.execute(own)]
        wanted = select(named.c.customer_id).where(named.c.external_id.in_(names)).subquery()
        members = whole_companies(wanted, merged).subquery("member")
        owner = relations.customers.alias("owner")
        canonical = func.coalesce(merged.c.canonical_id, members.c.customer_id)
        found = select(members.c.customer_id, owner.c.external_id).select_from(
            members.outerjoin(merged, merged.c.customer_id == members.c.customer_id).join(
                owner, owner.c.customer_id == canonical
            )
        )
        return [(row[0], row[1]) for row in self.connection.execute(found)]

    def _restated_rates(self) -> FromClause:
        """The rates that are others at the later date: id of the event, base, quote, day, until."""
        old, new = (
            self.asked.provider.relations(base_currency=self.base, known_at=each).fx_rates
            for each in self.between
        )
        until = func.lead(new.c.day).over(
            partition_by=(new.c.base, new.c.quote), order_by=new.c.day
        )
        spans = select(new, until.label("until")).subquery("later_rate")
        keys = ("base", "quote", "day")
        return (
            select(fx_rate.c.id, *(spans.c[name] for name in (*keys, "until")))
            .ext(distinct_on(*(spans.c[name] for name in keys)))
            .select_from(spans)
            .outerjoin(old, and_(*(old.c[name] == spans.c[name] for name in keys)))
            .join(fx_rate, and_(*(fx_rate.c[name] == spans.c[name] for name in (*keys, "rate"))))
            .where(old.c.rate.is_distinct_from(spans.c.rate), self._is_late(fx_rate.c.recorded_at))
            .order_by(*(spans.c[name] for name in keys), fx_rate.c.occurred_at.desc())
            .subquery("restated_rate")
        )

    def _is_late(self, recorded_at: ColumnElement[datetime]) -> ColumnElement[bool]:
        return and_(recorded_at > self.between[0], recorded_at <= self.between[1])


def _told_of(row: Any) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in _TOLD}


def _of_lines(lines: Any) -> Iterator[str]:
    """The subscriptions that an invoice's lines are for."""
    for line in lines if isinstance(lines, list) else ():
        if isinstance(line, dict) and isinstance(line.get("subscription"), str):
            yield line["subscription"]


def _rate_days(asked: Asked, behind: Behind) -> tuple[date | None, date | None]:
    """From when to when rates bear on the answer; None is without bound.

    Where levels carry rates, or there is one rate for all days, any day's can.
    """
    if asked.policy.fx != "period_end":
        return None, None
    start = behind.start or asked.bound.params.get("start") or behind.end
    return start, behind.end


def _told(
    late: Mapping[str, _Late], movements: Sequence[RestatedMovement], rates: Sequence[LateEvent]
) -> list[LateEvent]:
    """The late events that movements are put down to, with what they sum to, and the rates."""
    amounts: dict[str, Decimal] = defaultdict(Decimal)
    for each in movements:
        if each.because is not None:
            amount = each.row.get(_AT_RATES, Decimal(0))
            amounts[each.because] += amount if each.what == "added" else -amount
    events = [replace(late[name].event, amount=amount) for name, amount in amounts.items()]
    return sorted((*events, *rates), key=lambda each: (each.recorded_at, each.occurred_at, each.id))
