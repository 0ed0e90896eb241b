"""Conversion: how many trials began, and what became of them.

By default trials are followed from the window in which they began, for as long as it takes: the
figures of a past month change as its trials are decided. Vendors differ in what they divide by;
the knob `trial_rate` has their ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Numeric,
    and_,
    case,
    cast,
    extract,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy import Text as SqlText

from tidemill.metrics.base import Behind, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.paging import paged
from tidemill.metrics.query import Query
from tidemill.metrics.windows import Part, Rate, Windows, window_table

__all__ = ["Conversion", "trial_list"]

_DAY_SECONDS = 86_400
_OUTCOMES = ("started", "converted", "expired", "pending")


@dataclass(frozen=True)
class Conversion:
    """The trials of a query's groups through its windows.

    until:  the day up to whose close a trial of a window may have been decided.
    within: how many days after its start a conversion still counts; 0 for any.
    """

    q: Query
    windows: Windows
    until: date
    within: int = 0

    @classmethod
    def of(cls, q: Query, calendar: Calendar, until: date, within: int) -> Conversion:
        """The trials of a calendar's periods, or of the windows that the policy gives them.

        A cohort is of a period: no knob about windows bears on it.
        """
        followed = q.policy.trial_rate == "start_cohort"
        rolling = not followed and q.policy.window == "rolling_30d"
        return cls(q, Windows(calendar, rolling), until, within)

    def rate(self) -> Rate:
        """Trials converted over trials, by the knob `trial_rate`."""
        match self.q.policy.trial_rate:
            case "start_cohort":
                part = self.begun
                return Rate(part.of("converted"), part.of("started"), (part,))
            case "ended_in_window":
                part = self._ended
                return Rate(part.of("converted"), part.of("ended"), (part,))
            case _:
                won, part = self._won, self.begun
                return Rate(won.of("converted"), part.of("started"), (won, part))

    def outcomes(self) -> list[ColumnElement[Any]]:
        """How many trials began in each window, and how they stand at the close of `until`."""
        return [self.begun.of(name).label(name) for name in _OUTCOMES]

    def table(self, rates: dict[str, Rate]) -> Table:
        """One row a group and window: the outcomes, then named rates."""
        parts = [self.begun, *(part for rate in rates.values() for part in rate.parts)]
        columns = [
            *self.outcomes(),
            *(each for name, rate in rates.items() for each in rate.columns(name, rate.value)),
        ]
        return window_table(self.q, self.windows, columns, parts, behind=self.behind)

    @property
    def behind(self) -> Behind:
        """The trials that were looked at: also old ones, where they may have ended in a window."""
        if self.q.policy.trial_rate == "start_cohort":
            return Behind(self.windows.first_day, self.windows.end)
        return Behind(None, self.windows.end)

    # --- what there is of each window -----------------------------------------------------------

    @cached_property
    def begun(self) -> Part:
        """Trials by the window they began in: group columns, place, `_OUTCOMES`."""
        row, days = self._rows, self.windows.days
        won = self._counts(row) & (row.c.converted_on <= self.until)
        lost = row.c.expired_on <= self.until
        decided = or_(row.c.converted_on <= self.until, lost)
        waiting = or_(decided.is_(None), decided.is_(False))
        if self.within:
            # A day that is not over leaves time; later no conversion would count.
            waiting = and_(waiting, row.c.day + self.within >= literal(self.until))
        keys = [*self.q.group_columns(row), row.c.day]
        daily = (
            select(
                *keys,
                func.count().label("started"),
                func.count().filter(won).label("converted"),
                func.count().filter(waiting).label("pending"),
            )
            .group_by(*keys)
            .subquery("daily_trial")
        )
        line = [*self.q.group_columns(daily), days.c.place]
        sums: dict[str, ColumnElement[Any]] = {
            name: func.sum(daily.c[name]) for name in ("started", "converted", "pending")
        }
        sums["expired"] = sums["started"] - sums["converted"] - sums["pending"]
        rows = (
            select(*line, *(_whole(sums[name]).label(name) for name in _OUTCOMES))
            .join_from(daily, days, days.c.day == daily.c.day)
            .group_by(*line)
            .cte("trial_begun")
        )
        return Part(rows)

    @cached_property
    def _ended(self) -> Part:
        """Trials by the window they ended in: group columns, place, ended, converted."""
        row, days, window = self._rows, self.windows.days, self.windows.cte
        inside = and_(row.c.converted_on > window.c.eve, row.c.converted_on <= window.c.last)
        line = [*self.q.group_columns(row), days.c.place]
        rows = (
            select(
                *line,
                func.count().label("ended"),
                func.count().filter(and_(self._counts(row), inside)).label("converted"),
            )
            .join_from(row, days, days.c.day == row.c.ended_on)
            .join(window, window.c.place == days.c.place)
            .group_by(*line)
            .cte("trial_ended")
        )
        return Part(rows)

    @cached_property
    def _won(self) -> Part:
        """Trials by the window they converted in: group columns, place, converted."""
        row, days = self._rows, self.windows.days
        line = [*self.q.group_columns(row), days.c.place]
        rows = (
            select(*line, func.count().label("converted"))
            .join_from(row, days, days.c.day == row.c.converted_on)
            .where(self._counts(row))
            .group_by(*line)
            .cte("trial_won")
        )
        return Part(rows)

    @cached_property
    def _rows(self) -> CTE:
        rows = self.q.rows.c
        names = ("day", "occurred_at", "ended_on", "converted_at", "converted_on", "expired_on")
        told = self.q.select(self.windows.end, lambda _: [rows[name].label(name) for name in names])
        return told.cte("trial_row")

    def _counts(self, row: FromClause) -> ColumnElement[bool]:
        """That a trial has converted, and in time."""
        if not self.within:
            return row.c.converted_at.is_not(None)
        # Hours, for a day has 23 or 25 of them where clocks change.
        limit = func.make_interval(0, 0, 0, 0, 24 * self.within)
        return row.c.converted_at - row.c.occurred_at <= limit

    # --- how long it took -----------------------------------------------------------------------

    def durations(self) -> Table:
        """How long the conversions of each window's trials took, in days."""
        row, days = self._rows, self.windows.days
        seconds = cast(extract("epoch", row.c.converted_at - row.c.occurred_at), Numeric)
        took = seconds / _DAY_SECONDS
        line = [*self.q.group_columns(row), days.c.place]
        rows = (
            select(
                *line,
                func.count().label("converted"),
                func.avg(took).label("mean_days"),
                *(
                    func.percentile_disc(share).within_group(took).label(name)
                    for name, share in (("median_days", 0.5), ("p90_days", 0.9))
                ),
            )
            .join_from(row, days, days.c.day == row.c.day)
            .where(self._counts(row), row.c.converted_on <= self.until)
            .group_by(*line)
            .cte("trial_duration")
        )
        part = Part(rows)
        names = ("mean_days", "median_days", "p90_days")
        columns = [part.of("converted").label("converted"), *(rows.c[name] for name in names)]
        behind = Behind(self.windows.first_day, self.windows.end)
        return window_table(self.q, self.windows, columns, [part], behind=behind)


