"""A single number, written large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.errors import NoChart
from tidemill.metrics.columns import Column
from tidemill.metrics.result import Result, shown
from tidemill.reports.drawing import finish, library
from tidemill.reports.palette import GAIN, TOTAL
from tidemill.reports.shape import figures

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["number"]


def number(result: Result) -> go.Figure:
    """The one figure of an answer as people read it, the change since an earlier range below.

    An undefined figure is a dash; the answer's warnings say why.

    Raises: NoChart when there are several rows, or not one figure; MissingExtra.
    """
    found = figures(result)
    if len(result.rows) != 1 or len(found) != 1:
        raise NoChart(f"{result.metric} {result.question} is not one number.")
    row, column = result.rows[0], found[0]
    figure = library().Figure()
    _write(figure, shown(column, row) or "–", y=0.6, size=64, colour=GAIN)
    if result.compared is not None:
        beside: dict[str, Column] = {each.name: each for each in result.columns}
        then = shown(beside[f"{column.name}_compared"], row) or "–"
        change = shown(beside[f"{column.name}_change"], row) or "–"
        # Apart, since two dollar signs in one text are read as a formula.
        _write(figure, f"was {then}", y=0.25, size=20, colour=TOTAL)
        _write(figure, f"change {change}", y=0.1, size=20, colour=TOTAL)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return finish(figure, result)


def _write(figure: go.Figure, text: str, *, y: float, size: int, colour: str) -> None:
    figure.add_annotation(
        text=text,
        x=0.5,
        y=y,
        xref="paper",
        yref="paper",
        showarrow=False,
        font={"size": size, "color": colour},
    )
