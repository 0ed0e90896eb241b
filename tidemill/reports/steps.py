"""The waterfall: from each period's opening over its movements to its closing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tidemill.errors import NoChart
from tidemill.metrics.flows import WATERFALL, check_waterfall
from tidemill.metrics.result import Result, Row, shown
from tidemill.reports.drawing import HOVER, axis, few, finish, library, stacked
from tidemill.reports.palette import GAIN, LOSS, TOTAL
from tidemill.reports.shape import drawn, grouped, unfinished

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["STEPS", "waterfall"]

STEPS: Final = ("opening", *(each.value for each in WATERFALL), "fx", "closing")
"""The columns of a waterfall."""


def waterfall(result: Result) -> go.Figure:
    """Opening, movements and closing of every period; losses are negative and go down.

    Groups stand below each other: the segments of a comparison may share customers, so their
    movements do not add up. A kind of movement that there was none of is left out.

    Raises: BooksDoNotClose when a period does not add up or does not go on where the last one
        stopped; NoChart when it is no waterfall, or one beside another range; MissingExtra.
    """
    names = {each.name for each in result.columns}
    if not names.issuperset({"period", *STEPS}):
        raise NoChart(f"{result.metric} {result.question} is no waterfall.")
    if result.compared is not None:
        raise NoChart("A waterfall beside that of another range is not drawn.")
    groups = grouped(result)
    for rows in groups.values():
        check_waterfall([dict(row) for row in rows])
    few(list(groups), result)
    money = [each for each in result.columns if each.name == "closing"]
    figure = stacked(list(groups))
    for panel, rows in enumerate(groups.values(), start=1):
        figure.add_trace(_trace(result, rows), row=panel, col=1)
        figure.update_yaxes(axis(money), row=panel, col=1)
    # Every step has its name: left to itself, the axis would leave out every other one.
    figure.update_xaxes(type="multicategory", dtick=1, tickangle=90, tickfont={"size": 9})
    figure.update_layout(showlegend=False)
    return finish(figure, result, rows=len(groups))


def _trace(result: Result, rows: Sequence[Row]) -> go.Waterfall:
    open_ones = unfinished(result)
    columns = {each.name: each for each in result.columns}
    moved = [name for name in STEPS[1:-1] if any(row[name] for row in rows)]
    # Later openings are the closings before them (checked), so only the first is shown.
    bars = [(rows[0], "opening")]
    bars += [(row, name) for row in rows for name in (*moved, "closing")]
    periods = [
        f"{row['period']}*" if row["period"] in open_ones else f"{row['period']}" for row, _ in bars
    ]
    levels = {"opening", "closing"}
    return library().Waterfall(
        x=[periods, [name for _, name in bars]],
        y=[drawn(columns[name], row[name]) for row, name in bars],
        measure=["absolute" if name in levels else "relative" for _, name in bars],
        customdata=[shown(columns[name], row) for row, name in bars],
        hovertemplate=f"{HOVER}<extra></extra>",
        increasing={"marker": {"color": GAIN}},
        decreasing={"marker": {"color": LOSS}},
        totals={"marker": {"color": TOTAL}},
    )
