"""From a checked question to a result: one read-only snapshot of the database.

All statements of an answer (what to warn of, the answer itself, the rows behind it) see the
database of one moment, so they cannot contradict each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, FromClause, func, select

from tidemill.database import Database
from tidemill.engine.caveats import undefined, unfinished
from tidemill.engine.notices import Notices, ledger_of
from tidemill.engine.providing import Provider
from tidemill.engine.reading import columns_read
from tidemill.engine.scratch import Scratch
from tidemill.engine.side_by_side import derive_side_by_side
from tidemill.engine.sql import readable
from tidemill.errors import KnobNotSupported, MissingRate
from tidemill.in_force import kept_facts, same_ledger
from tidemill.knobs import parameter
from tidemill.ledger import Fact, Measure, derive, held_before, standing, stands_by_itself
from tidemill.metrics import METRICS
from tidemill.metrics.base import Behind, Question, RateNeed, Table
from tidemill.metrics.binding import Bound
from tidemill.metrics.catalogue import MetricInfo
from tidemill.metrics.cube import Rollup
from tidemill.metrics.movement_cube import MRR_MOVEMENTS
from tidemill.metrics.paging import CURSOR, Page, cut, more_rows, without_places
from tidemill.metrics.query import Query
from tidemill.metrics.result import Result
from tidemill.periods import day_of
from tidemill.policy import Policy
from tidemill.relations import Relations
from tidemill.reports import plot

__all__ = ["Asked", "Asker", "asking", "require_honoured", "told"]

# Has the columns of movements, for whoever asks which are read.
_STAND_IN: Final = MRR_MOVEMENTS.table.alias("stand_in")
# More missing rates than this are not listed one by one.
_LISTED_MAX = 1000


@dataclass(frozen=True)
class Asked:
    """A checked question with everything that decides its answer."""

    info: MetricInfo
    question: Question
    bound: Bound
    policy: Policy
    known_at: datetime | None
    as_of: datetime
    #: What it is answered from.
    provider: Provider


@dataclass(frozen=True)
class Asker:
    """Answers questions in one snapshot."""

    snapshot: Connection
    #: Gives what the snapshot says of itself; while it is looked at, nothing else can be asked.
    look: Callable[[], Notices]
    base_currency: str
    #: The configured policy, for a store in which nothing says under which one facts were kept.
    configured: Policy
    #: Where derived ledgers are kept while it asks; None derives each time.
    scratch: Scratch | None = None

    @property
    def notices(self) -> Notices:
        """What is to be known beside every answer."""
        return self.look()

    @property
    def connection(self) -> Connection:
        """Where the next statement can be asked."""
        self.look()
        return self.snapshot

    def answer(self, asked: Asked) -> Result:
        """The answer; its SQL, explanation and rows behind are made when asked for.

        Raises: MissingRate, BooksDoNotClose.
        """
        return self._result(asked, self._table(asked))

    def behind(self, asked: Asked, *, rows_max: int | None = None) -> Result:
        """The rows that an answer rests on, filtered alike, the first `rows_max` of them."""
        return self.movements(asked, self.behind_of(asked), rows_max=rows_max)

    def behind_of(self, asked: Asked) -> Behind:
        """Which rows an answer rests on."""
        query = self._query(asked, _STAND_IN if self._is_derived(asked) else None)
        return asked.question.ask(asked.info.kind(), query, **asked.bound.params).behind

    def movements(self, asked: Asked, behind: Behind, *, rows_max: int | None = None) -> Result:
        """The rows of a range (movements, unless the metric stands on others), filtered alike."""
        metric, question = behind.listing or asked.info.kind.listing
        kind = next(each for each in METRICS if each.name == metric)
        listing, span = kind.questions()[question], {"start": behind.start, "end": behind.end}
        bound = replace(asked.bound, params=span, dimensions=(), page=Page(rows_max))
        info = replace(asked.info, name=metric, kind=kind)
        rows = replace(asked, info=info, question=listing, bound=bound)
        return self._result(rows, self._table(rows))

    def customers_of(self, name: str, asked: Asked) -> list[str]:
        """The ids under which the ledger keeps the customers of this vendor id.

        A customer that was merged into another is that other one, unless the policy keeps them
        apart; one id may stand for customers of several sources.
        """
        relations = asked.provider.relations(
            base_currency=self.base_currency, known_at=asked.known_at
        )
        named, owner = relations.customers, relations.customers.alias("owner")
        merged = relations.identities
        owner_id: ColumnElement[Any] = named.c.customer_id
        source = named
        if asked.policy.identity == "merged":
            source = named.outerjoin(merged, merged.c.customer_id == named.c.customer_id)
            owner_id = func.coalesce(merged.c.canonical_id, named.c.customer_id)
        found = (
            select(owner.c.external_id)
            .select_from(source.join(owner, owner.c.customer_id == owner_id))
            .where(named.c.external_id == name)
            .distinct()
        )
        return sorted(self.connection.execute(found).scalars())

    def _result(self, asked: Asked, table: Table) -> Result:
        rows, following = cut(self._rows(table), asked.bound.page)
        warnings = [*table.warnings, *undefined(table, rows)]
        if following is not None:
            listing = f"{asked.info.name} {asked.question.name}"
            warnings.append(more_rows(listing, len(rows), following))
        open_periods = unfinished(table.periods, _known(asked), asked.policy.tz)
        return Result(
            metric=asked.info.name,
            question=asked.question.name,
            params=asked.bound.params,
            columns=table.columns,
            rows=tuple(rows),
            policy=asked.policy,
            as_of=asked.as_of,
            known_at=asked.known_at,
            complete=not open_periods,
            warnings=(*open_periods, *warnings, *self.notices.warnings, *self._stale(asked)),
            freshness=self.notices.freshness,
            dimensions=tuple(each.name for each in asked.bound.dimensions),
            filters=asked.bound.filters,
            segments=asked.bound.segments,
            following=following,
            _sql=lambda: readable(without_places(table.statement)),
            _plot=plot,
        )

    def _stale(self, asked: Asked) -> tuple[str, ...]:
        """That the facts are not those of the configured policy, where that is what was asked."""
        if asked.known_at is not None or ledger_of(asked.policy) != ledger_of(self.configured):
            return ()
        return self.notices.stale(self.configured, self.base_currency)

    def _rows(self, table: Table) -> list[dict[str, Any]]:
        """The rows, checked: nothing in them rests on a rate that is not there."""
        self._refuse_missing([need for need in table.needs if need.eager])
        names = [column.name for column in table.columns]
        read = table.statement.selected_columns.keys()
        declared = [name for name in read if name != CURSOR]
        assert table.worked or names == declared, "the statement is not as declared"
        found = self.connection.execute(table.statement)
        rows = [dict(zip(read, row, strict=True)) for row in found]
        rows = table.worked(rows) if table.worked else rows
        never_null = [column.name for column in table.columns if not column.nullable]
        if any(row[name] is None for row in rows for name in never_null):
            self._refuse_missing(table.needs)
            # Not reached: a number is missing only where a rate is, and that has been refused.
            raise AssertionError("a number is missing although every rate is there")
        for check in table.checks:
            check(rows)
        return rows

    def _refuse_missing(self, needs: Sequence[RateNeed]) -> None:
        """Name every currency and day without a rate.

        Raises: MissingRate when there is one.
        """
        pairs: set[tuple[str, Any]] = set()
        for need in needs:
            found = self.connection.execute(need.statement.limit(_LISTED_MAX))
            pairs |= {(currency, day) for currency, day in found}
        if pairs:
            (currency, day), *others = sorted(pairs)
            raise MissingRate(currency, day, self.base_currency, others)

    def _table(self, asked: Asked) -> Table:
        """The answer as declared, of rows with no more columns than it reads."""

        def ask(query: Query) -> Table:
            return asked.question.ask(asked.info.kind(), query, **asked.bound.params)

        if not self._is_derived(asked):
            return ask(self._query(asked))
        query = self._query(asked, _STAND_IN)
        said = ask(query)
        read = columns_read([said.statement, *(each.statement for each in said.needs)], _STAND_IN)
        rows = self._ledger(asked, query.relations, query.measure, read)
        return ask(replace(query, rows=rows))

    def _query(self, asked: Asked, rows: FromClause | None = None) -> Query:
        """The question's query.

        rows: stand in for the movements, where they are derived.
        """
        asked.provider.require(asked.policy, asked.known_at)
        measure = asked.info.kind.ledger_measure(asked.policy)
        stands = rows is None and self._stands(asked, measure)
        relations = asked.provider.relations(
            base_currency=self.base_currency,
            known_at=asked.known_at,
            taxed=asked.policy.tax == "include",
            held_at=held_before(asked.policy, asked.bound.params["at"]) if stands else None,
        )
        own = self._own_rows(asked, relations)
        if rows is None:
            rows = self._standing(asked, relations, measure) if own is None else own
        # Who is in a segment is decided on MRR, whatever the question adds up.
        by_mrr = asked.bound.members is not None and (own is not None or measure != "mrr")
        return Query(
            rows=self._ledger(asked, relations, measure) if rows is None else rows,
            rollups=asked.bound.cube.rollups if own is None else _rollups_of(asked),
            kept=self._kept_tables(asked),
            ledger=self._ledger(asked, relations, "mrr", name="derived_mrr") if by_mrr else None,
            relations=relations,
            policy=asked.policy,
            cube=asked.bound.cube,
            question=asked.question,
            bound=asked.bound,
            measure=measure,
            today=day_of(_known(asked), asked.policy.tz),
            dated=asked.info.kind.rows is not None,
        )

    def _is_derived(self, asked: Asked) -> bool:
        """Whether a question's rows are movements that are derived for it alone."""
        kind = asked.info.kind
        measure = kind.ledger_measure(asked.policy)
        return (
            kind.rows is None
            and kind.facts[0] is MRR_MOVEMENTS
            and not self._stands(asked, measure)
            and not (measure == "mrr" and self._is_kept(asked, MRR_MOVEMENTS))
            and not (self.scratch is not None and self.scratch.keeps)
        )

    def _ledger(
        self,
        asked: Asked,
        relations: Relations,
        measure: Measure,
        columns: frozenset[str] | None = None,
        *,
        name: str = "derived_movement",
    ) -> FromClause:
        """The movements: as they are kept, or else derived.

        name: of the derived ones; two kinds of them may be in one statement.
        """
        if measure == "mrr" and self._is_kept(asked, MRR_MOVEMENTS):
            return MRR_MOVEMENTS.table
        if self.scratch is not None and self.scratch.keeps:
            return self.scratch.rows(
                (ledger_of(asked.policy), measure, asked.known_at),
                lambda: derive(relations, asked.policy, measure=measure),
            )
        by_both = asked.provider.keeps_facts
        derived = derive_side_by_side if by_both else derive
        rows = derived(relations, asked.policy, measure=measure, columns=columns)
        return rows.cte(name)

    def _standing(self, asked: Asked, relations: Relations, measure: Measure) -> FromClause | None:
        """What stands on the day of a question that asks no more; None where it is not enough."""
        if not self._stands(asked, measure):
            return None
        at = asked.bound.params["at"]
        return standing(relations, asked.policy, at, measure=measure).cte("standing_item")

    def _stands(self, asked: Asked, measure: Measure) -> bool:
        """Whether a question is answered from what stands on its day.

        Where movements are kept, or will be for others who ask, there is nothing to gain.
        """
        bound = asked.bound
        cuts = (*bound.dimensions, *(each.dimension for each in bound.conditions))
        return (
            asked.question.standing
            and stands_by_itself(asked.policy)
            and bound.members is None
            and not any(each.of_history for each in cuts)
            and not (self.scratch is not None and self.scratch.keeps)
            and not (measure == "mrr" and self._is_kept(asked, MRR_MOVEMENTS))
        )

    def _own_rows(self, asked: Asked, relations: Relations) -> FromClause | None:
        """What a metric stands on that does not stand on movements; None for those that do."""
        kind = asked.info.kind
        if kind.rows is not None:
            return kind.rows.make(relations, asked.policy).subquery("base_row")
        fact = kind.facts[0]
        if fact is MRR_MOVEMENTS:
            return None
        if self._is_kept(asked, fact):
            return fact.table
        return fact.derive(relations, asked.policy).cte("derived_row")

    def _is_kept(self, asked: Asked, fact: Fact) -> bool:
        """Whether the table of a fact holds what is asked: all of it, as known now, as defined."""
        return fact.table.name in self._kept_tables(asked)

    def _kept_tables(self, asked: Asked) -> frozenset[str]:
        """The tables that hold what is asked."""
        if not asked.provider.keeps_facts or asked.known_at is not None:
            return frozenset()
        kept = self.notices.facts_policy or self.configured.document()
        if same_ledger(asked.policy, self.base_currency, kept):
            return kept_facts(kept)
        return frozenset()


