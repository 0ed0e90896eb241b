"""What all figures have in common: the library, the head, the axes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from html import escape
from typing import TYPE_CHECKING, Any, Final

from tidemill.errors import MissingExtra, NoChart
from tidemill.metrics.columns import Column
from tidemill.metrics.result import Result, utc_text
from tidemill.reports.palette import PALETTE
from tidemill.reports.shape import titled

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["FACETS_MAX", "HOVER", "PANEL_HEIGHT", "axis", "few", "finish", "library", "stacked"]

FACETS_MAX: Final = 12
"""How many groups can stand below each other in one figure."""

# An amount stands alone in every text: two dollar signs in one would be read as a formula.
HOVER: Final = "%{x}<br>%{customdata}"
_NAMES_MAX: Final = 3
PANEL_HEIGHT: Final = 320
"""Of one panel, in pixels."""


def library() -> Any:
    """The module `plotly.graph_objects`.

    Raises: MissingExtra with the command that installs it.
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise MissingExtra("notebook", "Drawing a chart") from error
    return go


def stacked(titles: Sequence[str], *, shared: bool = False) -> go.Figure:
    """An empty figure with one panel below the other; `shared` for one common x axis."""
    library()
    from plotly.subplots import make_subplots

    gap = 0.3 / len(titles)
    return make_subplots(
        rows=len(titles),
        cols=1,
        shared_xaxes=shared,
        vertical_spacing=gap if len(titles) > 1 else None,
        subplot_titles=titles if any(titles) else None,
    )


def axis(columns: Sequence[Column]) -> dict[str, Any]:
    """The axis of figures of one unit: its title and how its ticks are written."""
    first = columns[0]
    # More names than these are longer than the axis; the legend has them.
    names = ", ".join(titled(each.name) for each in columns) if len(columns) <= _NAMES_MAX else ""
    unit = f"({first.currency})" if first.unit == "money" else ""
    ticks = {"tickformat": ".0%"} if first.share else {}
    return {"title": {"text": f"{names} {unit}".strip()}, **ticks}


def few(groups: Sequence[str], result: Result, most: int = FACETS_MAX) -> None:
    """Refuse to draw more groups than anybody can tell apart.

    Raises: NoChart.
    """
    if len(groups) > most:
        problem = f"{result.metric} {result.question} answered with {len(groups)} groups"
        raise NoChart(f"{problem}; a chart of this kind holds {most}.")


def finish(
    figure: go.Figure, result: Result, *, rows: int = 1, panel_height: int = PANEL_HEIGHT
) -> go.Figure:
    """Give a figure its head (what was asked, how, and when) and its size in pixels."""
    said = [
        f"policy {result.policy.preset}",
        f"as of {result.as_of.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
    ]
    if result.known_at is not None:
        said.append(f"as known at {utc_text(result.known_at)}")
    said += [*result.filters, *result.segments]
    if result.compared is not None:
        said.append(f"beside {result.compared['start']} to {result.compared['end']}")
    if not result.complete:
        said.append("not over yet: can still change")
    figure.update_layout(
        title={
            "text": titled(f"{result.metric} {result.question}"),
            "subtitle": {"text": escape(" · ".join(said), quote=False)},
        },
        template="plotly_white",
        colorway=list(PALETTE),
        height=120 + panel_height * rows,
    )
    return figure