def _whole(total: ColumnElement[Any]) -> ColumnElement[int]:
    return cast(total, BigInteger)


def trial_list(q: Query, start: date | None, end: date) -> Table:
    """The trials that began from `start` (None: the first ever) to `end`, in order."""
    rows = q.rows.c
    outcome = case(
        (rows.converted_at.is_not(None), "converted"),
        (rows.expired_on.is_not(None), "expired"),
        else_="pending",
    )
    told = q.select(
        end,
        lambda scope: [
            rows.day.label("on_day"),
            rows.occurred_at.label("at"),
            scope["customers"].c.external_id.label("customer_id"),
            scope["subscriptions"].c.external_id.label("subscription_id"),
            rows.plan.label("plan_id"),
            outcome.label("became"),
            rows.ended_at.label("over_at"),
            rows.converted_at.label("won_at"),
            cast(scope["events"].c.id, SqlText).label("event_uuid"),
            rows.event_position,
        ],
        joins=("customers", "subscriptions", "events"),
    )
    every = told.where(*([rows.day >= start] if start else [])).subquery("each_trial")

    def ties(of: FromClause) -> list[ColumnElement[Any]]:
        return [of.c.subscription_id, of.c.event_position, *q.group_order(of)]

    page = paged(every, {"at": False}, ties, q.bound.page, "listed_trial")
    row = page.rows
    statement = select(
        *q.shown_beside(row),
        row.c.on_day.label("day"),
        row.c.at.label("occurred_at"),
        row.c.customer_id.label("customer"),
        row.c.subscription_id.label("subscription"),
        row.c.plan_id.label("plan"),
        row.c.became.label("outcome"),
        row.c.over_at.label("ended_at"),
        row.c.won_at.label("converted_at"),
        row.c.event_uuid.label("event_id"),
        *page.places,
    ).order_by(*page.order)
    calendar = Calendar.of(start or end, end, None, q.policy.tz)
    return q.table(statement, periods=calendar.periods, behind=Behind(start, end))
