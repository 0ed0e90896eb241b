"""LTV: what a customer is worth over its lifetime."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from tidemill.metrics.base import (
    MONTH_START,
    TODAY,
    YEAR_OF_MONTHS,
    Day,
    Grain,
    Metric,
    RelativeDay,
    Table,
    metric,
    question,
)
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.columns import Column, average, count, day
from tidemill.metrics.ltv.cohort import cohort_value
from tidemill.metrics.ltv.contractual import Assumptions, contractual_table
from tidemill.metrics.ltv.sbg import CHURNS_MIN
from tidemill.metrics.ltv.simple import ChurnKind, margin_of, simple_table
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.query import Query
from tidemill.metrics.shares import share_of
from tidemill.metrics.windows import Windows
from tidemill.periods import add_months, period_start

__all__ = ["Ltv"]

# Typed Any so that signatures can say `start: Day = _THREE_YEARS`.
_THREE_YEARS: Final[Any] = RelativeDay(
    "the first day of the month thirty-five months before `end`",
    lambda _, end: add_months(period_start(end, "month"), -35),
)


def _share(name: str, doc: str) -> Column:
    return Column(name, "ratio", doc, nullable=True, share=True)


_ARPA: Final = average(
    "arpa", "MRR for each active customer at the end.", undefined="there was no customer"
)
_MARGIN: Final = _share("margin", "The gross margin that ARPA is multiplied by.")
_SIMPLE: Final = (
    Column(
        "ltv",
        "money",
        "ARPA times margin over churn.",
        nullable=True,
        undefined="nothing was lost, or nobody was there: a lifetime without an end has no value",
    ),
    *_ARPA,
    _MARGIN,
    _share("churn", "The churn of the window, or the mean of the months before it."),
)


@metric(
    "ltv",
    title="Lifetime value",
    knobs={
        "window": ("calendar", "rolling_30d"),
        "logo_numerator": ("net_start_cohort", "events_start_cohort", "events_all"),
        "logo_denominator": ("start", "start_plus_new"),
        "rate_population": ("start_cohort", "all_movements"),
        "grr_method": ("cohort_min", "movements"),
        "reactivation_in_nrr": ("yes", "no"),
        "cohort_key": ("first_paid", "signup"),
        "partial_period": ("none", "linear", "compound"),
        "ltv_churn": ("current", "trailing:N"),
        "ltv_numerator": ("arpa", "arpa_x_margin"),
    },
)
class Ltv(Metric):
    """What a customer brings in over its lifetime, by formula, by model, or in fact so far."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)

    @question(*_SIMPLE, default=True)
    def simple(
        self,
        q: Query,
        start: Day = MONTH_START,
        end: Day = TODAY,
        churn: ChurnKind = "logo",
        margin: str = "",
    ) -> Table:
        """ARPA over churn: the lifetime value if all stays as it is.

        Args:
            start: the first day of the range whose churn is taken.
            end: the last day of the range, included; ARPA is that of its close.
            churn: of customers, of MRR, or of MRR less growth (null when MRR grows by itself).
            margin: the gross margin, such as 0.8, or cogs for that of the recorded costs.
        """
        windows = Windows.of(q, start, end, None)
        return simple_table(q, windows, churn, margin)

    @question(day("period"), *_SIMPLE)
    def series(
        self,
        q: Query,
        start: Day = YEAR_OF_MONTHS,
        end: Day = TODAY,
        grain: Grain = "month",
        churn: ChurnKind = "logo",
        margin: str = "",
    ) -> Table:
        """ARPA over churn, for every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
            churn: of customers, of MRR, or of MRR less growth (null when MRR grows by itself).
            margin: the gross margin, such as 0.8, or cogs for that of the recorded costs.
        """
        windows = Windows.of(q, start, end, grain)
        return simple_table(q, windows, churn, margin)

    @question(
        Column(
            "ltv",
            "money",
            "ARPA times margin times lifetime.",
            nullable=True,
            undefined=f"fewer than {CHURNS_MIN} customers were lost, or nobody is there",
        ),
        Column("lifetime", "ratio", "Payments a new customer will make.", nullable=True),
        count("horizon", "How many monthly payments are looked at."),
        _share("discount", "By what share money a year from now is worth less."),
        _MARGIN,
        *_ARPA,
        Column("alpha", "ratio", "The model's first parameter.", nullable=True),
        Column("beta", "ratio", "The model's second parameter.", nullable=True),
        _share("fit_error", "The largest difference of the model from the share that stayed."),
        count("lost", "Customers lost, of those the model is fitted to."),
        count("members", "Customers the model is fitted to."),
    )
    def contractual(
        self,
        q: Query,
        start: Day = _THREE_YEARS,
        end: Day = TODAY,
        horizon: int = 60,
        discount: str = "0",
        margin: str = "",
    ) -> Table:
        """Lifetime value by the sBG model, in which retention rises with age.

        Args:
            start: the model is fitted to customers who joined from this day on.
            end: the last day looked at, included; ARPA is that of its close.
            horizon: how many monthly payments of a customer are looked at.
            discount: by what share money a year from now is worth less, such as 0.1.
            margin: the gross margin as a share, such as 0.8; all of ARPA when left out.
        """
        assumed = Assumptions(horizon, share_of("discount", discount), margin_of(q, margin))
        # The model takes whole histories: no window of days bears on it.
        windows = replace(Windows.of(q, start, end, None), rolling=False)
        return contractual_table(q, windows, assumed)

    @question(
        day("cohort", "The first day of the period in which its customers joined."),
        *average(
            "ltv",
            "What was paid so far for each customer who joined.",
            undefined="nobody joined",
        ),
    )
    def cohort(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """Lifetime value so far, cohort by cohort: paid invoices less refunds, over its size.

        Args:
            start: a day of the first cohort's period.
            end: the last day looked at, included.
            grain: how long a cohort's period is.
        """
        whole = Calendar.of(period_start(start, grain), end, grain, q.policy.tz)
        return cohort_value(q, whole)
