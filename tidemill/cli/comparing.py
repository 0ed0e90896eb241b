"""`tidemill compare METRIC [QUESTION] …`: one question under several policies, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import typer

from tidemill.cli.beside import change_text
from tidemill.cli.errors import exit_code_of, written
from tidemill.cli.generating import option
from tidemill.cli.options import CUTTING, EXACT, FORMAT, POLICY
from tidemill.cli.output import as_csv, as_json, complain, note, say
from tidemill.cli.reading import Resolved, engine_arguments, require_source, resolve_about
from tidemill.cli.session import session_of
from tidemill.cli.tables import as_table
from tidemill.engine import CUSTOMERS_MAX, Comparison
from tidemill.engine.comparison import Change, CustomerChanges, Pair, ToldMovement, Value
from tidemill.metrics.columns import Column
from tidemill.metrics.result import Row, shown
from tidemill.policy import read_overrides
from tidemill.presets import PRESETS

__all__ = ["resolve_compare"]

_COMPARE: Final = """A number under several definitions, and which knobs and customers differ.

It takes the options of the question it compares: see `tidemill METRIC QUESTION --help`."""
_NUMBERS: Final = frozenset({"money", "ratio", "count"})
# What is told of a movement, or of another row that a metric stands on.
_TOLD: Final = ("day", "type", "outcome", "amount", "cause", "event_id")
_UNDEFINED: Final = "undefined"
# More movements of one customer than this are read by programs, not by people.
_MOVEMENTS_MAX: Final = 6
_PRESET: Final = Column("preset", "text")

_OPTIONS: Final = (
    option(
        "preset",
        "--preset",
        kind=list[str] | None,
        metavar="NAME",
        help="A policy to compare: a preset, preset;knob=value, or configured. Repeatable; the "
        "first is the baseline, or the configured policy when there is only one.",
        rich_help_panel="Under which definitions",
        autocompletion=lambda: list(PRESETS),
    ),
    option(
        "set",
        "--set",
        kind=list[str] | None,
        metavar="KNOB=VALUE",
        help="Turn one knob in all of them. Repeatable.",
        rich_help_panel="Under which definitions",
    ),
    *(each for each in POLICY if each.name == "known_at"),
    *CUTTING,
    option(
        "limit",
        "--limit",
        kind=int,
        default=CUSTOMERS_MAX,
        min=0,
        metavar="N",
        help="How many of the customers that differ are listed.",
        show_default=True,
        rich_help_panel="Output",
    ),
    FORMAT,
    EXACT,
)


def resolve_compare(arguments: Sequence[str]) -> Resolved:
    """The command for `tidemill compare METRIC [QUESTION] …`.

    Raises: UnknownMetric, UnknownQuestion.
    """
    return resolve_about("compare", arguments, _compare, _OPTIONS, help_text=_COMPARE)


def _compare(context: typer.Context, values: dict[str, Any]) -> None:
    how, exact, limit = values.pop("format"), values.pop("exact"), values.pop("limit")
    presets = values["preset"] or ()
    asked = engine_arguments(values | {"preset": None}) | {
        "presets": presets,
        "set": read_overrides(values["set"] or ()),
        "limit": limit,
    }
    del asked["preset"]
    with session_of(context).open() as tidemill:
        comparison = tidemill.compare(**asked)
    require_source(values["source"], comparison.freshness)
    _show(comparison, how, exact=exact)
    errors = [each.error for each in comparison.sides if each.error]
    for each in comparison.sides:
        if each.error:
            complain(f"{each.label}: {written(each.error.document())}")
    if errors:
        raise typer.Exit(exit_code_of(errors[0]))


# --- printing -------------------------------------------------------------------------------------


def _show(comparison: Comparison, how: str, *, exact: bool) -> None:
    if how == "json":
        say(as_json(comparison.to_dict()))
        return
    if how == "csv":
        columns = (_PRESET, *comparison.columns)
        say(as_csv(columns, (row for _, row in _side_by_side(comparison)), exact=exact))
    else:
        parts = [
            _answers(comparison),
            *(_difference(comparison, each) for each in comparison.pairs),
        ]
        say("\n\n\n".join(parts))
    for warning in comparison.warnings:
        note(f"warning: {warning}")


def _side_by_side(comparison: Comparison) -> Iterator[tuple[str, Row]]:
    """Label and row of every answer; rows about the same thing follow each other."""
    keys = [each.name for each in comparison.keys]
    found: dict[tuple[Any, ...], list[tuple[str, Row]]] = {}
    for side in comparison.sides:
        for row in side.result.rows if side.result else ():
            key = tuple(row[name] for name in keys)
            found.setdefault(key, []).append((side.label, {"preset": side.label} | dict(row)))
    for rows in found.values():
        yield from rows


def _answers(comparison: Comparison) -> str:
    """Every answer: by what its rows are about, then by policy."""
    keys = list(comparison.keys)
    figures = [each for each in comparison.columns if each not in comparison.keys]
    rows: list[list[str]] = [
        [*(shown(each, row) for each in keys), label, *(_told(each, row) for each in figures)]
        for label, row in _side_by_side(comparison)
    ]
    rows += [
        [*("" for _ in keys), side.label, *(f"({side.error.code})" for _ in figures)]
        for side in comparison.sides
        if side.error is not None
    ]
    names = [*(each.name for each in keys), "preset", *(each.name for each in figures)]
    return as_table(names, rows, right=[*_sides(keys), False, *(True for _ in figures)])


def _difference(comparison: Comparison, pair: Pair) -> str:
    """Everything about one policy against the baseline."""
    differing = [each for each in pair.changes if each.differs]
    parts = [f"{pair.other} less {pair.baseline}"]
    if not differing:
        parts.append("No figure differs.")
    elif comparison.keys:
        parts.append(_changes_table(comparison.keys, differing, pair))
    else:
        parts.append(_knob_table(differing, pair))
    parts += _remarks(pair, differing)
    if pair.customers is not None and pair.customers.count:
        parts += _customers(comparison, pair, pair.customers)
    return "\n\n".join(parts)


def _knob_table(changes: Sequence[Change], pair: Pair) -> str:
    """The figures of an answer of one row, a column each, knob by knob."""
    turned = {part.knobs: part.turned for change in changes for part in change.parts}
    order = [each.knob for each in pair.knobs]
    rows = []
    for knobs in sorted(turned, key=lambda each: order.index(turned[each][0].knob)):
        amounts = [
            next((part.amount for part in change.parts if part.knobs == knobs), 0)
            for change in changes
        ]
        if any(amounts):
            before, after = (
                " + ".join(getattr(each, name) for each in turned[knobs])
                for name in ("value", "other")
            )
            told = (
                _change(each.column, amount) if amount else ""
                for each, amount in zip(changes, amounts, strict=True)
            )
            rows.append([knobs, before, after, *told])
    rows.append(["all", "", "", *(_change(each.column, each.difference) for each in changes)])
    names = ["knob", pair.baseline, pair.other, *(each.column.name for each in changes)]
    return as_table(names, rows, right=(False, False, False, *(True for _ in changes)))


def _changes_table(keys: Sequence[Column], changes: Sequence[Change], pair: Pair) -> str:
    """The figures that differ, a line each, with a column for every knob that has a part in one."""
    parts_of = [{each.knobs: each for each in change.parts if each.amount} for change in changes]
    order = [each.knob for each in pair.knobs]
    found = {knobs: part.turned[0].knob for parts in parts_of for knobs, part in parts.items()}
    knobs = sorted(found, key=lambda each: order.index(found[each]))
    rows = []
    for change, parts in zip(changes, parts_of, strict=True):
        column = change.column
        rows.append(
            [
                *_key_cells(keys, change),
                column.name,
                *(_amount(column, each) for each in (change.baseline, change.other)),
                _change(column, change.difference),
                *(_change(column, parts[knob].amount) if knob in parts else "" for knob in knobs),
            ]
        )
    names = [
        *(each.name for each in keys),
        "figure",
        pair.baseline,
        pair.other,
        "difference",
        *knobs,
    ]
    right = [*_sides(keys), False, *(True for _ in range(3 + len(knobs)))]
    return as_table(names, rows, right=right)


def _remarks(pair: Pair, changes: Iterable[Change]) -> Iterator[str]:
    """What is to know of the knobs: which made no difference, and what could not be told apart."""
    moving = {
        turned.knob
        for change in changes
        for part in change.parts
        if part.amount
        for turned in part.turned
    }
    still = [
        each.knob for each in pair.knobs if each.knob not in moving and each.knob not in pair.idle
    ]
    lines = []
    if still:
        lines.append(f"No difference here: {', '.join(still)}.")
    if pair.idle:
        lines.append(f"Not about this metric: {', '.join(pair.idle)}.")
    lines += pair.notes
    if lines:
        yield "\n".join(lines)


def _customers(comparison: Comparison, pair: Pair, found: CustomerChanges) -> Iterator[str]:
    """Who differs, and the movements behind."""
    keys = comparison.keys
    rows = []
    for each in found.listed:
        change = each.changes[0]
        rows.append(
            [
                each.customer,
                *_key_cells(keys, change),
                change.column.name,
                *(_amount(change.column, value) for value in (change.baseline, change.other)),
                _change(change.column, change.difference),
            ]
        )
    names = ["customer", *(each.name for each in keys), "figure", pair.baseline, pair.other]
    right = [False, *_sides(keys), False, True, True, True]
    noun = "customer differs" if found.count == 1 else "customers differ"
    what = ", each in the row and figure in which it differs most" if keys else ""
    parts = [f"{found.count:,} {noun}{what}:"]
    if rows:
        parts.append(as_table([*names, "difference"], rows, right=right))
    hidden = found.count - len(found.listed)
    if hidden:
        rest = "" if keys else f", {_change(found.figure, found.others)} in all"
        parts.append(f"and {hidden:,} more{rest}; --limit lists them.")
    yield "\n".join(parts)
    yield from _movements(pair, found)


def _movements(pair: Pair, found: CustomerChanges) -> Iterator[str]:
    rows, hidden = [], 0
    told_ones = [told for each in found.listed for told in each.movements]
    known = {column.name for told in told_ones for column in told.columns}
    names = [name for name in _TOLD if name in known]
    for each in found.listed:
        rows += [_movement(each.customer, told, names) for told in _largest(each.movements)]
        hidden += max(0, len(each.movements) - _MOVEMENTS_MAX)
    if not rows:
        if found.listed:
            yield "Their movements are the same: what differs is how they are valued or counted."
        return
    more = f"\nand {hidden:,} more, with --format json" if hidden else ""
    right = [False, False, *(name == "amount" for name in names)]
    table = as_table(["customer", "under", *names], rows, right=right)
    yield (
        f"Their movements that only {pair.baseline} or only {pair.other} has; where both have the "
        f"same, those of the range:\n{table}{more}"
    )


def _largest(movements: Sequence[ToldMovement]) -> list[ToldMovement]:
    """The largest movements, in their own order."""
    ranked = sorted(movements, key=lambda each: abs(each.row.get("amount", 0)), reverse=True)
    kept = {id(each) for each in ranked[:_MOVEMENTS_MAX]}
    return [each for each in movements if id(each) in kept]


def _movement(customer: str, told: ToldMovement, names: Sequence[str]) -> list[str]:
    columns = {each.name: each for each in told.columns}
    return [customer, told.under or "both", *(shown(columns[name], told.row) for name in names)]


# --- cells ----------------------------------------------------------------------------------------


def _key_cells(keys: Sequence[Column], change: Change) -> list[str]:
    return [shown(each, {each.name: value}) for each, value in zip(keys, change.key, strict=True)]


def _amount(column: Column, value: Value) -> str:
    named = replace(column, name="value")
    return _UNDEFINED if value is None else shown(named, {"value": value})


def _change(column: Column, value: Value) -> str:
    return change_text(column, value) or _UNDEFINED


def _told(column: Column, row: Row) -> str:
    return shown(column, row) or _UNDEFINED


def _sides(columns: Iterable[Column]) -> list[bool]:
    return [each.unit in _NUMBERS for each in columns]
