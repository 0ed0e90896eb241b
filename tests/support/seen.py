"""What the ledger says of a random book under a policy, beside what the replay says.

Everything an identity needs is looked at once: the ledger's rows, the waterfall of some months, and
their rates as the metrics `churn` and `retention` tell them. Statements are kept for each policy,
because building one takes longer than running it on a small book.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cache, cached_property
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from tests.support.asking import settled
from tests.support.books import random_book
from tests.support.cases import customer_label, preset_policy
from tests.support.emptied import emptied
from tests.support.ledger import BASE, Row, derived_rows, keep_books
from tests.support.replay import Replay, replay
from tidemill import models
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.ledger import derive
from tidemill.metrics import METRICS
from tidemill.metrics.binding import Bound
from tidemill.metrics.query import Query
from tidemill.policy import Policy
from tidemill.relations import core_relations

__all__ = ["END", "MONTHS", "START", "Month", "Seen", "engine_of", "money", "near", "seen"]

START, END = date(2025, 2, 1), date(2025, 6, 30)
"""The months that rates and waterfalls are looked at; a book's life is longer."""

# Divisions in SQL keep some twenty digits; the replay's fractions keep all.
_TINY: Final = Fraction(1, 10**6)

Told = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Month:
    """A month, and the day at whose close it opens."""

    eve: date
    last: date


def _months() -> Iterator[Month]:
    first = START
    while first < END:
        following = (first + timedelta(days=32)).replace(day=1)
        yield Month(first - timedelta(days=1), following - timedelta(days=1))
        first = following


MONTHS: Final = tuple(_months())


def near(one: Any, other: Any) -> bool:
    """Equal, but for what divisions leave."""
    return abs(Fraction(one) - Fraction(other)) <= _TINY


def money(rows: Iterable[Row]) -> dict[str, Fraction]:
    """Native amounts by currency."""
    total: dict[str, Fraction] = defaultdict(Fraction)
    for row in rows:
        total[row.currency] += Fraction(row.amount)
    return {currency: amount for currency, amount in total.items() if abs(amount) > _TINY}


@dataclass(frozen=True)
class Seen:
    """One book under one policy."""

    where: str
    events: list[dict[str, Any]]
    policy: Policy
    rows: list[Row]
    positions: frozenset[int]
    #: One row a month each, in the order of `MONTHS`.
    waterfall: list[Told]
    churn: list[Told]
    retention: list[Told]
    #: Retention, were it that of a closed cohort.
    cohort: list[Told]
    #: The ledger told of subscriptions; none where the policy cannot be told so.
    by_subscription: list[Row] | None

    @cached_property
    def judge(self) -> Replay:
        """The same book by the independent replay."""
        return replay(self.events, _knobs(self.policy), base_currency=BASE)

    def known(self, at: datetime) -> Replay:
        """What the replay says of what was recorded by an instant."""
        return replay(self.events, _knobs(self.policy), base_currency=BASE, known_at=at)

    def base(self, native: Mapping[str, Fraction], day: date) -> Fraction:
        """Native amounts at the rates of a day."""
        return self.judge.rates_table.to_base(native, day)

    def movements(self, month: Month, *types: str) -> list[Row]:
        """The movements of a month, of some types or all; exchange rates are none."""
        return [
            row
            for row in self.rows
            if month.eve < row.day <= month.last and row.type != "fx"
            if not types or row.type in types
        ]

    def active(self, day: date) -> frozenset[str]:
        """Who is active at the close of a day, by who came and went."""
        there: dict[str, int] = defaultdict(int)
        for row in self.rows:
            if row.day <= day:
                there[row.customer] += row.customer_delta
        assert set(there.values()) <= {0, 1}, self.where
        return frozenset(customer for customer, count in there.items() if count)

    def levels(self, day: date) -> dict[str, dict[str, Fraction]]:
        """Every customer's native level at the close of a day."""
        until: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            if row.day <= day:
                until[row.customer].append(row)
        return {customer: found for customer, rows in until.items() if (found := money(rows))}

    def replayed(self, day: date) -> dict[str, dict[str, Fraction]]:
        """The same by the replay."""
        close = self.judge._close(day)
        total: dict[str, dict[str, Fraction]] = {}
        for unit in self.judge.units:
            native = unit.moment(day, close).native
            mine = total.setdefault(customer_label(*unit.customer), defaultdict(Fraction))
            for currency, amount in native.items():
                mine[currency] += amount
        return {customer: dict(mine) for customer, mine in total.items() if mine}


def seen(database: Database, policy: Policy, seeds: Iterable[int]) -> Iterator[Seen]:
    """Small random books, each in the emptied database by itself.

    One that renews before its first exchange rate is left out: questions about it are refused.
    """
    for seed in seeds:
        events = random_book(seed, customers=3)
        if not _rated(events, policy):
            continue
        keep_books(emptied(database), events)
        apart = _apart(policy)
        with database.connect() as connection:

            def asked(name: str, connection: Connection = connection) -> list[Told]:
                found = connection.execute(_statements(policy)[name])
                return [dict(row) for row in found.mappings()]

            yield Seen(
                where=f"{seed} {policy}",
                events=events,
                policy=policy,
                rows=derived_rows(connection, policy),
                positions=frozenset(connection.scalars(select(models.event_log.c.position))),
                by_subscription=None if apart is None else derived_rows(connection, apart),
                waterfall=asked("waterfall"),
                churn=asked("churn"),
                retention=asked("retention"),
                cohort=asked("cohort"),
            )


def _rated(events: list[dict[str, Any]], policy: Policy) -> bool:
    judge = replay(events, _knobs(policy), base_currency=BASE)
    try:
        for month in MONTHS:
            judge.mrr_at(month.last)
    except LookupError:
        return False
    return True


def _knobs(policy: Policy) -> dict[str, str | int]:
    return {**preset_policy("default"), **policy.document()["knobs"]}


def engine_of(database: Database, one: Seen) -> MetricsEngine:
    """An engine over a book, with the facts of its policy kept."""
    keep_books(emptied(database), one.events)
    return settled(database, one.policy)


def _apart(policy: Policy) -> Policy | None:
    """The policy with movements of subscriptions, where buckets and activity can be the same."""
    joined = policy.free_plans != "never" or policy.paused == "contraction"
    if joined or policy.netting.startswith("window") or policy.join_churn_same_month == "ignore":
        return None
    return policy.turned({"movement_level": "subscription"})


@cache
def _statements(policy: Policy) -> dict[str, Select[Any]]:
    closed = policy.turned({"rate_population": "start_cohort", "window": "calendar"})
    return {
        "waterfall": _statement(policy, "mrr", "waterfall"),
        "churn": _statement(policy, "churn", "series"),
        "retention": _statement(policy, "retention", "series"),
        "cohort": _statement(closed, "retention", "series"),
    }


def _statement(policy: Policy, metric: str, question: str) -> Select[Any]:
    [kind] = [each for each in METRICS if each.name == metric]
    relations = core_relations(base_currency=BASE)
    q = Query(
        rows=derive(relations, policy).cte("derived_movement"),
        relations=relations,
        policy=policy,
        cube=kind.cube,
        question=kind.questions()[question],
        bound=Bound({}, (), (), (), kind.cube),
    )
    return kind.questions()[question].ask(kind(), q, start=START, end=END, grain="month").statement
