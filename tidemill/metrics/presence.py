"""Presence: who was there when a window opened, who came and who left inside it.

A customer's rows say when it became active (+1) and stopped being so (-1). These alternate, so the
first of them inside a window tells whether the customer was there when it opened: nobody's earlier
history has to be looked at. Cut by plans or other parts of a customer, a customer is where it pays,
and comes and goes as its level there leaves zero and returns to it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    and_,
    case,
    cast,
    false,
    func,
    or_,
    select,
    true,
    union_all,
)

from tidemill.errors import KnobNotSupported
from tidemill.knobs import parameter
from tidemill.ledger.months import visit_columns
from tidemill.metrics.levels import overlap, require_levels_tell
from tidemill.metrics.months import kept_months, kept_places
from tidemill.metrics.query import Query
from tidemill.metrics.windows import Part, Rate, Windows
from tidemill.vocabulary import MovementType

__all__ = ["Presence"]

# How `models.metric_mrr_monthly` names what each value of logo_numerator counts.
_LOST: Final = {
    "net_start_cohort": "lost_net",
    "events_start_cohort": "lost_there",
    "events_all": "lost_all",
}


class Presence:
    """The customers of a query's groups through its windows."""

    def __init__(self, q: Query, windows: Windows) -> None:
        """Prepare to look; nothing is built before it is asked for."""
        self.q = q
        self.windows = windows

    def logo_churn(self) -> Rate:
        """Customers lost over customers there were, as the policy counts both.

        Formula: by logo_numerator, those there at the opening and not at the end
                 (net_start_cohort); churns of those there at the opening (events_start_cohort); all
                 churns (events_all). Over those there at the opening, with logo_denominator =
                 start_plus_new also over the new ones.
        """
        there, passing = self._there, self._passing
        bottom = there.of("customers")
        if self.q.policy.logo_denominator == "start_plus_new":
            bottom = bottom + passing.of("joined")
        return Rate(passing.of("lost"), bottom, (there, passing), "lost")

    def lost_of(self, visit: FromClause) -> ColumnElement[int]:
        """How often a visit (see `visits`) is counted as lost, by logo_numerator."""
        match self.q.policy.logo_numerator:
            case "net_start_cohort":
                return cast(visit.c.net < 0, Integer)
            case "events_start_cohort":
                return case((visit.c.was_there, visit.c.left_count), else_=0)
            case _:
                return visit.c.left_count

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know of counts in groups that share customers."""
        return overlap(self.q)

    @cached_property
    def entrants(self) -> CTE:
        """Those who came inside a window and were not there when it opened.

        Shape: group columns, customer_id, place.
        """
        found = self.visits
        keys = [*self.q.group_columns(found), found.c.customer_id, found.c.place]
        return select(*keys).where(found.c.was_there.is_(False)).cte("entrant")

    @property
    def newcomers(self) -> Part:
        """New customers of each window: group columns, place, joined.

        Raises: KnobNotSupported where items cut movements that are told of subscriptions.
        """
        if not self.q.cuts_by("item"):
            return self._passing
        if self.q.policy.movement_level != "customer":
            raise KnobNotSupported("movement_level", self.q.policy.movement_level, ["customer"])
        rows, windows = self.q.rows.c, self.windows
        told = self.q.select(
            windows.end,
            lambda _: [rows.customer_id.label("customer_id"), rows.day.label("day")],
        ).where(windows.within(rows.day), rows.type == MovementType.NEW.value)
        new, days = told.subquery("new_row"), windows.days
        line = [*self.q.group_columns(new), days.c.place]
        joined = func.count(new.c.customer_id.distinct())
        found = select(*line, joined.label("joined")).join_from(new, days, days.c.day == new.c.day)
        return Part(found.group_by(*line).cte("newcomer"))

    @cached_property
    def _there(self) -> Part:
        """Customers active at each opening: group columns, place, customers."""
        turns, windows = self._net_turns, self.windows
        groups = self.q.group_columns(turns)
        opened = windows.opened_before(turns.c.day).label("opened")
        early = select(*groups, opened, func.sum(turns.c.delta).label("delta"))
        grouped = early.group_by(*groups, opened).subquery("early_turn")
        window, line = windows.cte, self.q.group_columns(grouped)
        total = func.sum(grouped.c.delta)
        rows = (
            select(*line, window.c.place, cast(total, BigInteger).label("customers"))
            .join_from(grouped, window, window.c.opens > grouped.c.opened)
            .group_by(*line, window.c.place)
            .having(total != 0)
        )
        return Part(rows.cte("customers_there"))

    @cached_property
    def kept(self) -> CTE | None:
        """The windows whose sums are kept, see `months.kept_months`; None when none is."""
        places = kept_places(self.q, self.windows)
        return kept_months(self.windows, places) if places else None

    @cached_property
    def rest(self) -> Presence | None:
        """The presence in the windows whose sums are not kept; None when all are."""
        kept = kept_places(self.q, self.windows)
        if not kept:
            return self
        left = frozenset(range(1, len(self.windows.spans) + 1)) - kept
        return Presence(self.q, self.windows.of_places(left)) if left else None

    @cached_property
    def _passing(self) -> Part:
        """Who came and left inside each window: group columns, place, lost, joined."""
        passed = []
        if self.kept is not None:
            row, lost = self.kept, self.kept.c[_LOST[self.q.policy.logo_numerator]]
            counts = (lost.label("lost"), row.c.joined)
            passed.append(select(row.c.place, *counts).where(row.c.currency == ""))
        if self.rest is not None:
            passed.append(self._passed(self.rest.visits))
        rows = passed[0] if len(passed) == 1 else union_all(*passed)
        return Part(rows.cte("customers_passing"))

    def _passed(self, visit: FromClause) -> Select[Any]:
        line = self.q.group_columns(visit)
        lost = func.sum(self.lost_of(visit))
        return select(
            *line,
            visit.c.place,
            cast(func.coalesce(lost, 0), BigInteger).label("lost"),
            cast(func.sum(visit.c.new_count), BigInteger).label("joined"),
        ).group_by(*line, visit.c.place)

    @cached_property
    def visits(self) -> CTE:
        """What each customer did in a window: was_there, net, left_count, new_count."""
        turns, days = self.turns, self.windows.days
        keys = [*self.q.group_columns(turns), turns.c.customer_id, days.c.place]
        return (
            select(*keys, *visit_columns(turns))
            .join_from(turns, days, days.c.day == turns.c.day)
            .where(self.windows.within(turns.c.day))
            .group_by(*keys)
            .cte("visit")
        )

    @cached_property
    def _net_turns(self) -> FromClause:
        """Comings and goings up to the end, perhaps netted: group columns, day, delta."""
        if self.q.cuts_by("item"):
            return self.turns
        q = self.q.summed
        told = q.select(
            self.windows.end,
            lambda _: [q.rows.c.day.label("day"), q.rows.c.customer_delta.label("delta")],
        )
        return told.where(q.rows.c.customer_delta != 0).subquery("net_turn")

    @cached_property
    def turns(self) -> CTE:
        """Every coming (+1) and going (-1) up to the end.

        Shape: group columns, customer_id, day, moment, delta, is_new.
        """
        if self.q.cuts_by("item"):
            return self._item_turns().cte("presence")
        rows = self.q.rows.c
        told = self.q.select(
            self.windows.end,
            lambda _: [
                rows.customer_id.label("customer_id"),
                rows.day.label("day"),
                rows.occurred_at.label("moment"),
                rows.customer_delta.label("delta"),
                rows.type.label("movement_type"),
            ],
        ).where(rows.customer_delta != 0)
        turn = told.subquery("told_turn")
        kept = [column for column in turn.c if column.name != "movement_type"]
        return select(*kept, self._is_new(turn).label("is_new")).cte("presence")

    def _is_new(self, turn: FromClause) -> ColumnElement[bool]:
        """Whether a coming is of a new customer, and not of one who returns."""
        if self.q.policy.movement_level == "customer":
            return and_(turn.c.delta > 0, turn.c.movement_type == MovementType.NEW.value)
        # The movements' types are of subscriptions; by `reactivation` customers are judged here.
        left = func.lag(turn.c.moment).over(
            partition_by=turn.c.customer_id, order_by=(turn.c.day, turn.c.moment)
        )
        word, days = parameter(self.q.policy.reactivation)
        late: ColumnElement[bool] = false() if word == "forever" else true()
        if word == "within":
            late = turn.c.moment - left > func.make_interval(0, 0, 0, 0, 24 * (days or 0))
        return and_(turn.c.delta > 0, or_(left.is_(None), late))

    def _item_turns(self) -> Select[Any]:
        """Levels in groups that become positive, or zero, as comings and goings.

        Raises: KnobNotSupported where levels do not tell who is a customer, or who is new.
        """
        require_levels_tell(self.q)
        if self.q.policy.logo_denominator != "start":
            raise KnobNotSupported("logo_denominator", self.q.policy.logo_denominator, ["start"])
        rows = self.q.rows.c
        moved = self.q.select(
            self.windows.end,
            lambda _: [
                rows.customer_id.label("customer_id"),
                rows.day.label("day"),
                rows.occurred_at.label("moment"),
                rows.amount_minor.label("moved"),
            ],
        ).subquery("item_move")
        line = [*self.q.group_columns(moved), moved.c.customer_id]
        when = (moved.c.day, moved.c.moment)
        net = select(*line, *when, func.sum(moved.c.moved).label("moved")).group_by(*line, *when)
        step = net.subquery("item_step")
        level = func.sum(step.c.moved).over(
            partition_by=[step.c[each.name] for each in line], order_by=(step.c.day, step.c.moment)
        )
        stands = select(step, cast(level > 0, Integer).label("there")).subquery("stands_there")
        keys = [stands.c[each.name] for each in line]
        before = func.lag(stands.c.there, 1, 0).over(
            partition_by=keys, order_by=(stands.c.day, stands.c.moment)
        )
        delta = (stands.c.there - before).label("delta")
        turn = select(*keys, stands.c.day, stands.c.moment, delta).subquery("item_turn")
        return select(turn, false().label("is_new")).where(turn.c.delta != 0)
