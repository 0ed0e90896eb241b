"""What a metric is made of, and how its signature becomes the interface.

A *metric* is a class; a *question* is one of its methods. The method's signature is read once and
becomes the command line, the HTTP routes, the Python facade and the docs::

    @metric("mrr", title="Monthly recurring revenue")
    class Mrr(Metric):
        cube = MOVEMENTS

        @question(money("mrr"), default=True)
        def current(self, q: Query, at: Day = TODAY) -> Table:
            return q.table(...)

A question describes its answer as a `Table` (typed columns and one SELECT); it never executes and
never knows what time it is. Parameters are days, choices, whole numbers or texts; their
documentation is the ``Args:`` section of the docstring.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, TypeVar, cast

from sqlalchemy import Select

from tidemill.ledger import Fact, Measure
from tidemill.metrics.columns import Column
from tidemill.metrics.cube import Cube, Rollup
from tidemill.periods import GRAINS, Grain, Period, add_months, period_start
from tidemill.policy import Policy
from tidemill.relations import Relations

__all__ = [
    "LAST_QUARTER",
    "MONTH_START",
    "TODAY",
    "YEAR_AHEAD",
    "YEAR_OF_MONTHS",
    "Behind",
    "Check",
    "Day",
    "Grain",
    "Metric",
    "Param",
    "ParamKind",
    "Question",
    "RateNeed",
    "RelativeDay",
    "Rows",
    "Table",
    "Work",
    "metric",
    "question",
]

Day = date
"""A calendar day in the policy's time zone; fronts write it YYYY-MM-DD."""


# --- parameters ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RelativeDay:
    """A default day that depends on the day the question is asked.

    ``resolve(today, end)`` gives the day; `end` is the range's last day, or today without one.
    """

    doc: str
    resolve: Callable[[date, date], date]


# Typed Any so that signatures can say `at: Day = TODAY`.
TODAY: Final[Any] = RelativeDay("today", lambda today, _: today)
MONTH_START: Final[Any] = RelativeDay(
    "the first day of the month that `end` falls into", lambda _, end: period_start(end, "month")
)
YEAR_OF_MONTHS: Final[Any] = RelativeDay(
    "the first day of the month eleven months before `end`",
    lambda _, end: add_months(period_start(end, "month"), -11),
)

LAST_QUARTER: Final[Any] = RelativeDay(
    "the last day of the latest quarter that is over",
    lambda today, _: period_start(today, "quarter") - timedelta(days=1),
)
YEAR_AHEAD: Final[Any] = RelativeDay(
    "the last day of the month eleven months from now",
    lambda today, _: add_months(period_start(today, "month"), 12) - timedelta(days=1),
)

ParamKind = Literal["day", "choice", "number", "text"]


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a question."""

    name: str
    kind: ParamKind
    doc: str
    required: bool
    default: Any = None
    choices: tuple[str, ...] = ()

    @property
    def default_text(self) -> str | None:
        """The default in words, such as ``today`` or ``month``; None when there is none."""
        if isinstance(self.default, RelativeDay):
            return self.default.doc
        return None if self.default is None else str(self.default)

    def document(self) -> dict[str, Any]:
        """The parameter as the catalogue shows it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "doc": self.doc,
            "required": self.required,
            "default": self.default_text,
            "choices": list(self.choices),
        }


# --- answers, described ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Behind:
    """Which rows an answer rests on: those from `start` (None: the first ever) to `end`.

    listing: the metric and question that list them, where that is not the metric's own `listing`.
    """

    start: date | None
    end: date
    listing: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class RateNeed:
    """The (currency, day) pairs without a rate that an answer would need.

    ``statement`` lists them. When `eager`, it runs before the answer; else only when the answer
    has a null where a number must be.
    """

    statement: Select[Any]
    eager: bool = False


Work = Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]]
"""Makes the rows of an answer from those of its statement, where SQL cannot."""

Check = Callable[[list[dict[str, Any]]], None]
"""Looks at the rows of an answer and raises when they cannot be true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """An answer as declared: the columns, one SELECT with exactly these, and what to know of it.

    With `worked` the SELECT has columns of its own, of which that makes the answer's rows.
    """

    columns: tuple[Column, ...]
    statement: Select[Any]
    periods: tuple[Period, ...]
    grain: Grain | None = None
    behind: Behind
    needs: tuple[RateNeed, ...] = ()
    warnings: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    worked: Work | None = None


# --- metrics and questions ------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """One question of a metric, as its method's signature and docstring say."""

    name: str
    summary: str
    doc: str
    params: tuple[Param, ...]
    columns: tuple[Column, ...]
    default: bool
    #: Which kinds of dimension can group and filter it: see `cube.DimensionKind`.
    kinds: frozenset[str]
    #: Whether it only sums what stands at the close of its day `at`.
    standing: bool
    #: Whether it lists rows, a page at a time: see `paging`.
    lists: bool
    ask: Callable[..., Table] = field(compare=False, repr=False)

    def param(self, name: str) -> Param | None:
        """The parameter of this name, if there is one."""
        return next((each for each in self.params if each.name == name), None)


_LEVEL_KINDS = frozenset({"customer", "item"})
_MARK = "__question__"
_F = TypeVar("_F", bound=Callable[..., Table])


@dataclass(frozen=True)
class _Mark:
    columns: tuple[Column, ...]
    default: bool
    kinds: frozenset[str]
    standing: bool
    lists: bool