def told(notices: Notices) -> Callable[[], Notices]:
    """For an `Asker` whose snapshot was looked at already."""
    return lambda: notices


@contextmanager
def asking(
    database: Database, asked: Asked, *, base_currency: str, configured: Policy
) -> Iterator[Asker]:
    """A snapshot to ask in; its notices are as `asked` wants them known.

    They take a billing database as long as we need to put a statement together: both at once.
    """
    with database.snapshot() as connection, ThreadPoolExecutor(1) as beside:
        look = beside.submit(asked.provider.notices, connection, asked.known_at)
        yield Asker(connection, look.result, base_currency, configured)


def _rollups_of(asked: Asked) -> tuple[Rollup, ...]:
    """What may be kept of the sums of a metric's own rows."""
    own = asked.info.kind.rows
    return () if own is None else own.rollups


def require_honoured(info: MetricInfo, policy: Policy) -> None:
    """Refuse a policy that the ledger or this metric does not honour: never ignored in silence.

    Raises: KnobNotSupported.
    """
    for knob, supported in info.kind.knobs.items():
        value = str(getattr(policy, knob))
        word, number = parameter(value)
        if value not in supported and (number is None or f"{word}:N" not in supported):
            raise KnobNotSupported(knob, value, supported)


def _known(asked: Asked) -> datetime:
    """The instant up to which an answer knows anything."""
    return min(asked.as_of, asked.known_at or asked.as_of)
