"""Which chart shows an answer: decided by its columns and their units."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tidemill.errors import NoChart
from tidemill.metrics.result import Result
from tidemill.reports.bars import breakdown, funnel
from tidemill.reports.heat import cohorts
from tidemill.reports.lines import series
from tidemill.reports.numbers import number
from tidemill.reports.shape import figures, time_column
from tidemill.reports.steps import STEPS, waterfall

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["chart_of", "plot"]


def plot(result: Result) -> go.Figure:
    """The answer as a Plotly figure, in the chart that fits it.

    Raises: NoChart when there is none (a list of movements is a table); MissingExtra; as the chart.
    """
    return chart_of(result)(result)


def chart_of(result: Result) -> Callable[[Result], go.Figure]:
    """The kind of chart an answer asks for.

    Raises: NoChart when it is a list, or has no figures.
    """
    names = {each.name for each in result.columns}
    if names.issuperset({"period", *STEPS}):
        return waterfall
    if names.issuperset({"cohort", "offset", "rate"}):
        return cohorts
    listed = [
        each.name
        for each in result.columns
        if not each.dimension
        and (each.unit == "instant" or (each.unit == "day" and each.name not in _ALONG))
    ]
    shown = figures(result)
    if listed or not shown:
        raise NoChart(f"{result.metric} {result.question} is a list.")
    if time_column(result) is not None:
        return series
    if result.question == "funnel":
        return funnel
    alone = len(result.rows) == 1 and len(shown) == 1 and not result.dimensions
    return number if alone else breakdown


_ALONG = frozenset({"period", "period_compared", "cohort"})
