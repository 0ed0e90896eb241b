"""Our own table of costs: what was spent, on which day and for what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time
from hashlib import sha256

import msgspec

from tidemill.connectors.files.tables.making import made
from tidemill.connectors.files.tables.sheet import Cells, all_or_none, read_sheet
from tidemill.errors import InvalidDay
from tidemill.events import Event
from tidemill.payloads import Expense
from tidemill.periods import parse_day
from tidemill.vocabulary import ExpenseCategory

__all__ = ["read_expenses"]

_CATEGORIES = {each.value: each for each in ExpenseCategory}
_TELLING = ("day", "category", "channel", "vendor", "description", "currency")


def read_expenses(files: Sequence[str], source: str, at: datetime) -> list[Event]:
    """Costs, a line each.

    Columns ``day``, ``amount`` (in major units), ``currency``, ``category``; and perhaps
    ``expense`` (an id), ``channel``, ``vendor``, ``description``. A line without an id is known by
    all it says but the amount, so a corrected amount replaces the one before.
    """
    del at  # every line has its day
    sheets = [read_sheet(file) for file in files]
    for sheet in sheets:
        sheet.must_have("day", "amount", "currency", "category")
    seen: dict[str, str] = {}
    lines = (line for sheet in sheets for line in sheet.lines)
    return all_or_none((e for line in lines for e in _expense(line, source, seen)), *sheets)


def _expense(line: Cells, source: str, seen: dict[str, str]) -> Iterator[Event]:
    category = _CATEGORIES.get(line.needed("category").lower())
    if category is None and line.text("category"):
        line.refuse("category", "is none of " + ", ".join(_CATEGORIES))
    code, written = line.currency("currency"), line.needed("day")
    if not line.text("amount"):
        line.refuse("amount", "is empty")
    amount = line.minor(code, "amount")
    if amount is not None and amount != amount.to_integral_value():
        line.refuse("amount", f"is finer than the smallest unit of {code}")
        amount = None
    key = line.text("expense") or _key(line)
    if first := seen.get(key):
        hint = "Give each cost an id in a column expense, or add them up."
        line.refuse("expense", f"is the same cost as {first}", hint)
    seen[key] = line.origin
    try:
        spent_on = parse_day(written) if written else None
    except InvalidDay as error:
        line.refuse("day", error.message.rstrip("."), error.hint)
        return
    if spent_on is None or category is None or amount is None:
        return
    payload = Expense(
        id=key,
        day=spent_on,
        amount=int(amount),
        currency=code,
        category=category,
        channel=line.text("channel"),
        vendor=line.text("vendor"),
        description=line.text("description"),
    )
    when = datetime.combine(spent_on, time(), UTC)
    yield from made(line, source, "expense.recorded", "", when, payload)


def _key(line: Cells) -> str:
    """What tells a cost from others when it has no id of its own."""
    said = [line.text(each) or "" for each in _TELLING]
    return "line_" + sha256(msgspec.json.encode(said)).hexdigest()[:24]
