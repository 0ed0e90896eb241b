"""Checking a question before it is asked: parameters, dimensions and filters, all problems at once.

Front ends pass texts, notebooks pass dates and lists; what comes out is typed, complete (defaults
filled in) and known to the metric's cube.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from tidemill.errors import InvalidDay, InvalidQuery, Issue, did_you_mean
from tidemill.metrics.base import Grain, Metric, Param, Question, RelativeDay
from tidemill.metrics.cube import Cube, Dimension
from tidemill.metrics.paging import Page, read_page
from tidemill.metrics.spec import Filter, Operator, QuerySpec
from tidemill.periods import EARLIEST, LATEST, parse_day

__all__ = ["NUMBER_MAX", "PERIODS_MAX", "Around", "Bound", "Condition", "bind"]

PERIODS_MAX = 5000
"""More periods than this are taken for a mistake in the range or the grain."""

NUMBER_MAX = 10_000
"""The largest number that a parameter takes."""

_DAYS_OF: dict[str, int] = {"day": 1, "week": 7, "month": 30, "quarter": 91, "year": 365}


@dataclass(frozen=True, slots=True)
class Condition:
    """Filters of one dimension and operator: any of the values will do (with ``!=``, none)."""

    dimension: Dimension
    operator: Operator
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Around:
    """What a question has beside what its metric declares, and what was wrong with it.

    cube:     the metric's, perhaps with more dimensions.
    first:    dimensions that come before those asked for.
    members:  makes the sets of customers that segments are; see `query.Query.members`.
    segments: the segments by name and version.
    """

    cube: Cube
    issues: tuple[Issue, ...] = ()
    first: tuple[Dimension, ...] = ()
    members: Callable[[Any], Any] | None = None
    segments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bound:
    """A question ready to be asked: every name is known, every value typed."""

    params: Mapping[str, Any]
    dimensions: tuple[Dimension, ...]
    conditions: tuple[Condition, ...]
    filters: tuple[str, ...]
    #: What it is cut by: the metric's own cube, with the attributes it was asked about.
    cube: Cube
    #: The day at whose close it is decided who is in a segment: the question's last one.
    members_on: date = LATEST
    members: Callable[[Any], Any] | None = None
    segments: tuple[str, ...] = ()
    #: Of a list which rows; all of them unless somebody is to look at them.
    page: Page = field(default_factory=Page)


@dataclass
class _Binder:
    metric: type[Metric]
    question: Question
    today: date
    cube: Cube
    issues: list[Issue] = field(default_factory=list)

    def refuse(self, path: str, problem: str, hint: str = "") -> None:
        self.issues.append(Issue(path, problem, hint))


def bind(
    metric: type[Metric],
    question: Question,
    params: Mapping[str, Any],
    spec: QuerySpec,
    today: date,
    around: Around | None = None,
) -> Bound:
    """The question with its parameters and its spec, checked.

    today: the calendar day, in the policy's zone, on which the question is asked.
    around: what it has beside what the metric declares.
    Raises: InvalidQuery with every problem found.
    """
    around = around or Around(metric.cube)
    binder = _Binder(metric, question, today, around.cube, list(around.issues))
    if (spec.segment is not None or spec.compare) and "customer" not in question.kinds:
        binder.refuse("segment", f"{question.name} is not about single customers")
    asked = {name: value for name, value in params.items() if value is not None}
    if spec.grain is not None:
        _take_grain(binder, spec.grain, asked)
    typed = _params(binder, asked)
    _check_range(binder, typed)
    dimensions = _dimensions(binder, spec)
    filters = _read_filters(binder, spec)
    conditions = _conditions(binder, filters)
    page = _page(binder, spec)
    if binder.issues:
        raise InvalidQuery(binder.issues)
    ordered = {param.name: typed[param.name] for param in question.params}
    last = ordered.get("end") or ordered.get("at") or today
    bound = Bound(ordered, dimensions, conditions, tuple(map(str, filters)), around.cube, last)
    return replace(
        bound,
        dimensions=(*around.first, *dimensions),
        members=around.members,
        segments=around.segments,
        page=page,
    )


def _page(binder: _Binder, spec: QuerySpec) -> Page:
    """Which rows of a list; any other question gives all it has."""
    if binder.question.lists:
        page, issues = read_page(spec.page.limit, spec.page.after)
        binder.issues += issues
        return page
    for name in spec.page.given():
        what = f"{binder.metric.name} {binder.question.name}"
        binder.refuse(name, f"{what} lists no rows: it always answers whole")
    return Page()


# --- parameters ---------------------------------------------------------------------------------


def _take_grain(binder: _Binder, grain: Grain, asked: dict[str, Any]) -> None:
    if binder.question.param("grain") is None:
        binder.refuse("grain", f"{binder.question.name} has no periods")
    elif asked.setdefault("grain", grain) != grain:
        binder.refuse("grain", f"is given twice, as {asked['grain']!r} and {grain!r}")


def _params(binder: _Binder, asked: Mapping[str, Any]) -> dict[str, Any]:
    known = [param.name for param in binder.question.params]
    for name in asked:
        if name not in known:
            listed = f"Parameters: {', '.join(known)}." if known else "It takes no parameters."
            hint = did_you_mean(name, known, otherwise=listed)
            what = f"{binder.metric.name} {binder.question.name}"
            binder.refuse(name, f"is not a parameter of {what}", hint)
    typed: dict[str, Any] = {}
    # The range's end comes first: other defaults are counted back from it.
    for param in sorted(binder.question.params, key=lambda each: each.name != "end"):
        if param.name in asked:
            typed[param.name] = _typed(binder, param, asked[param.name])
        elif param.required:
            binder.refuse(param.name, "is required", param.doc)
        elif isinstance(param.default, RelativeDay):
            end = typed.get("end")
            anchor = end if isinstance(end, date) else binder.today
            typed[param.name] = param.default.resolve(binder.today, anchor)
        else:
            typed[param.name] = param.default
    return typed


def _typed(binder: _Binder, param: Param, value: Any) -> Any:
    """The value as the question wants it; None, and a problem noted, when it cannot be that."""
    match param.kind:
        case "day":
            return _day(binder, param.name, value)
        case "choice":
            if value in param.choices:
                return value
            hint = did_you_mean(str(value), param.choices, otherwise="")
            listed = f"Choose one of {', '.join(param.choices)}."
            binder.refuse(param.name, f"{value!r} is not possible", f"{hint} {listed}".strip())
            return None
        case "number":
            return _number(binder, param.name, value)
        case "text":
            return str(value)


def _number(binder: _Binder, path: str, value: Any) -> int | None:
    written = str(value).strip()
    if written.isascii() and written.isdigit() and int(written[:9]) <= NUMBER_MAX:
        return int(written)
    binder.refuse(path, f"{value!r} is not a whole number", f"Write 0 to {NUMBER_MAX}.")
    return None


def _day(binder: _Binder, path: str, value: Any) -> date | None:
    try:
        day = parse_day(value) if isinstance(value, str | date) else None
    except InvalidDay:
        day = None
    if day is None:
        binder.refuse(path, f"{value!r} is not a calendar day", "Write YYYY-MM-DD.")
    elif not EARLIEST < day < LATEST:
        binder.refuse(path, f"{day} is out of reach", f"Days lie between {EARLIEST} and {LATEST}.")
        return None
    return day


def _check_range(binder: _Binder, typed: Mapping[str, Any]) -> None:
    start, end, grain = typed.get("start"), typed.get("end"), typed.get("grain")
    if not isinstance(start, date) or not isinstance(end, date):
        return
    if end < start:
        hint = "Both ends are included; for a single day give it twice."
        binder.refuse("end", f"the range ends on {end}, before it starts on {start}", hint)
    elif grain in _DAYS_OF and (end - start).days / _DAYS_OF[grain] > PERIODS_MAX:
        binder.refuse(
            "grain", f"the range has more than {PERIODS_MAX} periods", "Take a longer one."
        )


# --- dimensions and filters --------------------------------------------------------------------


def _dimensions(binder: _Binder, spec: QuerySpec) -> tuple[Dimension, ...]:
    found: dict[str, Dimension] = {}
    for name in spec.dimensions:
        dimension = _known(binder, name, "dimensions")
        if dimension is not None:
            found.setdefault(dimension.name, dimension)
    return tuple(found.values())


def _read_filters(binder: _Binder, spec: QuerySpec) -> list[Filter]:
    read = []
    for written in spec.filters:
        try:
            read.append(written if isinstance(written, Filter) else Filter.parse(written))
        except InvalidQuery as error:
            binder.issues.extend(error.issues)
    return read


def _conditions(binder: _Binder, filters: list[Filter]) -> tuple[Condition, ...]:
    grouped: dict[tuple[str, Operator], list[Any]] = {}
    known: dict[str, Dimension] = {}
    for each in filters:
        dimension = _known(binder, each.dimension, "where")
        if dimension is None:
            continue
        known[dimension.name] = dimension
        value = _filter_value(binder, dimension, each)
        grouped.setdefault((dimension.name, each.operator), []).append(value)
    return tuple(
        Condition(known[name], operator, tuple(values))
        for (name, operator), values in grouped.items()
    )


def _known(binder: _Binder, name: str, path: str) -> Dimension | None:
    cube = binder.cube
    usable = [each.name for each in cube.dimensions if each.kind in binder.question.kinds]
    dimension = cube.dimension(name) or cube.dimension(name.replace("-", "_"))
    if dimension is None:
        hint = did_you_mean(name, usable, otherwise=f"Known: {', '.join(usable)}.")
        binder.refuse(path, f"no dimension is named {name!r}", hint)
        return None
    if dimension.kind not in binder.question.kinds:
        what = f"{binder.metric.name} {binder.question.name}"
        others = [q.name for q in binder.metric.questions().values() if dimension.kind in q.kinds]
        hint = f"Ask {binder.metric.name} {' or '.join(others)} for it." if others else ""
        binder.refuse(path, f"{name!r} describes movements and cannot cut {what}", hint)
        return None
    return dimension


def _filter_value(binder: _Binder, dimension: Dimension, filter_: Filter) -> Any:
    path = f"where {filter_}"
    value = filter_.value
    # PostgreSQL takes neither; without this the driver would fail in its own words.
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        binder.refuse(f"where {dimension.name}", "the value holds a character no text can hold")
        return None
    if not value:
        binder.refuse(path, "the value is empty", "For rows without one, compare with 'unknown'.")
        return None
    if filter_.operator == "~=":
        if dimension.unit != "text":
            binder.refuse(path, f"{dimension.name} is a day: it contains no text", "Use =.")
        return value
    try:
        read = dimension.read(value)
    except ValueError as error:
        binder.refuse(path, f"{value!r} is not a {dimension.name}", str(error))
        return None
    if dimension.values and read not in dimension.values:
        hint = did_you_mean(value, dimension.values)
        listed = f"Choose one of {', '.join(dimension.values)}."
        binder.refuse(path, f"{value!r} is not a {dimension.name}", f"{hint} {listed}".strip())
    return read