def question(
    *columns: Column,
    default: bool = False,
    kinds: Iterable[str] = _LEVEL_KINDS,
    standing: bool = False,
    lists: bool = False,
) -> Callable[[_F], _F]:
    """Declare a method to be a question with these columns.

    default:  it answers when the metric is asked without naming a question.
    kinds:    the kinds of dimension it can be cut by.
    standing: it only sums what stands at the close of its day `at`, so that its base rows may be
              `ledger.standing` where nothing keeps the movements.
    lists:    it lists rows, and gives them a page at a time.
    """

    def mark(method: _F) -> _F:
        setattr(method, _MARK, _Mark(columns, default, frozenset(kinds), standing, lists))
        return method

    return mark


@dataclass(frozen=True, slots=True)
class Rows:
    """What makes base rows that are kept nowhere: a SELECT over relations, under a policy.

    The day of each row is that of its `occurred_at` in the policy's time zone.

    rollups: what is kept of their sums.
    """

    make: Callable[[Relations, Policy], Select[Any]]
    rollups: tuple[Rollup, ...] = ()


class Metric:
    """Base of all metrics. Subclasses declare a cube, the facts it stands on, and questions."""

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    cube: ClassVar[Cube]
    #: The tables that keep what is derived under the configured policy; answers rest on the first.
    facts: ClassVar[tuple[Fact, ...]] = ()
    #: The metric and question that list the rows an answer rests on.
    listing: ClassVar[tuple[str, str]] = ("mrr", "movements")
    #: For a metric without facts: what makes the rows its cube stands on, each time it is asked.
    rows: ClassVar[Rows | None] = None
    #: Knobs that change this metric outside the ledger → the values honoured so far.
    knobs: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    #: The command line's ``--type`` → the question it stands for.
    types: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @classmethod
    def ledger_measure(cls, policy: Policy) -> Measure:
        """What the base rows measure under a policy; MRR unless the metric says otherwise."""
        del policy
        return "mrr"

    @classmethod
    def questions(cls) -> dict[str, Question]:
        """Every question by name, in the order of the class body."""
        return _questions(cast("Hashable", cls))

    @classmethod
    def default_question(cls) -> str:
        """The question that answers when none is named."""
        return next(each.name for each in cls.questions().values() if each.default)

    @classmethod
    def summary(cls) -> str:
        """What the metric is, in a sentence."""
        return inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")

    @classmethod
    def definition(cls) -> dict[str, str]:
        """The sections of the metric's ``definition.md``: heading → text, "" for what is before."""
        return _definition(cls.__module__.rpartition(".")[0])


_M = TypeVar("_M", bound=type[Metric])


def metric(
    name: str, *, title: str, knobs: Mapping[str, tuple[str, ...]] = MappingProxyType({})
) -> Callable[[_M], _M]:
    """Name a metric: `name` for programs (snake_case), `title` for people; see `Metric.knobs`."""

    def named(cls: _M) -> _M:
        cls.name, cls.title, cls.knobs = name, title, MappingProxyType(dict(knobs))
        return cls

    return named


@cache
def _definition(package: str) -> dict[str, str]:
    from importlib.resources import files

    written = files(package).joinpath("definition.md").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^## +(.+)$", written)
    headings, bodies = ["", *parts[1::2]], [parts[0], *parts[2::2]]
    return {head.strip(): body.strip() for head, body in zip(headings, bodies, strict=True)}


@cache
def _questions(cls: Any) -> dict[str, Question]:
    found = {}
    for name, method in vars(cls).items():
        mark = getattr(method, _MARK, None)
        if isinstance(mark, _Mark):
            found[name] = _read(name, method, mark)
    return found


def _read(name: str, method: Callable[..., Table], mark: _Mark) -> Question:
    """The question a method declares; every public parameter but the query becomes a `Param`."""
    doc = inspect.cleandoc(method.__doc__ or "")
    described = _described(doc)
    # Annotations are text; those that matter here are names of this module or of the method's own.
    names = {"Table": Table, "Query": object, "Select": object, **method.__globals__}
    hints = typing.get_type_hints(method, names | {"Query": object})
    declared = list(inspect.signature(method).parameters.values())[2:]
    params = tuple(_param(each, hints[each.name], described) for each in declared)
    return Question(
        name=name,
        summary=doc.split("\n\n")[0].replace("\n", " "),
        doc=doc.split("\nArgs:")[0].strip(),
        params=params,
        columns=mark.columns,
        default=mark.default,
        kinds=mark.kinds,
        standing=mark.standing,
        lists=mark.lists,
        ask=method,
    )


def _param(declared: inspect.Parameter, hint: Any, described: dict[str, str]) -> Param:
    required = declared.default is inspect.Parameter.empty
    kind, choices = _kind(hint)
    assert declared.name in described, f"parameter {declared.name!r} has no line under Args:"
    return Param(
        name=declared.name,
        kind=kind,
        doc=described[declared.name],
        required=required,
        default=None if required else declared.default,
        choices=choices,
    )


def _kind(hint: Any) -> tuple[ParamKind, tuple[str, ...]]:
    if hint is date:
        return "day", ()
    if hint is int:
        return "number", ()
    if hint == Grain:
        return "choice", GRAINS
    if typing.get_origin(hint) is Literal:
        return "choice", typing.get_args(hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return "choice", tuple(member.value for member in hint)
    assert hint is str, f"a question cannot take parameters of type {hint!r}"
    return "text", ()


def _described(doc: str) -> dict[str, str]:
    """Parameter → sentence, from the ``Args:`` section of a docstring."""
    _, _, section = doc.partition("\nArgs:\n")
    lines = re.split(r"(?m)^    (?=\w+:)", section)
    pairs = (line.partition(":") for line in lines if line.strip())
    return {name.strip(): " ".join(said.split()) for name, _, said in pairs}
