"""A question being asked: from a checked spec to FROM, WHERE and GROUP BY.

`Query` is what a question's method gets. It knows the base rows (a fact table or the same rows
derived on the fly), the relations to join, and how the answer is to be cut; it builds statements
and never runs one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    collate,
    func,
    literal,
    or_,
    select,
    union_all,
)

from tidemill.errors import KnobNotSupported
from tidemill.ledger import Measure
from tidemill.metrics.base import Behind, Check, Question, RateNeed, Table
from tidemill.metrics.binding import Bound, Condition
from tidemill.metrics.columns import Column
from tidemill.metrics.cube import Cube, Dimension, Rollup, Scope, sql_name
from tidemill.metrics.rates import Valued, customer_levels, missing_for_customers, rates_in
from tidemill.periods import Period, instants, period_start
from tidemill.policy import Policy
from tidemill.relations import Relations

__all__ = ["BRANCHES", "Members", "Query"]

BRANCHES: Final = "segment_branches"
"""Under this name the branches of a comparison are joined."""


@dataclass(frozen=True, slots=True)
class Members:
    """Who a question is about.

    only:     the customers of its segment (customer_id, each once); None for all.
    branches: the customers of each segment compared (segment, branch: its place, customer_id; each
              once in a branch); None without a comparison.
    needs:    the rates without which nobody can say.
    """

    only: FromClause | None = None
    branches: FromClause | None = None
    needs: tuple[RateNeed, ...] = ()


@dataclass(frozen=True)
class Query:
    """One question with its base rows, its policy and how to cut it.

    ``rows`` has the columns of the table of the metric's first fact, mostly those of
    `models.metric_mrr_movement`.
    """

    rows: FromClause
    relations: Relations
    policy: Policy
    cube: Cube
    question: Question
    bound: Bound
    #: The movements of MRR where `rows` are not these, and segments are asked for.
    ledger: FromClause | None = None
    #: What `rows` measure: MRR, or a year's value for ARR of another basis.
    measure: Measure = "mrr"
    #: The calendar day up to which anything is known; None when that makes no difference.
    today: date | None = None
    #: Whether the day of base rows is that of their `occurred_at`: indexes know instants.
    dated: bool = False
    #: What may be kept of the sums of base rows.
    rollups: tuple[Rollup, ...] = ()
    #: Names of the tables that are kept as this question wants them.
    kept: frozenset[str] = frozenset()

    @property
    def base_currency(self) -> str:
        """The currency that money columns are in."""
        return self.relations.base_currency

    @cached_property
    def rates(self) -> CTE:
        """The exchange rates into the base currency, in the shape of `fx.daily_rates`."""
        return rates_in(self.relations, self.policy)

    @cached_property
    def rates_of_days(self) -> CTE:
        """The rate of each day also under ``fx = constant``: for money that moved on a day."""
        if self.policy.fx != "constant":
            return self.rates
        # A statement may need both, so each has a name of its own.
        return rates_in(self.relations, replace(self.policy, fx="period_end"), "daily_rate")

    @property
    def carries_rates(self) -> bool:
        """Whether levels keep the rates of their movements or renewals, in base currency."""
        return self.policy.fx in {"at_movement", "at_renewal"}

    @property
    def worth(self) -> Valued:
        """What base rows add to a level: natively, or in base currency where levels carry rates."""
        return self._carried if self.carries_rates else self._native

    @property
    def moved(self) -> Valued:
        """What base rows are worth as movements: natively, to be valued at the rate of their day.

        Only under ``fx = at_movement`` is that what they add to the level; else the difference is
        an effect of exchange rates.
        """
        return self._carried if self.policy.fx == "at_movement" else self._native

    @cached_property
    def _native(self) -> Valued:
        return Valued(self.rows, self.rows.c.currency, self.rows.c.amount_minor)

    @cached_property
    def _carried(self) -> Valued:
        base = literal(self.base_currency, Text)
        return Valued(self.rows, base, self.rows.c.amount_base_minor)

    @cached_property
    def members(self) -> Members:
        """The customers of the question's segments, once for the whole statement."""
        return Members() if self.bound.members is None else self.bound.members(self)

    @cached_property
    def summed(self) -> Query:
        """The same question of the sums of base rows, where some are kept that tell enough apart.

        For what only adds up: its `rows` have a day, what the roll-up tells apart, and sums.
        """
        rollup = self._covering(by_month=False)
        return self if rollup is None else replace(self, rows=rollup.table, dated=False)

    def for_levels(self, until: date) -> Query:
        """The same question of sums from which levels can be made, up to the close of a day.

        For what adds up everything before: its `rows` may stand on the first day of their month,
        but for those of a month that is not over by then, which are themselves.
        """
        rollup = None if self.summed is not self else self._covering(by_month=True)
        if rollup is None:
            return self.summed
        return replace(self, rows=_levels(rollup.table, self.rows, until), dated=False)

    def _covering(self, *, by_month: bool) -> Rollup | None:
        """A roll-up of base rows that is kept, and tells apart all that the question does."""
        conditions = (each.dimension for each in self.bound.conditions)
        used = {each.name for each in (*self.bound.dimensions, *conditions)}
        if self.bound.members is not None:  # a segment is made of customers
            return None
        for each in self.rollups:
            ours = each.table.name in self.kept and each.of in (None, self.rows)
            if ours and each.by_month == by_month and used <= set(each.dimensions):
                return each
        return None

    def elsewhere(self, rows: FromClause, policy: Policy) -> Query:
        """The same question of other rows, under a policy of the same exchange rates.

        Who is in a segment is decided on the rows it was asked of. Both may be in one statement, so
        they share what may be in it only once.
        """
        found = replace(self, rows=rows, policy=policy, rollups=())
        vars(found).update(rates=self.rates, members=self.members)
        return found

    @property
    def movements(self) -> FromClause:
        """The MRR movements that membership of segments is decided on."""
        return self.rows if self.ledger is None else self.ledger

    @property
    def subscriptions(self) -> FromClause:
        """Subscriptions by their key: subscription_id, external_id."""
        return self.relations.subscriptions

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Names of the columns that grouped statements carry, hidden ones included."""
        names: list[str] = []
        for dimension in self.bound.dimensions:
            names += [dimension.label, *dimension.hidden]
        return tuple(names)

    def group_columns(self, of: FromClause) -> list[ColumnElement[Any]]:
        """The grouping columns of a statement built on `select`."""
        return [of.c[name] for name in self.groups]

    def shown_groups(self, of: FromClause) -> list[ColumnElement[Any]]:
        """The grouping columns that results show."""
        return [of.c[each.label].label(each.name) for each in self.bound.dimensions]

    def shown_beside(self, of: FromClause) -> list[ColumnElement[Any]]:
        """As `shown_groups`, without those that the question shows by itself."""
        own = {each.name for each in self.question.columns}
        return [each for each in self.shown_groups(of) if each.name not in own]

    def same_group(self, one: FromClause, other: FromClause) -> ColumnElement[bool]:
        """That two grouped rows belong to the same group."""
        return and_(True, *(one.c[name] == other.c[name] for name in self.groups))

    def group_order(self, of: FromClause) -> list[ColumnElement[Any]]:
        """What rows are sorted by: each dimension's own order, alike on every server."""
        keys: list[ColumnElement[Any]] = []
        for each in self.bound.dimensions:
            if each.order is not None:
                keys.append(of.c[f"{each.label}_order"])
            shown = of.c[each.label]
            keys.append(collate(shown, "C") if each.unit == "text" else shown)
            if each.key is not None:
                keys.append(of.c[f"{each.label}_key"])
        return keys

    def cuts_by(self, kind: str) -> bool:
        """Whether any dimension or filter is of this kind."""
        return any(each.kind == kind for each in self._cuts)

    @property
    def cuts_by_history(self) -> bool:
        """Whether any dimension or filter tells of movements before the day."""
        return any(each.of_history for each in self._cuts)

    @property
    def _cuts(self) -> tuple[Dimension, ...]:
        return (*self.bound.dimensions, *(each.dimension for each in self.bound.conditions))

    def select(
        self,
        until: date,
        columns: Callable[[Scope], Iterable[ColumnElement[Any]]],
        *,
        since: date | None = None,
        joins: Sequence[str] = (),
    ) -> Select[Any]:
        """Base rows up to the close of a day that pass the filters: group columns, then `columns`.

        since: the first day, where not everything up to the close is wanted.
        joins: further joins of the cube that `columns` needs.
        """
        conditions = self.bound.conditions
        used = (*self.bound.dimensions, *(each.dimension for each in conditions))
        names = dict.fromkeys((*self.cube.joins_for(used), *joins))
        joined: dict[str, FromClause] = {}
        scope = Scope(self.rows, joined, self.base_currency)
        source: FromClause = self.rows
        for name in names:
            if (name, until) not in self._targets:
                self._targets[name, until] = self._target(name, until)
            joined[name] = self._targets[name, until]
            source = source.outerjoin(
                joined[name], self.cube.joins[name].condition(scope, joined[name])
            )
        only, branches = self.members.only, self.members.branches
        kept = [_holds(each, scope) for each in conditions]
        if only is not None:
            kept.append(self.rows.c.customer_id.in_(select(only.c.customer_id)))
        if branches is not None:
            joined[BRANCHES] = branches
            source = source.join(branches, branches.c.customer_id == self.rows.c.customer_id)
        groups = [column for each in self.bound.dimensions for column in each.columns(scope)]
        return (
            select(*groups, *columns(scope))
            .select_from(source)
            .where(*self._within(since, until), *kept)
        )

    def _within(self, since: date | None, until: date) -> list[ColumnElement[bool]]:
        """That base rows are of these days, both included; since None, of all days before."""
        rows = self.rows.c
        if not self.dated:
            return [rows.day <= until, *([] if since is None else [rows.day >= since])]
        over = instants(until, until, self.policy.tz).end_exclusive
        if since is None:
            return [rows.occurred_at < over]
        begun = instants(since, until, self.policy.tz).start
        return [rows.occurred_at >= begun, rows.occurred_at < over]

    @cached_property
    def _targets(self) -> dict[tuple[str, date], FromClause]:
        """Joined relations by join and day: a statement that selects twice must share them."""
        return {}

    def _target(self, join: str, until: date) -> FromClause:
        relation = self.cube.joins[join].relation
        match relation:
            case "customer_levels":
                if self.measure != "mrr":
                    raise KnobNotSupported("arr_basis", self.policy.arr_basis, ["mrr_x12"])
                levels = customer_levels(self.worth, self.rates, until, number=len(self._targets))
                return levels.subquery(join)
            case _:
                found: FromClause = getattr(self.relations, relation)
                return found.alias(sql_name(join))

    def table(
        self,
        statement: Select[Any],
        *,
        periods: Sequence[Period],
        behind: Behind,
        needs: Sequence[RateNeed] = (),
        warnings: Sequence[str] = (),
        checks: Sequence[Check] = (),
    ) -> Table:
        """The declared answer: the dimensions and the question's columns, made by a statement."""
        dimensions = [_column(each) for each in self.bound.dimensions]
        taken = {each.name for each in self.question.columns}
        declared = [each.in_base(self.base_currency) for each in self.question.columns]
        banded = "customer_levels" in self.cube.joins_for(
            (*self.bound.dimensions, *(each.dimension for each in self.bound.conditions))
        )
        eager = list(self.carried_needs(behind.end))
        if banded:
            missing = missing_for_customers(self.worth, self.rates, behind.end)
            eager.append(RateNeed(missing, eager=True))
        return Table(
            columns=(*(each for each in dimensions if each.name not in taken), *declared),
            statement=statement,
            periods=tuple(periods),
            behind=behind,
            needs=(*self.members.needs, *eager, *needs),
            warnings=tuple(warnings),
            checks=tuple(checks),
        )

    def carried_needs(self, until: date) -> tuple[RateNeed, ...]:
        """The rates that base rows should carry, where the policy has them carry any."""
        if not self.carries_rates or "amount_base_minor" not in self.rows.c:
            return ()
        return (RateNeed(self._without_carried_rate(until), eager=True),)

    def _without_carried_rate(self, until: date) -> Select[Any]:
        """The movements that should carry a rate and have none: they would vanish from sums."""
        rows = self.rows.c
        found = self.select(until, lambda _: [rows.currency.label("native"), rows.day.label("on")])
        found = found.where(rows.amount_base_minor.is_(None), rows.amount_minor != 0)
        lost = found.subquery("lost")
        return select(lost.c.native, lost.c.on).distinct()


