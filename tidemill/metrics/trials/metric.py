"""Trials: how many there are, and how many become customers."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tidemill.metrics.base import (
    MONTH_START,
    TODAY,
    YEAR_OF_MONTHS,
    Day,
    Grain,
    Metric,
    Table,
    metric,
    question,
)
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.columns import Column, count, day, instant, ratio, text
from tidemill.metrics.query import Query
from tidemill.metrics.trials.conversion import Conversion, trial_list
from tidemill.metrics.trials.cube import TRIAL_ROWS, TRIALS
from tidemill.metrics.windows import rate_table

__all__ = ["Trials"]

_RATE: Final = ratio(
    "rate",
    "Share of the trials that converted.",
    undefined="there was no trial to convert",
    share=True,
    of="count",
)
_OUTCOMES: Final = (
    count("started", "Trials that began."),
    count("converted", "Those that have become active, in time where `within` says so."),
    count("expired", "Those that ended without, or too late."),
    count("pending", "Those that are not decided yet."),
)


def _days(name: str, doc: str) -> Column:
    return Column(name, "ratio", doc, nullable=True, undefined="no trial converted")


@metric(
    "trials",
    title="Trials",
    knobs={
        "window": ("calendar", "rolling_30d"),
        "trial_rate": ("start_cohort", "ended_in_window", "started_in_window"),
    },
)
class Trials(Metric):
    """How many trials there are, and how many of them become paying customers."""

    cube = TRIALS
    facts = (TRIAL_ROWS,)
    listing = ("trials", "list")

    @question(*_RATE, default=True)
    def rate(
        self,
        q: Query,
        start: Day = MONTH_START,
        end: Day = TODAY,
        until: Day = TODAY,
        within: int = 0,
    ) -> Table:
        """Trial conversion: trials converted over trials.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            until: the day up to whose close trials that began in the range may have converted.
            within: how many days after its start a conversion still counts; 0 for any.
        """
        found = _found(q, start, end, None, (until, within))
        return rate_table(q, found.windows, [("rate", found.rate())], behind=found.behind)

    @question(*_OUTCOMES, *_RATE)
    def funnel(
        self,
        q: Query,
        start: Day = MONTH_START,
        end: Day = TODAY,
        until: Day = TODAY,
        within: int = 0,
    ) -> Table:
        """What became of the trials that began in a range, those still pending beside.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            until: the day at whose close the trials are looked at.
            within: how many days after its start a conversion still counts; 0 for any.
        """
        return _outcomes(q, start, end, None, (until, within))

    @question(day("period"), *_OUTCOMES, *_RATE)
    def series(
        self,
        q: Query,
        start: Day = YEAR_OF_MONTHS,
        end: Day = TODAY,
        grain: Grain = "month",
        until: Day = TODAY,
        within: int = 0,
    ) -> Table:
        """The trials that began in every period, what became of them, and the conversion rate.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
            until: the day at whose close the trials are looked at.
            within: how many days after its start a conversion still counts; 0 for any.
        """
        return _outcomes(q, start, end, grain, (until, within))

    @question(
        count("converted", "Trials that converted."),
        _days("mean_days", "Days from start to conversion, on average."),
        _days("median_days", "Half of them took no longer."),
        _days("p90_days", "Nine in ten took no longer."),
    )
    def time_to_convert(
        self,
        q: Query,
        start: Day = MONTH_START,
        end: Day = TODAY,
        until: Day = TODAY,
        within: int = 0,
    ) -> Table:
        """How long it took the trials that began in a range to convert.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            until: the day up to whose close conversions count.
            within: how many days after its start a conversion still counts; 0 for any.
        """
        return _found(q, start, end, None, (until, within)).durations()

    @question(
        day("day", "The calendar day on which it began."),
        instant("occurred_at", "When it began."),
        text("customer", "The customer's id in the billing system."),
        text("subscription", "The subscription's id in the billing system."),
        text("plan", "The plan's id in the billing system."),
        text("outcome", "converted, expired or pending, as known now."),
        replace(instant("ended_at", "When it ended."), nullable=True),
        replace(instant("converted_at", "When the subscription became active."), nullable=True),
        text("event_id", "The event that began it."),
        lists=True,
    )
    def list(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """Every trial that began in a range, with what became of it.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        return trial_list(q, start, end)


def _outcomes(
    q: Query, start: Day, end: Day, grain: Grain | None, limits: tuple[Day, int]
) -> Table:
    found = _found(q, start, end, grain, limits)
    return found.table({"rate": found.rate()})


def _found(
    q: Query, start: Day, end: Day, grain: Grain | None, limits: tuple[Day, int]
) -> Conversion:
    return Conversion.of(q, Calendar.of(start, end, grain, q.policy.tz), *limits)
