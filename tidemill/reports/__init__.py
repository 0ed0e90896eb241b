"""Charts and styled tables for notebooks: one function for each kind of chart.

Each takes a `Result` and gives a Plotly figure; `plot` picks the one that fits, and is what
`Result.plot()` calls. Nothing here asks a question or computes a metric. Amounts stay exact until
a coordinate is drawn; what people read was written by `tidemill.money`.

Plotly and pandas come with the extra ``notebook`` and load when the first figure is made.
"""

from tidemill.reports.bars import breakdown, funnel
from tidemill.reports.heat import cohorts
from tidemill.reports.lines import series
from tidemill.reports.numbers import number
from tidemill.reports.palette import PALETTE
from tidemill.reports.picking import plot
from tidemill.reports.steps import waterfall
from tidemill.reports.tables import styled

__all__ = [
    "PALETTE",
    "breakdown",
    "cohorts",
    "funnel",
    "number",
    "plot",
    "series",
    "styled",
    "waterfall",
]
