"""The headline numbers, but for those of trials, of several days, in one statement.

Each is made as its own metric makes it, by the same functions; here they share what they look up:
levels and customers at the closes, presence and retained MRR through the months to date. It is no
metric of the catalogue: the summary asks it, and asks the metrics themselves where it fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import ColumnElement, Numeric, cast, literal, null

from tidemill.metrics.arpa import Arpa
from tidemill.metrics.base import Day, Metric, Table, metric, question
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.cash_flow import net_cash
from tidemill.metrics.churn import Churn
from tidemill.metrics.columns import Column, count, money
from tidemill.metrics.ltv.simple import lifetime_value
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.mrr.beside import risk
from tidemill.metrics.paying import Paying
from tidemill.metrics.query import Query
from tidemill.metrics.quick_ratio import QuickRatio
from tidemill.metrics.retained import Retained
from tidemill.metrics.retention import Retention
from tidemill.metrics.windows import Windows, rate_table, whole_value
from tidemill.periods import period_start

__all__ = ["Headlines"]


def _columns(of: type[Metric], name: str) -> tuple[Column, ...]:
    return tuple(each for each in of.questions()[name].columns if each.unit != "day")


_KNOBS: Final[Mapping[str, tuple[str, ...]]] = {
    **Churn.knobs, **Retention.knobs, **QuickRatio.knobs, "nrr_window": ("month",),
}  # fmt: skip


@metric("headlines", title="Headline numbers", knobs=MappingProxyType(_KNOBS))
class Headlines(Metric):
    """Levels at the closes of some days, and rates and flows of the months up to them."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)

    @question(
        *_columns(Arpa, "current"),
        *_columns(Churn, "series"),
        *_columns(Retention, "nrr"),
        *_columns(Retention, "grr"),
        *_columns(QuickRatio, "current"),
        money("net_new", "The sum of the month's movements."),
        money("net_new_numerator"),
        count("net_new_denominator"),
        Column("ltv", "money", "ARPA over logo churn.", nullable=True),
        money("net_cash", "The month's net cash flow."),
        Column("at_risk", "money", "Null where MRR leaves out what is past due.", nullable=True),
        default=True,
    )
    def of_days(self, q: Query, first: Day, second: Day, third: Day) -> Table:
        """One row a day, in the order given, which is that of time.

        Args:
            q: the question being asked.
            first: the earliest day.
            second: a later day.
            third: the latest day.
        """
        calendar = _months_to_date((first, second, third), q.policy.tz)
        windows = Windows(calendar, rolling=q.policy.window == "rolling_30d")
        retained = Retained(q, windows)
        arpa, logo_churn = Paying(q, windows).arpa(), retained.presence.logo_churn()
        rates = [
            ("arpa", arpa),
            ("logo_churn", logo_churn),
            ("gross_mrr_churn", retained.grr().lost()),
            ("net_mrr_churn", retained.nrr().lost()),
            ("nrr", retained.nrr()),
            ("grr", retained.grr()),
            ("quick_ratio", retained.quick_ratio()),
            ("net_new", retained.net_new()),
        ]
        churn, _ = whole_value(q, windows, logo_churn)
        cash = net_cash(q, windows)
        parts = [cash]
        at_risk: ColumnElement[Any] = null()
        if q.policy.past_due == "active":
            parts.append(risk(q, windows))
            at_risk = parts[-1].of("at_risk")
        more = [
            lifetime_value(arpa.value, cast(literal(1), Numeric), churn).label("ltv"),
            cash.of("net").label("net_cash"),
            at_risk.label("at_risk"),
        ]
        return rate_table(q, windows, rates, more=(more, parts))


def _months_to_date(days: tuple[date, ...], tz: str) -> Calendar:
    """The months up to some days as a calendar; there may be time between them."""
    months = [Calendar.of(period_start(day, "month"), day, None, tz).periods[0] for day in days]
    return Calendar(tuple(months), None)
