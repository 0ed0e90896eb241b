"""A check-up of the books: what is there, what is wrong with it, and what to do about it.

Each check gives findings in plain words. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, Select, func, select, union_all

from tidemill import quarantine
from tidemill.bus import PostgresBus
from tidemill.copying.facts import of_copy
from tidemill.copying.holding import Copy, copy_in, rates_position
from tidemill.database import Database
from tidemill.fx import daily_rates
from tidemill.heartbeat import heard
from tidemill.in_force import differing_knobs, kept_document, kept_facts
from tidemill.inbox.report import report
from tidemill.inbox.unsettled import unsettled
from tidemill.ledger import derive, tables_of
from tidemill.migrations.schema import SchemaState, schema_state
from tidemill.models import customer, event_log, metric_mrr_movement, source
from tidemill.monitoring import lag_s
from tidemill.relations import Relations, core_relations
from tidemill.state import Books
from tidemill.state.facts import of_events
from tidemill.state.rollups import sums_of
from tidemill.sync.reconciliations import latest
from tidemill.unknown_words import unknown_words
from tidemill.worker import CONSUMER

__all__ = ["Finding", "Level", "Rates", "Source", "check", "rates", "sources"]

Level = Literal["ok", "warning", "wrong"]
"""As it should be; worth a look; to be mended."""

# More pairs of events that contradict each other are counted, not listed.
_LISTED_MAX: Final = 5
_UNRESOLVED_MAX: Final = 20
_TO_BE_ASKED: Final = (
    "Set STRIPE_API_KEY, so that it can be read; `tidemill quarantine replay` tries again."
)
_ASKED: Final = (
    "Stripe's API was asked, which did not help; `tidemill quarantine replay` asks it again."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what to do about it when it is not ok."""

    about: str
    level: Level
    found: str
    hint: str = ""

    def document(self) -> dict[str, str]:
        """The finding as a JSON object."""
        return {
            "about": self.about,
            "level": self.level,
            "found": self.found,
            "hint": self.hint,
        }


@dataclass(frozen=True, slots=True)
class Source:
    """A connected source and what came from it; instants are UTC."""

    name: str
    kind: str
    events: int
    customers: int
    first_event_at: datetime | None
    last_event_at: datetime | None
    last_recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rates:
    """The exchange rates of a currency: published days, and the days on which books need them."""

    currency: str
    base: str
    published: int = 0
    first_on: Any = None
    last_on: Any = None
    needed_from: Any = None


def check(database: Database, bus: PostgresBus, books: Books) -> Iterator[Finding]:
    """Every finding, in the order of what rests on what; a wrong schema is the last one."""
    yield Finding("database", "ok", f"{database.url_display}, {_server(database)}")
    state = schema_state(database.engine)
    if state is not SchemaState.CURRENT:
        hint = "Run `tidemill migrate`." if state is SchemaState.BEHIND else "Upgrade Tidemill."
        yield Finding("schema", "wrong", f"is {state.value} of this program", hint)
        return
    yield Finding("schema", "ok", "is current")
    with database.snapshot() as connection:
        copy = copy_in(connection)
        yield from _sources(connection) if copy is None else _copy(copy)
        yield from _log(connection, bus)
        yield from _workers(connection)
        yield from _quarantine(connection)
        yield from _inbox(connection)
        yield from _unknown(connection)
        yield from _contradictions(connection)
        yield from _reconciliations(connection)
        yield from _rates(connection, books)
        yield from _facts(connection, books, copy)


def sources(connection: Connection) -> list[Source]:
    """Every source with what came from it, by name."""
    of_log = (
        select(
            event_log.c.source_id,
            func.count().label("events"),
            func.min(event_log.c.occurred_at).label("first_event_at"),
            func.max(event_log.c.occurred_at).label("last_event_at"),
            func.max(event_log.c.recorded_at).label("last_recorded_at"),
        )
        .group_by(event_log.c.source_id)
        .subquery()
    )
    of_customers = (
        select(customer.c.source_id, func.count().label("customers"))
        .group_by(customer.c.source_id)
        .subquery()
    )
    found = connection.execute(
        select(
            source.c.name,
            source.c.kind,
            func.coalesce(of_log.c.events, 0),
            func.coalesce(of_customers.c.customers, 0),
            of_log.c.first_event_at,
            of_log.c.last_event_at,
            of_log.c.last_recorded_at,
        )
        .outerjoin(of_log, of_log.c.source_id == source.c.id)
        .outerjoin(of_customers, of_customers.c.source_id == source.c.id)
        .order_by(source.c.name)
    )
    return [Source(*row) for row in found]


def rates(connection: Connection, base: str) -> list[Rates]:
    """Every currency that has rates into the base currency or needs them, by code."""
    spans = daily_rates(core_relations(base_currency=base).fx_rates, base)
    published = connection.execute(
        select(
            spans.c.currency,
            func.count(),
            func.min(spans.c.valid_from),
            func.max(spans.c.valid_from),
        )
        .where(spans.c.currency != base)
        .group_by(spans.c.currency)
    )
    known = {row[0]: Rates(row[0], base, row[1], row[2], row[3]) for row in published}
    rows = metric_mrr_movement.c
    needed = connection.execute(
        select(rows.currency, func.min(rows.day))
        .where(rows.currency != base)
        .group_by(rows.currency)
    )
    for currency, day in needed:
        had = known.get(currency, Rates(currency, base))
        known[currency] = Rates(currency, base, had.published, had.first_on, had.last_on, day)
    return [known[currency] for currency in sorted(known)]


