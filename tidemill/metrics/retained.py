"""Retained MRR: what became of the MRR that was there when a window opened.

A cohort's MRR is valued at the rates of the opening day on both sides, so no exchange rate ever
looks like retention. Rates made of movements count each movement at the rate of its own day, and
the opening as MRR itself is counted. Only rows dated inside a window are looked at customer by
customer; the opening is a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Numeric,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    select,
    union_all,
)

from tidemill.ledger.movements import FX_TYPE
from tidemill.metrics.base import RateNeed
from tidemill.metrics.months import cohort_of_months
from tidemill.metrics.presence import Presence
from tidemill.metrics.query import Query
from tidemill.metrics.rates import Valued, rates_by_day, whole_sum
from tidemill.metrics.windows import Part, Rate, Windows
from tidemill.vocabulary import MovementType

__all__ = ["Retained"]

_GAINS = (MovementType.NEW, MovementType.EXPANSION)
_LOSSES = (MovementType.CONTRACTION, MovementType.CHURN)


class Retained:
    """The MRR of a query's groups through its windows."""

    def __init__(self, q: Query, windows: Windows, presence: Presence | None = None) -> None:
        """Prepare to look; nothing is built before it is asked for.

        presence: of the same windows, where there is one already.
        """
        self.q = q
        self.windows = windows
        self.presence = presence or Presence(q, windows)

    def nrr(self) -> Rate:
        """Net revenue retention.

        Formula: start_cohort: MRR at the end over MRR at the opening, of those there at the
                 opening. all_movements: (opening + expansion + contraction + churn) / opening, with
                 reactivation_in_nrr = yes also + reactivation; losses are negative. By nrr_window
                 over the period, over the twelve months to its end, or the product of the rates of
                 these months; the product's numerator is what the first opening would have become.
        """
        if not self.windows.further:  # net churn looks at the windows of churn, whatever NRR does
            return self._nrr
        if self.q.policy.nrr_window == "12m_cohort":
            return self._over_twelve_months()
        return self._chained()

    @cached_property
    def _nrr(self) -> Rate:
        if self.q.policy.rate_population == "start_cohort":
            opening, cohort = self._cohort_opening, self._cohort
            whole = opening.of("opening")
            return Rate(whole + cohort.of("change"), whole, (opening, cohort), "kept")
        opening, moved = self._opening, self._all_moved
        types = [MovementType.EXPANSION, *_LOSSES]
        if self.q.policy.reactivation_in_nrr == "yes":
            types.append(MovementType.REACTIVATION)
        whole = opening.of("opening")
        return Rate(whole + _total(moved, *types), whole, (opening, moved), "kept")

    def _over_twelve_months(self) -> Rate:
        """The rates of the further windows, each at the place of its period."""
        rates, count = self._nrr_of_windows, len(self.windows.calendar.periods)
        line = self.q.group_columns(rates)
        moved = select(*line, (rates.c.place - count).label("place"), rates.c.top, rates.c.bottom)
        part = Part(moved.where(rates.c.place > count).cte("year_rate"), self._nrr_needs)
        return Rate(part.of("top"), part.of("bottom"), (part,))

    def _chained(self) -> Rate:
        """The product of twelve monthly rates; undefined when one of them is."""
        rates, step = self._nrr_of_windows, self.windows.chain
        quotient = cast(rates.c.top, Numeric) / func.nullif(rates.c.bottom, 0)
        line = self.q.group_columns(rates)
        product: ColumnElement[Any] = cast(literal(1), Numeric)
        for number in range(1, 13):
            product = product * func.max(quotient).filter(step.c.step == number)
        first = func.max(rates.c.bottom).filter(step.c.step == 1)
        chained = (
            select(*line, step.c.place, (product * first).label("top"), first.label("bottom"))
            .join_from(rates, step, step.c.window == rates.c.place)
            .group_by(*line, step.c.place)
            .subquery("chained")
        )
        # Where a month's rate is undefined, so is the product: nothing can be divided by.
        bottom = case((chained.c.top.is_(None), 0), else_=chained.c.bottom)
        keys = [*self.q.group_columns(chained), chained.c.place]
        top = func.coalesce(chained.c.top, 0).label("top")
        part = Part(select(*keys, top, bottom.label("bottom")).cte("chained_rate"), self._nrr_needs)
        return Rate(part.of("top"), part.of("bottom"), (part,))

    @property
    def _nrr_needs(self) -> tuple[RateNeed, ...]:
        return tuple(need for part in self._nrr.parts for need in part.needs)

    @cached_property
    def _nrr_of_windows(self) -> CTE:
        """Both sides of NRR in every window: group columns, place, top, bottom."""
        rate = self._nrr
        opening, moved = (part.rows for part in rate.parts)
        line = [*self.q.group_columns(opening), opening.c.place]
        same = and_(opening.c.place == moved.c.place, self.q.same_group(opening, moved))
        return (
            select(*line, rate.top.label("top"), rate.bottom.label("bottom"))
            .select_from(opening.outerjoin(moved, same))
            .cte("nrr_of_window")
        )

    def grr(self) -> Rate:
        """Gross revenue retention.

        Formula: cohort_min: the lesser of MRR at the opening and at the end, customer by customer,
                 over MRR at the opening, of those there at the opening. movements: (opening +
                 contraction + churn) / opening, of rate_population; losses are negative.
        """
        if self.q.policy.grr_method == "cohort_min":
            opening, cohort = self._cohort_opening, self._cohort
            whole = opening.of("opening")
            return Rate(whole + cohort.of("shrinkage"), whole, (opening, cohort), "kept")
        if self.q.policy.rate_population == "start_cohort":
            opening, moved = self._cohort_opening, self._cohort_moved
        else:
            opening, moved = self._opening, self._all_moved
        whole = opening.of("opening")
        return Rate(whole + _total(moved, *_LOSSES), whole, (opening, moved), "kept")

    def net_new(self) -> Rate:
        """The sum of all movements, over one: an amount beside rates."""
        moved = self._all_moved
        return Rate(_total(moved, *MovementType), literal(1), (moved,))

    def growth(self) -> Rate:
        """The sum of all movements over MRR at the opening; what exchange rates did is neither."""
        opening, moved = self._opening, self._all_moved
        return Rate(_total(moved, *MovementType), opening.of("opening"), (opening, moved))

    def churn(self, kind: Literal["logo", "gross_mrr", "net_mrr"]) -> Rate:
        """What was lost of what there was, in each window itself: customers or MRR."""
        if kind == "logo":
            return self.presence.logo_churn()
        return (self.grr() if kind == "gross_mrr" else self._nrr).lost()

    def quick_ratio(self) -> Rate:
        """MRR gained over MRR lost; by quick_ratio_reactivation what returned is gained too."""
        moved = self._all_moved
        gains = list(_GAINS)
        if self.q.policy.quick_ratio_reactivation == "yes":
            gains.append(MovementType.REACTIVATION)
        return Rate(_total(moved, *gains), -_total(moved, *_LOSSES), (moved,))

    def sale_price(self) -> Rate:
        """What new customers pay when they join, over how many they are."""
        moved, joined = self._all_moved, self.presence.newcomers
        return Rate(_total(moved, MovementType.NEW), joined.of("joined"), (moved, joined))

    # --- what was there -------------------------------------------------------------------------

    @cached_property
    def _opening(self) -> Part:
        """MRR at each opening as the metric `mrr` tells it."""
        if not self.q.carries_rates:
            return self._cohort_opening
        return self._opened(self.q.summed.worth, "")

    @cached_property
    def _cohort_opening(self) -> Part:
        """MRR at each opening at that day's rates, whatever rates levels carry."""
        rows = self.q.summed.rows
        return self._opened(Valued(rows, rows.c.currency, rows.c.amount_minor), "cohort_")

    def _opened(self, worth: Valued, prefix: str) -> Part:
        """Levels at the openings: group columns, place, opening.

        worth: of the rows of `Query.summed`.
        """
        q, windows, day = self.q, self.windows, worth.rows.c.day
        moved = q.summed.select(
            windows.end,
            lambda _: [
                worth.currency.label("native_currency"),
                windows.opened_before(day).label("opened"),
                worth.amount.label("moved"),
            ],
        ).where(day <= windows.openings[-1])
        early = _summed(moved.subquery("early_move"), "moved").subquery("early_level")
        window, line = windows.cte, q.group_columns(early)
        keys = [*line, window.c.place, window.c.eve, early.c.native_currency]
        total = func.sum(early.c.moved)
        level = (
            select(*keys, total.label("level"))
            .join_from(early, window, window.c.opens > early.c.opened)
            .group_by(*keys)
            .having(total != 0)
            .cte(f"{prefix}opening_level")
        )
        rate = rates_by_day(q.rates, level, ("native_currency", "eve"), f"{prefix}opening_rate")
        priced = _priced(level, "eve", rate).subquery("priced_level")
        rows = (
            select(
                *q.group_columns(priced),
                priced.c.place,
                whole_sum(priced.c.level, priced.c.factor).label("opening"),
            )
            .group_by(*q.group_columns(priced), priced.c.place)
            .cte(f"{prefix}opening")
        )
        return Part(rows, (_lacking(priced, "eve", "level"),))

    # --- what became of it ----------------------------------------------------------------------

    @cached_property
    def _cohort(self) -> Part:
        """By how much the customers there at the opening changed, at the rates of that day.

        Shape: group columns, place, change (net), shrinkage (of those who shrank, negative).
        """
        months, rest = self.presence.kept, self.presence.rest
        if months is None:
            return self.cohort_of_rows
        kept = cohort_of_months(self.q, months)
        if rest is None:
            return kept
        looked = Retained(self.q, rest.windows, rest).cohort_of_rows
        both = union_all(select(kept.rows), select(looked.rows)).cte("cohort_of_windows")
        return Part(both, (*kept.needs, *looked.needs))

    @cached_property
    def cohort_of_rows(self) -> Part:
        """By how much each cohort changed, looked up row by row; see `_cohort`."""
        q = self.q
        rows = q.rows.c
        native = Valued(q.rows, rows.currency, rows.amount_minor)
        moved = self._of_cohort(native).subquery("cohort_move")
        kept = [column for column in moved.c if column.name not in ("movement_type", "day")]
        net = _summed(select(*kept).subquery("kept_move"), "moved")
        netted = net.cte("cohort_net")
        # Of every currency that has rates: far fewer than the rows that would tell which are used.
        each_eve = q.rates.join(self.windows.cte, literal(True))
        pairs = select(q.rates.c.currency, self.windows.cte.c.eve).select_from(each_eve).distinct()
        wanted = pairs.subquery("currency_and_eve")
        rate = rates_by_day(q.rates, wanted, ("currency", "eve"), "cohort_rate")
        priced = _priced(netted, "eve", rate).subquery("priced_net")
        line = [*q.group_columns(priced), priced.c.place]
        change = whole_sum(priced.c.moved, priced.c.factor)
        each = (
            select(*line, change.label("change"))
            .group_by(*line, priced.c.customer_id)
            .subquery("customer_change")
        )
        keys = [*q.group_columns(each), each.c.place]
        shrunk = func.coalesce(func.sum(each.c.change).filter(each.c.change < 0), 0)
        whole = func.bool_and(each.c.change.is_not(None))
        found = (
            select(
                *keys,
                _if_whole(whole, func.sum(each.c.change)).label("change"),
                _if_whole(whole, shrunk).label("shrinkage"),
            )
            .group_by(*keys)
            .cte("cohort_change")
        )
        return Part(found, (_lacking(priced, "eve", "moved"),))

    @cached_property
    def _all_moved(self) -> Part:
        """The movements of everybody in each window, at the rates of their days."""
        # By days first: windows may share them, and there are far fewer days than movements.
        days = self.windows.days
        move = self._each(self.q.summed, self.q.summed.moved, ()).subquery("move")
        daily = _summed(move, "moved").subquery("daily")
        placed = select(daily, days.c.place).join_from(daily, days, days.c.day == daily.c.day)
        return self._by_type(placed, "")

    @cached_property
    def _cohort_moved(self) -> Part:
        """The movements of those there at the opening, at the rates of their days."""
        moved = self._of_cohort(self.q.moved).subquery("cohort_moved")
        kept = [column for column in moved.c if column.name not in ("customer_id", "eve")]
        return self._by_type(_summed(select(*kept).subquery("daily"), "moved"), "cohort_")

    def _by_type(self, moved: Select[Any], prefix: str) -> Part:
        """Movements by type: group columns, place, one column a type."""
        q = self.q
        daily = moved.cte(f"{prefix}window_movement")
        rate = rates_by_day(q.rates, daily, ("native_currency", "day"), f"{prefix}movement_rate")
        priced = _priced(daily, "day", rate).subquery("priced_movement")
        value = priced.c.moved * priced.c.factor
        keys = [*q.group_columns(priced), priced.c.place]
        whole = func.bool_and(priced.c.factor.is_not(None))
        sums = [
            _if_whole(
                whole,
                func.coalesce(func.sum(value).filter(priced.c.movement_type == each.value), 0),
            ).label(each.value)
            for each in MovementType
        ]
        rows = select(*keys, *sums).group_by(*keys).cte(f"{prefix}window_flow")
        return Part(rows, (_lacking(priced, "day", "moved"),))

    def _of_cohort(self, worth: Valued) -> Select[Any]:
        """The rows of each window, of those who were there when it opened.

        Shape: as `_each`, then place, eve.
        """
        q, days, entrant = self.q, self.windows.days, self.presence.entrants
        move = self._each(q, worth, ["customer_id"]).subquery("move")
        came = and_(
            entrant.c.customer_id == move.c.customer_id,
            entrant.c.place == days.c.place,
            q.same_group(entrant, move),
        )
        placed = move.join(days, days.c.day == move.c.day).outerjoin(entrant, came)
        found = select(move, days.c.place, days.c.eve).select_from(placed)
        return found.where(entrant.c.customer_id.is_(None))

    def _each(self, q: Query, worth: Valued, along: Sequence[str]) -> Select[Any]:
        """The rows of all windows' days, or sums of them.

        Shape: group columns, `along` (of the rows), native_currency, movement_type, day, moved.
        """
        rows = q.rows.c
        chosen = q.select(
            self.windows.end,
            lambda _: [
                *(rows[name].label(name) for name in along),
                worth.currency.label("native_currency"),
                rows.type.label("movement_type"),
                rows.day.label("day"),
                worth.amount.label("moved"),
            ],
        )
        return chosen.where(self.windows.within(rows.day), rows.type != FX_TYPE)


