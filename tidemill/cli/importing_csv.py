"""`tidemill import csv KIND FILE…`: tables of what people know, or can export, as events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from tidemill.cli.tables import as_table
from tidemill.connectors.files.tables import TABLES
from tidemill.events import Event
from tidemill.periods import parse_instant
from tidemill.problems import did_you_mean

__all__ = ["At", "Source", "What", "reading", "understood"]

_KINDS = "; ".join(f"{name}: {table.about}" for name, table in TABLES.items())

What = Annotated[
    list[str],
    typer.Argument(
        metavar="KIND FILE…", help=f"What the files hold, and the files; - reads stdin. {_KINDS}."
    ),
]
Source = Annotated[
    str,
    typer.Option("--source", metavar="NAME", help="The source whose customers the files name."),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="INSTANT",
        help="When what has no date became so.",
        show_default="the time of the import",
    ),
]

# So many events are shown in full by a dry run.
_SHOWN_MAX = 10


def reading(what: Sequence[str], source: str, at: str | None) -> list[Event]:
    """The events of the files, all of them or none.

    Raises: InvalidFile with every problem of every line; typer.BadParameter for an unknown kind.
    """
    kind, *files = what
    if kind not in TABLES or not files:
        known = f"Known: {', '.join(TABLES)}."
        hint = did_you_mean(kind, TABLES, otherwise=known) if kind not in TABLES else ""
        said = "Name the files after the kind." if kind in TABLES else f"No kind is named {kind!r}."
        raise typer.BadParameter(f"{said} {hint}".strip())
    moment = datetime.now(UTC) if at is None else parse_instant(at)
    return TABLES[kind].read(files, source, moment)


def understood(events: Sequence[Event]) -> str:
    """What would be taken in: how many events of each type, and the first of them."""
    counted = Counter(event.type for event in events)
    rows = [(kind, f"{number:,}") for kind, number in sorted(counted.items())]
    shown = [
        (f"{each.occurred_at:%Y-%m-%d %H:%M}", each.type, each.customer, each.data.decode())
        for each in events[:_SHOWN_MAX]
    ]
    return "\n".join(
        [
            f"{len(events):,} events would be taken in.",
            "",
            as_table(("type", "events"), rows, right=(False, True)),
            "",
            as_table(("occurred at", "type", "customer", "says"), shown),
        ]
    )