# --- the checks -----------------------------------------------------------------------------------


def _server(database: Database) -> str:
    with database.connect() as connection:
        version = connection.execute(select(func.current_setting("server_version"))).scalar_one()
    return f"PostgreSQL {str(version).split()[0]}"


def _sources(connection: Connection) -> Iterator[Finding]:
    found = sources(connection)
    if not found:
        yield Finding("sources", "warning", "none yet", "See `tidemill import --help`.")
    for each in found:
        latest = each.last_event_at
        until = f", the latest of {latest:%Y-%m-%d %H:%M} UTC" if latest else ""
        counted = f"{each.events:,} events of {each.customers:,} customers{until}"
        yield Finding(f"source {each.name}", "ok", counted)


def _copy(copy: Copy) -> Iterator[Finding]:
    """How old the copy of a billing database is; no clock of ours tells whether that is too old."""
    at, compared = (f"{each:%Y-%m-%d %H:%M} UTC" for each in (copy.copied_at, copy.compared_at))
    found = f"as it was at {at}; every customer was compared at {compared}"
    yield Finding(f"copy of {copy.title}", "ok", found)
    for what, count in copy.left_out:
        if count:
            yield Finding(f"copy of {copy.title}", "warning", f"not counted: {count:,} {what}")


def _log(connection: Connection, bus: PostgresBus) -> Iterator[Finding]:
    pending = bus.pending(connection, CONSUMER)
    if pending:
        hint = "Run `tidemill worker`; importing anything does it, too."
        late = f", the oldest for {lag_s(connection, bus):,.0f} s"
        yield Finding("log", "wrong", f"{pending:,} events are not applied yet{late}", hint)
    else:
        yield Finding("log", "ok", "every event is applied")


def _workers(connection: Connection) -> Iterator[Finding]:
    """Who is at work; none need be, where whatever imports also applies."""
    for each in heard(connection):
        about = f"worker {each.name}"
        heard_at = f"heard of {each.age_s:,.0f} s ago"
        done = f"{each.applied:,} events applied, {each.memory_peak_bytes >> 20:,} MB at most"
        if each.silent:
            hint = "It was killed, or hangs: look at its output, end it, and start it again."
            yield Finding(about, "warning", f"silent; last {heard_at}", hint)
        elif each.trouble is not None:
            hint = "It tries again by itself; its output says more."
            yield Finding(about, "warning", f"{heard_at}, troubled: {each.trouble}", hint)
        else:
            yield Finding(about, "ok", f"{heard_at}; {done}")


def _quarantine(connection: Connection) -> Iterator[Finding]:
    waiting = quarantine.waiting(connection)
    if waiting:
        hint = "`tidemill quarantine list` says why; `tidemill quarantine replay` tries again."
        yield Finding("quarantine", "wrong", f"{waiting:,} pieces of input are not counted", hint)
    else:
        yield Finding("quarantine", "ok", "is empty")


def _unknown(connection: Connection) -> Iterator[Finding]:
    """Words that were mapped to `other`, or to nothing; each as it was written."""
    hint = "A newer version may know it; the event keeps it as it came."
    for each in unknown_words(connection)[:_UNRESOLVED_MAX]:
        what = f"{each.type} {each.key} {each.word!r} is not known; in {each.count:,} events"
        yield Finding(f"words of {each.source}", "warning", what, hint)


def _inbox(connection: Connection) -> Iterator[Finding]:
    for each in report(connection):
        new = each.states.get("new", 0)
        ignored = sum(each.ignored.values())
        said = f"{each.received:,} deliveries, {ignored:,} of no interest"
        if each.ignored:
            often = list(each.ignored.items())[:_LISTED_MAX]
            said += f" ({', '.join(f'{kind} {number:,}' for kind, number in often)})"
        hint = "Run `tidemill worker`, or `tidemill serve`." if new else ""
        late = f"; {new:,} not taken in yet" if new else ""
        yield Finding(f"webhook {each.source}", "warning" if new else "ok", said + late, hint)
    unresolved, doubtful = unsettled(connection)
    for one in unresolved[:_UNRESOLVED_MAX]:
        yield Finding(
            f"subscription {one.subscription}",
            "wrong",
            f"is unresolved, its latest state not counted: {one.reason}",
            _ASKED if one.asked else _TO_BE_ASKED,
        )
    if len(unresolved) > _UNRESOLVED_MAX:
        more = len(unresolved) - _UNRESOLVED_MAX
        yield Finding("subscriptions", "wrong", f"{more:,} more are unresolved")
    for key in doubtful[:_UNRESOLVED_MAX]:
        yield Finding(
            f"subscription {key}",
            "warning",
            "changed twice in one second, and nothing tells which change came last",
            "Set STRIPE_API_KEY, so that it can be read again.",
        )