def _total(part: Part, *types: MovementType) -> ColumnElement[Any]:
    first, *others = (part.of(each.value) for each in types)
    for other in others:
        first = first + other
    return first


def _summed(rows: FromClause, name: str) -> Select[Any]:
    """Rows added up over everything but one column; what nets to nothing is left out."""
    keys = [column for column in rows.c if column.name != name]
    total = func.sum(rows.c[name])
    return select(*keys, total.label(name)).group_by(*keys).having(total != 0)


def _priced(rows: CTE, day: str, rate: CTE) -> Select[Any]:
    """Rows with the factor of their currency on a day of theirs, or null."""
    same = and_(rate.c.currency == rows.c.native_currency, rate.c.day == rows.c[day])
    return select(rows, rate.c.factor).outerjoin_from(rows, rate, same)


def _if_whole(whole: ColumnElement[bool], amount: ColumnElement[Any]) -> ColumnElement[Any]:
    """An amount, null where a rate is missing: sums would leave it out."""
    return case((whole.is_(False), None), else_=amount)


def _lacking(priced: FromClause, day: str, amount: str) -> RateNeed:
    return RateNeed(
        select(priced.c.native_currency, priced.c[day])
        .where(priced.c.factor.is_(None), priced.c[amount] != 0)
        .distinct()
    )
