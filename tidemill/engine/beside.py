"""An answer beside that of an earlier range: what was, and by how much it changed.

Rows are matched by what they are about (their groups, their type) and by the place of their period,
or of their cohort, in its range. Nothing is taken for zero that is not in an answer, and a change
from zero has no rate: it is null, with a warning, and never 100 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

from tidemill.engine.answering import Asked, Asker
from tidemill.engine.comparison import Value, less
from tidemill.errors import InvalidQuery, Issue
from tidemill.metrics.base import Question
from tidemill.metrics.columns import Column
from tidemill.metrics.earlier import change_rate, earlier_range
from tidemill.metrics.result import PERIODS, SIDES, Result, Row
from tidemill.periods import periods

__all__ = ["answer_beside", "earlier_of"]

_AGE: Final = "offset"
_FIGURES: Final = frozenset({"money", "count", "ratio"})
_NAMED_MAX: Final = 5

_UNDEFINED: Final = "it was zero before, or is not known on one side"


def earlier_of(asked: Asked, to: str) -> Asked:
    """The question of the range that it is compared with.

    Raises: InvalidQuery when it has no range, or lists rows that cannot be matched.
    """
    _require_matchable(asked.info.name, asked.question)
    params = asked.bound.params
    start, end = earlier_range(to, params["start"], params["end"], params.get("grain"))
    # The same customers, where it is asked of a segment: `members_on` stays.
    moved = replace(asked.bound, params={**params, "start": start, "end": end})
    return replace(asked, bound=moved)


def _require_matchable(metric: str, question: Question) -> None:
    what = f"{metric} {question.name}"
    if not {"start", "end"} <= {each.name for each in question.params}:
        hint = "Ask a question with a range of days, such as series."
        raise InvalidQuery([Issue("compare_to", f"{what} is of no range of days", hint)])
    if any(_is_listed(each) for each in question.columns):
        problem = f"{what} lists rows, of which none is the same in two ranges"
        raise InvalidQuery([Issue("compare_to", problem, "Ask a question of figures.")])


def _is_listed(column: Column) -> bool:
    """Whether a column tells rows apart that another range cannot have."""
    of_a_row = column.unit == "instant" or column.currency_column is not None
    return of_a_row or (column.unit == "day" and column.name not in PERIODS)


def _is_figure(column: Column) -> bool:
    """Whether a column says how much there is, and not of what: an age is none."""
    return column.unit in _FIGURES and not column.dimension and column.name != _AGE


def _period_in(names: Sequence[str]) -> str | None:
    """The column that names a period, where there is one."""
    return next((name for name in names if name in PERIODS), None)


def answer_beside(asker: Asker, asked: Asked, to: str) -> Result:
    """The answer with the earlier one beside it, both of one snapshot.

    Raises: as `Asker.answer`, and `earlier_of`.
    """
    before = earlier_of(asked, to)
    return _beside(asker.answer(asked), asker.answer(before), _places(asked, before))


def _places(asked: Asked, before: Asked) -> tuple[dict[date, int], dict[date, int]]:
    """Period → its place, in both ranges; empty where the question has no periods."""
    found = []
    for each in (asked, before):
        params = each.bound.params
        grain = params.get("grain")
        keys = periods(params["start"], params["end"], grain) if grain else []
        found.append({period.key: place for place, period in enumerate(keys)})
    return found[0], found[1]


def _beside(now: Result, before: Result, places: tuple[dict[date, int], dict[date, int]]) -> Result:
    figures = [each for each in now.columns if _is_figure(each)]
    about = [each.name for each in now.columns if each not in figures]
    earlier = {_key(row, about, places[1]): row for row in before.rows}
    current = {_key(row, about, places[0]): row for row in now.rows}
    keys = dict.fromkeys((*current, *(key for key in earlier if _placed(key, about, places[0]))))
    columns = tuple(_columns(now.columns, figures))
    names = (about, figures, places)
    rows = tuple(_row(current.get(key), earlier.get(key), key, names) for key in keys)
    warnings = [*_said(now, before, places), *now.warnings, *_undefined(columns, rows, about)]
    return replace(
        now,
        columns=columns,
        rows=rows,
        complete=now.complete and before.complete,
        warnings=tuple(dict.fromkeys(warnings)),
        compared={name: before.params[name] for name in ("start", "end")},
    )


def _key(row: Row, about: Sequence[str], places: Mapping[date, int]) -> tuple[Any, ...]:
    return tuple(places[row[name]] if name in PERIODS else row[name] for name in about)


def _placed(key: tuple[Any, ...], about: Sequence[str], places: Mapping[date, int]) -> bool:
    """Whether a row of the earlier range belongs beside a period of this one."""
    period = _period_in(about)
    return period is None or key[about.index(period)] < len(places)


def _columns(columns: Sequence[Column], figures: Sequence[Column]) -> Iterator[Column]:
    for each in columns:
        if each not in figures:
            yield each
            if each.name in PERIODS:
                name, doc = f"{each.name}_compared", f"The {each.name} compared with."
                yield replace(each, name=name, doc=doc, nullable=True)
            continue
        nullable = replace(each, nullable=True)
        yield nullable
        yield replace(nullable, name=f"{each.name}_compared", doc="In the range compared with.")
        if not each.name.endswith(SIDES):
            yield replace(nullable, name=f"{each.name}_change", doc="Now less then.")
            yield Column(
                f"{each.name}_change_rate",
                "ratio",
                "The change over what was, whatever its sign.",
                nullable=True,
                undefined=_UNDEFINED,
                share=True,
            )


def _row(
    now: Row | None,
    before: Row | None,
    key: tuple[Any, ...],
    names: tuple[Sequence[str], Sequence[Column], tuple[dict[date, int], dict[date, int]]],
) -> dict[str, Any]:
    about, figures, places = names
    row: dict[str, Any] = dict(zip(about, key, strict=True))
    if (period := _period_in(about)) is not None:
        place = row[period]
        row[period], row[f"{period}_compared"] = (_at(each, place) for each in places)
    for each in figures:
        one: Value = None if now is None else now[each.name]
        other: Value = None if before is None else before[each.name]
        row[each.name], row[f"{each.name}_compared"] = one, other
        if not each.name.endswith(SIDES):
            change = less(one, other)
            row[f"{each.name}_change"] = change
            row[f"{each.name}_change_rate"] = change_rate(change, other)
    return row


def _at(places: Mapping[date, int], place: int) -> date | None:
    return next((key for key, number in places.items() if number == place), None)


def _said(
    now: Result, before: Result, places: tuple[dict[date, int], dict[date, int]]
) -> Iterator[str]:
    yield f"Compared with {before.params['start']} to {before.params['end']}."
    if len(places[0]) != len(places[1]):
        yield (
            f"The range has {len(places[0])} periods, and the one it is compared with "
            f"{len(places[1])}: they are matched by their place."
        )
    if not now.complete and before.complete:
        yield "A period that is not over is compared with one that is."
    yield from (f"Of the range compared with: {each}" for each in before.warnings
                if each not in now.warnings)  # fmt: skip


def _undefined(
    columns: Sequence[Column], rows: Sequence[Row], about: Sequence[str]
) -> Iterator[str]:
    """Why a change has no rate, said once for all figures: mostly they were zero together."""
    rates = [each.name for each in columns if each.undefined == _UNDEFINED]
    named = [name for name in rates if any(row[name] is None for row in rows)]
    if not named:
        return
    where = ""
    if len(rows) > 1 and about:
        found = [" ".join(str(row[name]) for name in about)
                 for row in rows if any(row[name] is None for name in named)]  # fmt: skip
        more = len(found) - _NAMED_MAX
        where = f" for {', '.join(found[:_NAMED_MAX])}" + (f" and {more} more" if more > 0 else "")
    verb = "is" if len(named) == 1 else "are"
    yield f"{', '.join(named)} {verb} undefined{where}: {_UNDEFINED}."