def _contradictions(connection: Connection) -> Iterator[Finding]:
    """Events that say different things of one subject and instant: the one recorded later wins."""
    log = event_log.c
    place = (
        log.source_id,
        func.split_part(log.type, ".", 1),
        log.subject,
        log.occurred_at,
        log.sequence,
    )
    pairs = (
        select(log.subject, log.occurred_at, func.count().over().label("total"))
        .group_by(*place)
        .having(func.count(log.data.distinct()) > 1)
        .order_by(log.occurred_at, log.subject)
        .limit(_LISTED_MAX)
    )
    found = connection.execute(pairs).all()
    if not found:
        yield Finding("contradictions", "ok", "no two events disagree about one instant")
        return
    named = ", ".join(f"{row.subject} at {row.occurred_at:%Y-%m-%d %H:%M:%S} UTC" for row in found)
    more = f" and {found[0].total - len(found):,} more" if found[0].total > len(found) else ""
    yield Finding(
        "contradictions",
        "warning",
        f"events disagree about {named}{more}",
        "The event recorded later counts; give them different sequences to decide it.",
    )


def _reconciliations(connection: Connection) -> Iterator[Finding]:
    """What the latest comparison with each billing system found."""
    for each in latest(connection):
        about = f"comparison {each['source']}"
        when = f"{each['compared_at']:%Y-%m-%d %H:%M} UTC"
        if each["differences"]:
            found = f"{each['differences']:,} of {each['subscriptions']:,} subscriptions differed"
            hint = "`tidemill reconcile stripe` lists them; with --fix it mends the books."
            yield Finding(about, "warning", f"{found} on {when}", hint)
        else:
            yield Finding(about, "ok", f"{each['subscriptions']:,} subscriptions agreed on {when}")


def _rates(connection: Connection, books: Books) -> Iterator[Finding]:
    found = rates(connection, books.base_currency)
    for each in found:
        about = f"rates {each.currency}"
        hint = "Load rates with `tidemill fx load FILE`."
        if each.needed_from is None:
            continue
        if not each.published:
            yield Finding(about, "wrong", f"none, and needed from {each.needed_from} on", hint)
        elif each.first_on > each.needed_from:
            needed = f"begin on {each.first_on}, and are needed from {each.needed_from} on"
            yield Finding(about, "wrong", needed, hint)
        else:
            yield Finding(about, "ok", f"{each.first_on} to {each.last_on}")


def _facts(connection: Connection, books: Books, copy: Copy | None) -> Iterator[Finding]:
    hint = "Run `tidemill rebuild`." if copy is None else "Run `tidemill refresh`."
    kept = kept_document(connection)
    if kept is None:
        return
    if differing := differing_knobs(books.policy, books.base_currency, kept):
        said = f"are kept under another policy than configured: {', '.join(differing)}"
        yield Finding("facts", "warning", said, hint)
        return
    if unfilled := {table.name for table in tables_of(books.facts)} - kept_facts(kept):
        said = f"of an earlier version: {', '.join(sorted(unfilled))} not filled yet"
        if copy is None:
            hint = "A worker fills it, or `tidemill rebuild`; until then, questions are derived."
        yield Finding("facts", "warning", said, hint)
        return
    if copy is not None and rates_position(connection) != copy.rates_position:
        yield Finding("facts", "warning", "rates have come since; questions are derived", hint)
        return
    relations = (of_events if copy is None else of_copy)(books, None)
    different = connection.execute(_differences(relations, books)).scalar_one()
    wrong = _wrong_sums(connection, relations, books)
    if different:
        yield Finding("facts", "wrong", f"{different:,} rows differ from a new derivation", hint)
    elif wrong:
        yield Finding("facts", "wrong", f"{', '.join(wrong)} does not hold their sums", hint)
    else:
        yield Finding("facts", "ok", "equal a new derivation")


def _differences(relations: Relations, books: Books) -> Select[int]:
    """Counts the rows that stand only in the table, or only in a new derivation."""
    columns = metric_mrr_movement.columns.keys()
    made = derive(relations, books.policy).subquery()
    fresh = select(*(made.c[name] for name in columns))
    return _only_in_one(select(*(metric_mrr_movement.c[name] for name in columns)), fresh)


def _wrong_sums(connection: Connection, relations: Relations, books: Books) -> list[str]:
    """The roll-ups that do not hold the sums of what they are of."""
    sums = {
        rollup.table: sums_of(rollup, each.table) for each in books.facts for rollup in each.rollups
    }
    for each in books.facts:
        if each.of_payments:
            sums[each.table] = each.derive(relations, books.policy)
    return [
        table.name
        for table, fresh in sums.items()
        if connection.execute(_only_in_one(select(table), fresh)).scalar_one()
    ]


def _only_in_one(kept: Select[Any], fresh: Select[Any]) -> Select[int]:
    both = union_all(kept.except_all(fresh), fresh.except_all(kept)).subquery()
    return select(func.count()).select_from(both)
