"""The options that every reading command has."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import typer

from tidemill.cli.generating import option
from tidemill.cli.output import Format
from tidemill.metrics.paging import ALL, ROWS_MAX
from tidemill.presets import PRESETS

__all__ = [
    "COMPARE_TO",
    "CUTTING",
    "EXACT",
    "FORMAT",
    "PAGE",
    "POLICY",
    "SQL",
    "TABLE_OR_JSON",
    "Printed",
]

_CUT, _UNDER, _OUT = "Cut the answer", "Under which definition", "Output"

CUTTING: Final = (
    option(
        "by",
        "--by",
        kind=list[str] | None,
        metavar="DIM",
        help="Group by a dimension, such as plan or country. Repeatable.",
        rich_help_panel=_CUT,
    ),
    option(
        "where",
        "--where",
        kind=list[str] | None,
        metavar="DIM=VALUE",
        help="Only rows like this; also DIM!=VALUE and DIM~=TEXT. Repeatable.",
        rich_help_panel=_CUT,
    ),
    option(
        "segment",
        "--segment",
        metavar="NAME",
        help="Only the customers of a saved segment: see tidemill segments.",
        rich_help_panel=_CUT,
    ),
    option(
        "compare_segments",
        "--compare-segment",
        kind=list[str] | None,
        metavar="NAME",
        help="Segments side by side, up to ten. Repeatable.",
        rich_help_panel=_CUT,
    ),
    option(
        "source",
        "--source",
        metavar="NAME",
        help="Only one connected source.",
        rich_help_panel=_CUT,
    ),
)

COMPARE_TO: Final = option(
    "compare_to",
    "--compare-to",
    metavar="RANGE",
    help="Beside it the figures of another range: previous, year_ago or DAY..DAY.",
    rich_help_panel=_CUT,
)

POLICY: Final = (
    option(
        "preset",
        "--preset",
        metavar="NAME",
        help="Use the definitions of this preset: see tidemill policies.",
        rich_help_panel=_UNDER,
        autocompletion=lambda: list(PRESETS),
    ),
    option(
        "set",
        "--set",
        kind=list[str] | None,
        metavar="KNOB=VALUE",
        help="Turn one knob of the policy. Repeatable.",
        rich_help_panel=_UNDER,
    ),
    option(
        "known_at",
        "--known-at",
        metavar="INSTANT",
        help="As it was known then, such as 2025-07-01T00:00:00Z.",
        rich_help_panel=_UNDER,
    ),
)

PAGE: Final = (
    option(
        "limit",
        "--limit",
        metavar=f"N|{ALL}",
        help=f"How many rows of the list, or {ALL} of them.",
        show_default=str(ROWS_MAX),
        rich_help_panel=_OUT,
    ),
    option(
        "after",
        "--after",
        metavar="PLACE",
        help="Go on where the page before ended, as it says.",
        rich_help_panel=_OUT,
    ),
)

FORMAT: Final = option(
    "format",
    "--format",
    kind=Format,
    default="table",
    help="How to print the answer.",
    show_default=True,
    rich_help_panel=_OUT,
)
TABLE_OR_JSON: Final = option(
    "format",
    "--format",
    kind=Literal["table", "json"],
    default="table",
    help="How to print the answer.",
    show_default=True,
    rich_help_panel=_OUT,
)
EXACT: Final = option(
    "exact",
    "--exact",
    kind=bool,
    default=False,
    help="CSV: money in minor units with all decimals instead of rounded.",
    rich_help_panel=_OUT,
)
SQL: Final = option(
    "sql",
    "--sql",
    kind=bool,
    default=False,
    help="Print the SQL instead of the answer.",
    rich_help_panel=_OUT,
)


Printed = Annotated[Literal["table", "json"], typer.Option("--format", help="How to print it.")]
"""The same as `TABLE_OR_JSON`, for commands that are written out."""
