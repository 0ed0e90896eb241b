"""Cohorts as a heat map: one line for each cohort, one column for each age."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tidemill.errors import NoChart
from tidemill.metrics.result import Result, Row, shown
from tidemill.reports.drawing import few, finish, library, stacked
from tidemill.reports.palette import HEAT
from tidemill.reports.shape import aged, drawn, grouped, unfinished

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["cohorts"]


def cohorts(result: Result) -> go.Figure:
    """What share of each cohort is left at each age; its size stands beside its name.

    A rate that can still change is marked with an asterisk. Groups stand below each other.

    Raises: NoChart when the answer has no cohorts by age; MissingExtra.
    """
    names = {each.name for each in result.columns}
    if not names.issuperset({"cohort", "offset", "size", "value", "rate"}):
        raise NoChart(f"{result.metric} {result.question} has no cohorts by age.")
    if result.compared is not None:
        raise NoChart("Cohorts beside those of another range are not drawn.")
    groups = grouped(result)
    few(list(groups), result)
    figure = stacked(list(groups))
    for panel, rows in enumerate(groups.values(), start=1):
        figure.add_trace(_map(result, rows), row=panel, col=1)
    figure.update_xaxes(title={"text": f"{result.params['grain']}s after the first"}, dtick=1)
    figure.update_yaxes(type="category", autorange="reversed")
    figure.update_layout(
        coloraxis={"colorscale": HEAT, "cmin": 0, "colorbar": {"tickformat": ".0%"}}
    )
    return finish(figure, result, rows=len(groups))


def _map(result: Result, rows: Sequence[Row]) -> go.Heatmap:
    columns = {each.name: each for each in result.columns}
    rate, value = columns["rate"], columns["value"]
    open_ones, grain = unfinished(result), result.params["grain"]
    cells = {(row["cohort"], row["offset"]): row for row in rows}
    sizes = {row["cohort"]: row["size"] for row in rows}
    ages = sorted({row["offset"] for row in rows})

    def text(row: Row) -> str:
        can_change = aged(row["cohort"], row["offset"], grain) in open_ones
        return f"{shown(rate, row)}{'*' if can_change else ''}"

    grid = [[cells.get((cohort, age)) for age in ages] for cohort in sizes]
    return library().Heatmap(
        x=ages,
        y=[f"{cohort} ({size:,})" for cohort, size in sizes.items()],
        z=[[row and drawn(rate, row["rate"]) for row in line] for line in grid],
        text=[[text(row) if row else "" for row in line] for line in grid],
        customdata=[[shown(value, row) if row else "" for row in line] for line in grid],
        texttemplate="%{text}",
        hovertemplate="%{y}, %{x}<br>%{text}<br>%{customdata}<extra></extra>",
        hoverongaps=False,
        coloraxis="coloraxis",
    )
