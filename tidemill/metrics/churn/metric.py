"""Churn: what was lost of what there was, in customers and in MRR."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
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
from tidemill.metrics.churn.departures import reason_table
from tidemill.metrics.churn.leavers import Who, leavers
from tidemill.metrics.columns import count, day, instant, money, ratio, text
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.query import Query
from tidemill.metrics.retained import Retained
from tidemill.metrics.windows import Windows, rate_table

__all__ = ["Churn"]

_LOGO: Final = ratio(
    "logo_churn",
    "Share of the customers there were that was lost.",
    undefined="no customer was there to be lost",
    share=True,
    of="count",
)
_GROSS: Final = ratio(
    "gross_mrr_churn",
    "Share of the opening MRR that was lost, growth put aside: 1 - GRR.",
    undefined="there was no MRR when the window opened",
    share=True,
)
_NET: Final = ratio(
    "net_mrr_churn",
    "Share of the opening MRR that was lost after growth: 1 - NRR; negative when growth won.",
    undefined="there was no MRR when the window opened",
    share=True,
)
_REASONS: Final = (
    text("reason", "voluntary, involuntary or unknown."),
    count("churns", "How many times a customer left."),
    money("churn", "The MRR lost by churn; negative."),
)
_ALL_KINDS: Final = ("customer", "item", "movement")


@metric(
    "churn",
    title="Churn",
    knobs={
        "window": ("calendar", "rolling_30d"),
        "logo_numerator": ("net_start_cohort", "events_start_cohort", "events_all"),
        "logo_denominator": ("start", "start_plus_new"),
        "rate_population": ("start_cohort", "all_movements"),
        "grr_method": ("cohort_min", "movements"),
        "reactivation_in_nrr": ("yes", "no"),
        "partial_period": ("none", "linear", "compound"),
    },
)
class Churn(Metric):
    """What was lost over a range of days of what there was at its start: customers, and MRR."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)
    types = MappingProxyType({"logo": "logo", "revenue": "gross_mrr"})

    @question(*_LOGO, default=True)
    def logo(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """Logo churn: customers lost over customers there were.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        windows = Windows.of(q, start, end, None)
        presence = Retained(q, windows).presence
        rates = [("logo_churn", presence.logo_churn())]
        return rate_table(q, windows, rates, warnings=presence.warnings)

    @question(*_GROSS)
    def gross_mrr(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """Gross MRR churn: MRR lost by contraction and churn over the opening MRR.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        windows = Windows.of(q, start, end, None)
        lost = Retained(q, windows).grr().lost()
        return rate_table(q, windows, [("gross_mrr_churn", lost)])

    @question(*_NET)
    def net_mrr(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """Net MRR churn: MRR lost less MRR gained from the same customers, over the opening MRR.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        windows = Windows.of(q, start, end, None)
        lost = Retained(q, windows).nrr().lost()
        return rate_table(q, windows, [("net_mrr_churn", lost)])

    @question(day("period"), *_LOGO, *_GROSS, *_NET)
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """Logo, gross and net MRR churn of every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        windows = Windows.of(q, start, end, grain)
        retained = Retained(q, windows)
        rates = [
            ("logo_churn", retained.presence.logo_churn()),
            ("gross_mrr_churn", retained.grr().lost()),
            ("net_mrr_churn", retained.nrr().lost()),
        ]
        return rate_table(q, windows, rates, warnings=retained.presence.warnings)

    @question(
        text("customer", "The customer's id in the billing system."),
        text("customer_name", "The customer's name."),
        count("there", "1 for a customer who was there when the window opened, else 0."),
        count("lost", "How often logo churn counts the customer as lost."),
        money("mrr", "What the customer paid a month when the window opened."),
        replace(day("churned_on", "The day of the last churn inside the window."), nullable=True),
        replace(instant("churned_at", "The instant of that churn."), nullable=True),
        text("reason", "voluntary, involuntary or unknown."),
        text("cancel_reason", "Why it was cancelled, in the billing system's word."),
        text("cancel_feedback", "What the customer said about it, in the billing system's word."),
        lists=True,
    )
    def customers(
        self, q: Query, start: Day = MONTH_START, end: Day = TODAY, who: Who = "lost"
    ) -> Table:
        """Which customers were lost: what they paid, when they left, and why.

        The list is what logo churn counts: `lost` adds up to its numerator; with `--who all` also
        those who stayed are listed, and `there` adds up to the customers at the opening.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            who: those who were lost, or all who were there or were lost.
        """
        return leavers(q, Windows.of(q, start, end, None), who)

    @question(*_REASONS, kinds=_ALL_KINDS)
    def reasons(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """Why customers left: MRR lost by churn, by reason; the reasons add up to all of it.

        Cut it by cancel_reason and cancel_feedback for the billing system's own words.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        return reason_table(q, Windows.of(q, start, end, None))

    @question(day("period"), *_REASONS, kinds=_ALL_KINDS)
    def reasons_series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """Why customers left, period by period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return reason_table(q, Windows.of(q, start, end, grain))
