"""Exchange rates from CSV: a header line with the columns day, quote and rate, and perhaps base."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime, time

from tidemill.connectors.files.lines import opened
from tidemill.errors import InvalidDay, InvalidEvent, InvalidFile, UnreadableFile
from tidemill.events import Event, make_event
from tidemill.payloads import FxRate
from tidemill.periods import parse_day
from tidemill.problems import Problem

__all__ = ["RATES_SOURCE", "read_rates"]

RATES_SOURCE = "fx"
"""The source that rates loaded from files belong to."""

_NEEDED = ("day", "quote", "rate")


def read_rates(file: str, *, base: str) -> list[Event]:
    """The rates of a file (``-`` is standard input) as events, all of them or none.

    A line says that from `day` on one major unit of `quote` is worth `rate` major units of `base`.

    base:   the base of lines that do not name theirs.
    Raises: InvalidFile with every problem of every line; UnreadableFile.
    """
    with opened(file) as (name, stream):
        try:
            text = stream.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UnreadableFile(name, f"it is not UTF-8 (byte {error.start})") from None
    lines = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    columns = [(each or "").strip().lower() for each in lines.fieldnames or ()]
    lines.fieldnames = columns
    missing = [each for each in _NEEDED if each not in columns]
    if missing:
        hint = "Begin the file with the line day,quote,rate."
        raise InvalidFile([Problem(name, f"has no column {each}", hint) for each in missing])
    events: list[Event] = []
    problems: list[Problem] = []
    for line in lines:
        origin = f"{name}:{lines.line_num}"
        try:
            events.append(_event({"base": base, **_filled(line)}))
        except InvalidDay as error:
            problems.append(Problem(origin, error.message, error.hint))
        except InvalidEvent as error:
            for each in error.problems:
                what = f"{each.path.removeprefix('data.')} {each.problem}"
                problems.append(Problem(origin, what, each.hint))
    if problems:
        raise InvalidFile(problems)
    return events


def _filled(line: Mapping[str | None, str | list[str] | None]) -> dict[str, str]:
    cells = ((name, value) for name, value in line.items() if isinstance(value, str))
    return {name: value.strip() for name, value in cells if name and value.strip()}


def _event(cells: Mapping[str, str]) -> Event:
    day = parse_day(cells.get("day", ""))
    rate = cells.get("rate", "")
    payload = FxRate(base=cells["base"], quote=cells.get("quote", ""), day=day, rate=rate)
    midnight = datetime.combine(day, time(), UTC)
    # The rate is part of the identity: a corrected one is another event, and the later counts.
    return make_event(RATES_SOURCE, "fx_rate.published", "", midnight, payload, native_id=rate)
