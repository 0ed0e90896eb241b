"""Bars: how an answer is divided among its groups, and what became of those who began."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tidemill.errors import NoChart
from tidemill.metrics.columns import Column
from tidemill.metrics.result import Result, Row, shown
from tidemill.reports.drawing import PANEL_HEIGHT, axis, finish, library, stacked
from tidemill.reports.palette import EARLIER, GAIN, LOSS, look
from tidemill.reports.shape import drawn, figures, grouped, panels, titled

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["breakdown", "funnel"]

_HOVER: Final = "%{y}<br>%{customdata}"
_BAR_HEIGHT: Final = 24


def breakdown(result: Result) -> go.Figure:
    """A bar for each group, in the answer's order; the figures of an earlier range in grey.

    Without groups, a bar for each figure. Figures of different units stand in panels below each
    other. Where there is one figure, what is below zero has the colour of losses.

    Raises: NoChart when there is no figure, or more than one row of a group; MissingExtra.
    """
    shared, groups = panels(figures(result)), grouped(result)
    if not shared or any(len(rows) > 1 for rows in groups.values()):
        raise NoChart(f"{result.metric} {result.question} is not one figure for each group.")
    rows = {label: rows[0] for label, rows in groups.items()}
    figure = stacked([""] * len(shared))
    for panel, columns in enumerate(shared, start=1):
        for trace in _by_figure(rows, columns) if "" in rows else _by_group(rows, columns):
            figure.add_trace(trace, row=panel, col=1)
        if result.compared is not None:
            figure.add_traces(_earlier(rows, columns), rows=panel, cols=1)
        figure.update_xaxes(axis(columns), row=panel, col=1)
    # A category such as "2025" or "1-10" is no number and no day.
    figure.update_yaxes(type="category", autorange="reversed")
    figure.update_layout(showlegend=result.compared is not None or len(figures(result)) > 1)
    high = max(PANEL_HEIGHT, _BAR_HEIGHT * len(rows))
    return finish(figure, result, rows=len(shared), panel_height=high)


def funnel(result: Result) -> go.Figure:
    """How many were left at each stage: the counts of an answer, and their share of the first.

    Raises: NoChart when there are no counts, or several rows of a group; MissingExtra.
    """
    stages = [each for each in figures(result) if each.unit == "count"]
    groups = grouped(result)
    if not stages or any(len(rows) > 1 for rows in groups.values()):
        raise NoChart(f"{result.metric} {result.question} has no stages.")
    go = library()
    figure = go.Figure()
    for place, (label, (row,)) in enumerate(groups.items()):
        figure.add_trace(
            go.Funnel(
                y=[titled(each.name) for each in stages],
                x=[row[each.name] for each in stages],
                name=label or titled(result.metric),
                textinfo="value+percent initial",
                marker={"color": look(place)[0]},
            )
        )
    figure.update_layout(showlegend="" not in groups)
    return finish(figure, result)


def _by_group(rows: dict[str, Row], columns: list[Column]) -> list[go.Bar]:
    return [
        _bar(
            {label: (column, row) for label, row in rows.items()},
            titled(column.name),
            None if len(columns) == 1 else look(place)[0],
        )
        for place, column in enumerate(columns)
    ]


def _by_figure(rows: dict[str, Row], columns: list[Column]) -> list[go.Bar]:
    row = rows[""]
    return [_bar({titled(each.name): (each, row) for each in columns}, "now", None)]


def _earlier(rows: dict[str, Row], columns: list[Column]) -> list[go.Bar]:
    def then(column: Column) -> Column:
        return replace(column, name=f"{column.name}_compared")

    if "" in rows:
        cells = {titled(each.name): (then(each), rows[""]) for each in columns}
        return [_bar(cells, "compared", EARLIER)]
    return [
        _bar(
            {label: (then(each), row) for label, row in rows.items()},
            f"{titled(each.name)} compared",
            EARLIER,
        )
        for each in columns
    ]


def _bar(cells: dict[str, tuple[Column, Row]], name: str, colour: str | None) -> go.Bar:
    """Bars by their labels; without a colour each has that of a gain or a loss."""
    values = [row[column.name] for column, row in cells.values()]
    return library().Bar(
        y=list(cells),
        x=[drawn(column, row[column.name]) for column, row in cells.values()],
        customdata=[shown(column, row) for column, row in cells.values()],
        text=[shown(column, row) for column, row in cells.values()],
        name=name,
        orientation="h",
        hovertemplate=_HOVER,
        marker={"color": colour or [LOSS if value and value < 0 else GAIN for value in values]},
    )
