"""What an answer says of its own figures: which can still change, and which have no value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from tidemill.metrics.base import Table
from tidemill.periods import Period

__all__ = ["undefined", "unfinished"]

# Of a warning's rows only so many are named.
_NAMED_MAX: Final = 5


def unfinished(periods: Sequence[Period], known: datetime, tz: str) -> tuple[str, ...]:
    """A warning that names the periods that can still change; none when all are over.

    known: the instant up to which anything is known.
    tz:    the zone of the periods.
    """
    open_ones = [period for period in periods if period.complete_at > known]
    if not open_ones:
        return ()
    first, last = open_ones[0], open_ones[-1]
    if first != last:
        said = f"The periods {first.key} to {last.key} are not over in {tz}"
    else:
        what = "day" if first.day_count == 1 else "period"
        said = f"The {what} {first.key} is not over in {tz}"
    return (f"{said}: the figures can still change.",)


def undefined(table: Table, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A sentence for every quotient that has no value somewhere, saying why."""
    for column in table.columns:
        without = [row for row in rows if row[column.name] is None]
        if not column.undefined or not without:
            continue
        where = ""
        if len(rows) > 1:
            label = table.columns[0].name
            named = [str(row[label]) for row in without]
            more = f" and {len(named) - _NAMED_MAX} more" if len(named) > _NAMED_MAX else ""
            where = f" for {', '.join(named[:_NAMED_MAX])}{more}"
        yield f"{column.name} is undefined{where}: {column.undefined}."