def _levels(kept: FromClause, rows: FromClause, until: date) -> FromClause:
    """The sums of the months that are over by the close of a day, and the rows after these."""
    open_from = period_start(until + timedelta(days=1), "month")
    sums = ("source_id", "currency", "interval", "interval_count")
    amounts = ("amount_minor", "amount_base_minor")
    texts = ("plan", "product")
    # What is empty there is null in the rows.
    told = [func.nullif(kept.c[name], "").label(name) for name in texts]
    names = (*sums, *amounts)
    over = select(kept.c.month.label("day"), *(kept.c[name] for name in names), *told)
    rest = select(rows.c.day, *(rows.c[name] for name in (*names, *texts)))
    return union_all(
        over.where(kept.c.month < open_from), rest.where(rows.c.day >= open_from)
    ).subquery("level_part")


def _column(dimension: Dimension) -> Column:
    return Column(dimension.name, dimension.unit, dimension.doc, dimension=True)


def _holds(condition: Condition, scope: Scope) -> ColumnElement[bool]:
    """A filter as SQL; values are bound parameters."""
    shown = condition.dimension.shown(scope)
    match condition.operator:
        case "=":
            return shown.in_(condition.values)
        case "!=":
            return shown.not_in(condition.values)
        case "~=":
            return or_(*(shown.icontains(each, autoescape=True) for each in condition.values))
