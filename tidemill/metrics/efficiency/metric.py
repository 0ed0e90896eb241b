"""Efficiency: what growth costs, and how fast it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tidemill.ledger import Measure
from tidemill.metrics.annual import ARR_BASES, annual_measure
from tidemill.metrics.base import (
    LAST_QUARTER,
    TODAY,
    YEAR_OF_MONTHS,
    Day,
    Grain,
    Metric,
    Table,
    metric,
    question,
)
from tidemill.metrics.columns import Column, day, ratio
from tidemill.metrics.efficiency.burn import burn_table
from tidemill.metrics.efficiency.growth import compound_table, growth_table
from tidemill.metrics.efficiency.magic import Basis, Quarters, magic_table
from tidemill.metrics.efficiency.rule import rule_table
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.query import Query
from tidemill.policy import Policy

__all__ = ["Efficiency"]

_NO_START: Final = "there was no MRR at the opening"


def _gaps(columns: tuple[Column, ...], *names: str) -> tuple[Column, ...]:
    """The columns, of which some are null where no costs are known: a gap is no zero."""
    return tuple(replace(each, nullable=each.nullable or each.name in names) for each in columns)


_MAGIC: Final = _gaps(
    ratio(
        "magic_number",
        "A year's growth for each unit spent on sales and marketing in the quarter before.",
        undefined="nothing was spent on sales and marketing in the quarter before, as far as known",
    ),
    "magic_number_denominator",
)
_BURN: Final = _gaps(
    ratio(
        "burn_multiple",
        "Net burn for each unit of net new ARR.",
        undefined="ARR did not grow, or no costs are known",
    ),
    "burn_multiple_numerator",
)
_GROWTH: Final = ratio("growth", "MRR gained, net, over MRR.", undefined=_NO_START, share=True)
_CMGR: Final = ratio(
    "cmgr", "The growth of each month that makes that of all.", undefined=_NO_START, share=True
)
_RULE: Final = (
    Column(
        "rule_of_40",
        "ratio",
        "Growth plus margin; 0.4 is the rule.",
        nullable=True,
        undefined="growth or margin is",
        share=True,
    ),
    *_GROWTH,
    *_gaps(
        ratio(
            "margin",
            "What costs leave of the cash received, or the margin given.",
            undefined="no cash was received, or no costs are known",
            share=True,
        ),
        "margin_numerator",
        "margin_denominator",
    ),
)


@metric("efficiency", title="Efficiency of growth", knobs={"arr_basis": ARR_BASES})
class Efficiency(Metric):
    """What growth costs: magic number, burn multiple and rule of 40; and growth itself."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)

    @classmethod
    def ledger_measure(cls, policy: Policy) -> Measure:
        """ARR by the knob `arr_basis`, as the metric `arr` has it."""
        return annual_measure(policy)

    # Costs are nobody's in particular: a question with costs cannot be cut.

    @question(day("period", "The quarter's first day."), *_MAGIC, default=True, kinds=())
    def magic_number(
        self,
        q: Query,
        start: Day = YEAR_OF_MONTHS,
        end: Day = LAST_QUARTER,
        grain: Quarters = "quarter",
        basis: Basis = "revenue",
    ) -> Table:
        """The magic number of every quarter, whole quarters only.

        Args:
            start: a day of the first quarter.
            end: a day of the last quarter.
            grain: how long a period is; the formula is one of quarters.
            basis: growth of recurring revenue from quarter to quarter, times 4; or net new ARR.
        """
        return magic_table(q, start, end, grain, basis)

    @question(day("period"), *_BURN, kinds=())
    def burn_multiple(
        self,
        q: Query,
        start: Day = YEAR_OF_MONTHS,
        end: Day = LAST_QUARTER,
        grain: Grain = "quarter",
    ) -> Table:
        """Net burn over net new ARR, for every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return burn_table(q, start, end, grain)

    @question(day("period"), *_RULE, kinds=())
    def rule_of_40(
        self,
        q: Query,
        start: Day = YEAR_OF_MONTHS,
        end: Day = LAST_QUARTER,
        grain: Grain = "quarter",
        margin: str = "",
    ) -> Table:
        """Growth plus margin of the twelve months that end with every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
            margin: the margin as a share, such as 0.15 or -0.2; from costs and cash when left out.
        """
        return rule_table(q, start, end, grain, margin)

    @question(day("period"), *_GROWTH)
    def growth(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """Net new MRR over MRR at the opening, for every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return growth_table(q, start, end, grain)

    @question(*_CMGR)
    def cmgr(self, q: Query, end: Day = TODAY, months: int = 12) -> Table:
        """The compound monthly growth rate of the months to a day.

        Args:
            end: the last day, included.
            months: how many months are looked at, such as 6 or 12.
        """
        return compound_table(q, end, months)
