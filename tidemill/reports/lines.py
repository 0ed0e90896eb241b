"""A series: lines along time, one for each group and figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from tidemill.errors import NoChart
from tidemill.metrics.columns import Column
from tidemill.metrics.result import Result, Row, shown
from tidemill.reports.drawing import HOVER, axis, few, finish, library, stacked
from tidemill.reports.palette import EARLIER, LOOKS_MAX, look
from tidemill.reports.shape import aged, drawn, figures, grouped, panels, time_column, titled
from tidemill.reports.shape import unfinished as unfinished_periods

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["series"]


@dataclass(frozen=True)
class _Line:
    """One line: a figure of a group's rows."""

    name: str
    column: Column
    rows: Sequence[Row]
    days: Sequence[date]
    #: Its place among the figure's lines, by name: it decides how the line looks.
    place: int = 0
    dash: str = "solid"

    def trace(self, of: slice, **style: Any) -> go.Scatter:
        """A part of the line; gaps stay gaps where a figure is undefined."""
        rows = self.rows[of]
        colour, marker = look(self.place)
        if self.dash == "dot":
            colour = EARLIER
        return library().Scatter(
            x=list(self.days[of]),
            y=[drawn(self.column, row[self.column.name]) for row in rows],
            customdata=[shown(self.column, row) for row in rows],
            name=self.name,
            legendgroup=self.name,
            mode="lines+markers",
            line={"color": colour, "dash": style.pop("dash", self.dash)},
            marker={"color": colour, "symbol": marker},
            hovertemplate=HOVER,
            **style,
        )


def series(result: Result) -> go.Figure:
    """Lines along time, one for each group; the part that can still change is dashed.

    Figures of different units stand in panels below each other. The figures of an earlier range
    are dotted and grey, at the places of the periods they are compared with.

    Raises: NoChart when nothing runs along time; MissingExtra.
    """
    time, shared = time_column(result), panels(figures(result))
    if time is None or not shared:
        raise NoChart(f"{result.metric} {result.question} has nothing that runs along time.")
    groups = grouped(result)
    few(list(groups), result, LOOKS_MAX // max(len(each) for each in shared))
    open_ones, places = _open(result, time), dict[str, int]()
    figure = stacked([""] * len(shared), shared=True)
    for panel, columns in enumerate(shared, start=1):
        for line in _lines(groups, columns, time):
            place = places.setdefault(line.name, len(places))
            styled = replace(line, place=place)
            for each in (styled, *([] if result.compared is None else [_earlier(styled)])):
                for trace in _traces(each, open_ones):
                    figure.add_trace(trace, row=panel, col=1)
        figure.update_yaxes(axis(columns), row=panel, col=1)
    figure.update_xaxes(type="date")
    return finish(figure, result, rows=len(shared))


def _open(result: Result, time: str) -> frozenset[date]:
    """The places on the line of time whose figures can still change."""
    open_ones = unfinished_periods(result)
    if time == "period" or not open_ones:
        return open_ones
    cohorts = frozenset(row[time] for row in result.rows)
    age, grain = result.params.get("age"), result.params["grain"]
    if age is None:  # what came of a cohort so far: until the end of the range, for all of them
        return cohorts
    return frozenset(each for each in cohorts if aged(each, age, grain) in open_ones)


def _lines(groups: dict[str, list[Row]], columns: Sequence[Column], time: str) -> Iterator[_Line]:
    for label, unordered in groups.items():
        # Of an earlier range only what has a place on this line of time can be drawn.
        rows = sorted((row for row in unordered if row[time]), key=lambda row: row[time])
        days = [row[time] for row in rows]
        for column in columns:
            of_figure = titled(column.name) if len(columns) > 1 or not label else ""
            name = ": ".join(part for part in (label, of_figure) if part)
            yield _Line(name, column, rows, days)


def _earlier(line: _Line) -> _Line:
    """The same figure in the range compared with."""
    column = replace(line.column, name=f"{line.column.name}_compared")
    return replace(line, name=f"{line.name} compared", column=column, dash="dot")


def _traces(line: _Line, open_ones: frozenset[date]) -> list[go.Scatter]:
    """The line, with its unfinished end as a trace of its own: a trace has one kind of stroke."""
    places = [place for place, day in enumerate(line.days) if day in open_ones]
    if not places or line.dash != "solid":
        return [line.trace(slice(None))]
    first = places[0]
    if first == 0:
        return [line.trace(slice(None), dash="dash")]
    rest = line.trace(slice(first - 1, None), dash="dash", showlegend=False)
    return [line.trace(slice(first)), rest]
