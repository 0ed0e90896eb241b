"""Churn: what was lost of what there was, in customers and in MRR."""

from __future__ import annotations

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
    day,
    metric,
    question,
    ratio,
)
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
