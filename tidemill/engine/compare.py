"""Comparing policies: the same question under each, then by knob and by customer.

By knob: the knobs on which two policies differ are turned one after another in the order of
`KNOBS`, from the baseline's value to the other's. What a figure changes by is that knob's part, so
a knob is charged with the difference that remains after those before it, and the parts sum to the
whole. Where a policy half-way is refused, or the figure is undefined, the part is told together
with the next knob's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from tidemill.database import Database
from tidemill.engine.answering import Asked, Asker, require_honoured
from tidemill.engine.comparison import (
    Change,
    Comparison,
    CustomerChange,
    CustomerChanges,
    Key,
    Pair,
    Part,
    Side,
    ToldMovement,
    Value,
    less,
    total,
)
from tidemill.engine.notices import LEDGER_LAYERS, ledger_of
from tidemill.engine.scratch import scratch_snapshot
from tidemill.errors import InvalidQuery, KnobNotSupported, MissingRate, QueryError
from tidemill.knobs import KNOBS
from tidemill.metrics.base import Behind, Column
from tidemill.metrics.binding import Condition
from tidemill.metrics.catalogue import MetricInfo
from tidemill.metrics.result import Result, Row
from tidemill.policy import Difference, Policy
from tidemill.problems import Problem

__all__ = ["CUSTOMERS_MAX", "compare", "turns"]

CUSTOMERS_MAX: Final = 20
"""How many customers are listed when nobody says."""

# Counts that place a row, as a cohort's months do; they are no figures.
_PLACES: Final = frozenset({"offset"})
# The main figure of what goes from a level to a level, and of what has a size beside it.
_CLOSING: Final = "closing"
_VALUE: Final = "value"
# Why a policy can be without an answer while others have one.
_REFUSALS: Final = (KnobNotSupported, MissingRate)
# What makes two movements the same; instants move with netting and are left out.
_SAME_MOVEMENT: Final = (
    "day", "subscription", "plan", "type", "amount", "cause", "event_id",
)  # fmt: skip

_Rows = Mapping[Key, Row]


def turns(baseline: Policy, other: Policy) -> Iterator[tuple[Difference, Policy]]:
    """The knobs on which two policies differ, each with the policy after it has been turned.

    They come in the order of `KNOBS`; the last policy equals the other one.
    """
    policy = baseline
    for difference in baseline.differences(other):
        policy = policy.turned({difference.knob: difference.other})
        yield difference, policy
    assert policy == other, "turning every knob that differs must lead to the other policy"


@dataclass(frozen=True)
class _Shape:
    """Which columns of an answer say what a row is about, and which are figures."""

    columns: tuple[Column, ...]
    keys: tuple[Column, ...]
    figures: tuple[Column, ...]
    main: Column

    @classmethod
    def of(cls, asked: Asked, columns: tuple[Column, ...]) -> _Shape:
        """The shape of an answer with these columns.

        Raises: InvalidQuery when it is a list, which has no figures to compare.
        """
        keys = tuple(each for each in columns if _is_key(each))
        figures = tuple(each for each in columns if not _is_key(each))
        if not figures or any(each.unit == "instant" for each in columns):
            raise InvalidQuery([_is_a_list(asked)])
        names = [each.name for each in figures]
        usual = next(
            (each for each in (asked.info.name, _CLOSING, _VALUE) if each in names), names[0]
        )
        return cls(columns, keys, figures, figures[names.index(usual)])

    @property
    def additive(self) -> tuple[Column, ...]:
        """The figures that customers' parts add up to: not quotients, but what they divide."""
        return tuple(each for each in self.figures if not each.quotient)

    @property
    def additive_main(self) -> Column | None:
        """The main figure, or the numerator of it."""
        names = (self.main.name, f"{self.main.name}_numerator")
        return next((each for each in self.additive if each.name in names), None)


def _is_key(column: Column) -> bool:
    return column.dimension or column.unit in {"day", "text"} or column.name in _PLACES


def _is_a_list(asked: Asked) -> Problem:
    what = f"{asked.info.name} {asked.question.name}"
    hint = "Compare a question with figures; the movements that differ are told with its customers."
    return Problem("question", f"{what} is a list and has no figures to compare", hint)


@dataclass
class _Comparing:
    """One comparison under way, in one snapshot; nothing is asked twice."""

    asker: Asker
    asked: Asked
    customers_max: int
    answers: dict[tuple[Key, bool], Result | QueryError] = field(default_factory=dict)

    # --- asking ---------------------------------------------------------------------------------

    def answer(self, policy: Policy, *, by_customer: bool = False) -> Result | QueryError:
        """The answer under a policy, cut by customer if wanted; or why there is none."""
        # Policies that differ only in what does not bear on the metric share an answer.
        key = (_bearing(self.asked.info, policy), by_customer)
        if key not in self.answers:
            asked = replace(self.asked, policy=policy)
            if by_customer:
                asked = _with_customer(asked)
            try:
                require_honoured(asked.info, policy)
                self.answers[key] = self.asker.answer(asked)
            except _REFUSALS as error:
                self.answers[key] = error
        return self.answers[key]

    def side(self, label: str, policy: Policy) -> Side:
        """A policy with its own answer."""
        found = self.answer(policy)
        if isinstance(found, QueryError):
            return Side(label, policy, None, found)
        return Side(label, policy, replace(found, policy=policy))

    # --- by knob --------------------------------------------------------------------------------

    def pair(self, baseline: Side, other: Side) -> Pair | None:
        """What makes the other side differ from the baseline; None when one has no answer."""
        if baseline.result is None or other.result is None:
            return None
        shape = _Shape.of(self.asked, baseline.result.columns)
        idle, steps, notes = [], [], []
        for difference, policy in turns(baseline.policy, other.policy):
            if not _bears(self.asked.info, difference.knob):
                idle.append(difference.knob)
                continue
            found = self.answer(policy)
            if isinstance(found, QueryError):
                said = f"{difference.knob} = {difference.other} cannot be turned by itself here"
                notes.append(f"{said}: {found.message} Its part is told with the next knob's.")
            steps.append((difference, _rows_of(found, shape)))
        customers, more = self._customers(baseline, other, shape)
        return Pair(
            baseline=baseline.label,
            other=other.label,
            knobs=baseline.policy.differences(other.policy),
            idle=tuple(idle),
            changes=tuple(_changes(shape, baseline.result, other.result, steps)),
            notes=(*notes, *more),
            customers=customers,
        )

    # --- by customer ----------------------------------------------------------------------------

    def _customers(
        self, baseline: Side, other: Side, shape: _Shape
    ) -> tuple[CustomerChanges | None, list[str]]:
        """Who differs; or None, and perhaps why it cannot be said."""
        main = shape.additive_main
        if main is None or "customer" not in self.asked.question.kinds:
            return None, []
        sides = []
        for side in (baseline, other):
            found = self.answer(side.policy, by_customer=True)
            if isinstance(found, QueryError):
                return None, [f"{side.label} cannot be cut by customer: {found.message}"]
            sides.append(_by_customer(found, shape))
        changed = _changed_customers(shape, main, *sides)
        listed, rest = changed[: self.customers_max], changed[self.customers_max :]
        names = [name for name, _ in listed]
        told, notes = self._told(baseline, other, names, shape)
        changes = CustomerChanges(
            figure=main,
            listed=tuple(CustomerChange(name, each, told.get(name, ())) for name, each in listed),
            count=len(changed),
            others=total(
                each.difference
                for _, changes in rest
                for each in changes
                if each.column.name == main.name and each.difference is not None
            ),
        )
        return changes, notes

    def _told(
        self, baseline: Side, other: Side, names: Sequence[str], shape: _Shape
    ) -> tuple[Mapping[str, tuple[ToldMovement, ...]], list[str]]:
        """Customer → the movements to tell, and what must be said of them."""
        try:
            return (self._movements(baseline, other, names, shape) if names else {}), []
        except MissingRate as error:
            # Levels have their rates; a movement long ago may have none.
            return {}, [f"The movements behind cannot be valued: {error.message}"]

    def _movements(
        self, baseline: Side, other: Side, names: Sequence[str], shape: _Shape
    ) -> dict[str, tuple[ToldMovement, ...]]:
        """Customer → the movements that explain how it differs.

        Those that only one side has; of a flow first those of its range. Where both have the same,
        all of the range: what differs then is how they are counted.
        """
        askeds = [
            replace(_only(self.asked, names), policy=side.policy) for side in (baseline, other)
        ]
        # One range for both: a movement outside the other's window is no other movement.
        asked_range = _span(self.asker.behind_of(asked) for asked in askeds)
        whole = Behind(None, asked_range.end)
        one, two = (self.asker.movements(asked, whole) for asked in askeds)
        mine, others = _by_name(one.rows), _by_name(two.rows)
        told = {}
        for name in names:
            only_mine = _without(mine.get(name, ()), others.get(name, ()))
            only_theirs = _without(others.get(name, ()), mine.get(name, ()))
            found = [
                *(ToldMovement(baseline.label, one.columns, row) for row in only_mine),
                *(ToldMovement(other.label, two.columns, row) for row in only_theirs),
            ]
            if shape.main.name != _CLOSING:
                found = [each for each in found if _inside(asked_range, each.row)] or found
            if not found and asked_range.start is not None:
                shared = (row for row in mine.get(name, ()) if _inside(asked_range, row))
                found = [ToldMovement(None, one.columns, row) for row in shared]
            told[name] = tuple(sorted(found, key=lambda each: each.row["occurred_at"]))
        return told


def compare(
    database: Database,
    asked: Asked,
    policies: Mapping[str, Policy],
    *,
    base_currency: str,
    configured: Policy,
    customers_max: int = CUSTOMERS_MAX,
) -> Comparison:
    """A question under several policies, by label; the first is the baseline.

    asked: the question, bound under the baseline, whose days all others use.
    Raises: InvalidQuery for a question without figures; KnobNotSupported or MissingRate when no
            policy has an answer.
    """
    _Shape.of(asked, asked.question.columns)
    with scratch_snapshot(
        database, _ledgers(asked, policies), in_place=not asked.provider.keeps_facts
    ) as scratch:
        notices = asked.provider.notices(scratch.connection, asked.known_at)
        asker = Asker(scratch.connection, notices, base_currency, configured, scratch)
        comparing = _Comparing(asker, asked, customers_max)
        sides = [comparing.side(label, policy) for label, policy in policies.items()]
        first = next((each.result for each in sides if each.result is not None), None)
        if first is None:
            error = sides[0].error
            assert error is not None
            raise error
        shape = _Shape.of(asked, first.columns)
        pairs = [comparing.pair(sides[0], each) for each in sides[1:]]
        return Comparison(
            metric=asked.info.name,
            question=asked.question.name,
            params=asked.bound.params,
            columns=shape.columns,
            keys=shape.keys,
            figure=shape.main,
            sides=tuple(sides),
            pairs=tuple(each for each in pairs if each is not None),
            as_of=asked.as_of,
            known_at=asked.known_at,
            dimensions=tuple(each.name for each in asked.bound.dimensions),
            filters=asked.bound.filters,
            freshness=notices.freshness,
        )


# --- policies -------------------------------------------------------------------------------------


_LAYER: Final = {knob.name: knob.layer for knob in KNOBS}


def _bears(info: MetricInfo, knob: str) -> bool:
    """Whether a knob can change the metric: it shapes the ledger, or the metric reads it."""
    return _LAYER[knob] in LEDGER_LAYERS or knob in info.kind.knobs


def _ledgers(asked: Asked, policies: Mapping[str, Policy]) -> set[Hashable]:
    """Every ledger that the comparison may ask, as the asker tells them apart."""
    baseline, *others = policies.values()
    met = [baseline, *(policy for other in others for _, policy in turns(baseline, other))]
    measure = asked.info.kind.ledger_measure
    return {(ledger_of(policy), measure(policy), asked.known_at) for policy in met}


def _bearing(info: MetricInfo, policy: Policy) -> Key:
    return tuple(str(getattr(policy, each.name)) for each in KNOBS if _bears(info, each.name))


# --- questions ------------------------------------------------------------------------------------


def _with_customer(asked: Asked) -> Asked:
    """The same question cut by customer, too."""
    bound = asked.bound
    if any(each.name == "customer" for each in bound.dimensions):
        return asked
    customer = asked.info.kind.cube.dimension("customer")
    assert customer is not None, "every cube that counts customers can be cut by them"
    return replace(asked, bound=replace(bound, dimensions=(*bound.dimensions, customer)))


def _only(asked: Asked, names: Sequence[str]) -> Asked:
    """The same question about these customers."""
    customer = asked.info.kind.cube.dimension("customer")
    assert customer is not None, "every cube that counts customers can be cut by them"
    only = Condition(customer, "=", tuple(names))
    bound = asked.bound
    return replace(asked, bound=replace(bound, conditions=(*bound.conditions, only)))


def _span(ranges: Iterable[Behind]) -> Behind:
    """The shortest range that holds them all."""
    found = list(ranges)
    starts = [each.start for each in found if each.start is not None]
    open_ended = len(starts) < len(found)
    start: date | None = None if open_ended else min(starts)
    return Behind(start, max(each.end for each in found))


# --- rows -----------------------------------------------------------------------------------------


def _rows_of(found: Result | QueryError, shape: _Shape) -> _Rows | None:
    """The rows by their keys; None without an answer."""
    if isinstance(found, QueryError):
        return None
    return _indexed(found.rows, shape)


def _indexed(rows: Iterable[Row], shape: _Shape) -> _Rows:
    """_Rows by their keys; what has the same key (one id in two sources) is added up."""
    indexed: dict[Key, dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[each.name] for each in shape.keys)
        known = indexed.get(key)
        if known is None:
            indexed[key] = dict(row)
            continue
        for each in shape.figures:
            known[each.name] = _added(each, known[each.name], row[each.name])
    return indexed


def _added(column: Column, one: Value, other: Value) -> Value:
    """The sum of two rows' figures; quotients have none."""
    if column.quotient or one is None or other is None:
        return None
    return total((one, other))


def _figure(rows: _Rows, key: Key, column: Column) -> Value:
    """A figure; of a row that is not there it is nothing, and a quotient is undefined."""
    row = rows.get(key)
    if row is not None:
        value: Value = row[column.name]
        return value
    if column.quotient:
        return None
    return Decimal(0) if column.unit == "money" else 0


def _changes(
    shape: _Shape,
    baseline: Result,
    other: Result,
    steps: Sequence[tuple[Difference, _Rows | None]],
) -> Iterator[Change]:
    """The figures that differ, and all main ones, each with its parts by knob."""
    ends = _indexed(baseline.rows, shape), _indexed(other.rows, shape)
    known = [rows for _, rows in steps if rows is not None]
    for key in dict.fromkeys(key for rows in (*ends, *known) for key in rows):
        for column in shape.figures:
            start, end = (_figure(rows, key, column) for rows in ends)
            if start == end and column is not shape.main:
                continue
            values = (
                (turned, None if rows is None else _figure(rows, key, column))
                for turned, rows in steps
            )
            parts = () if start is None or end is None else tuple(_parts(start, values))
            yield Change(key, column, start, end, parts)


def _parts(start: Decimal | int, values: Iterable[tuple[Difference, Value]]) -> Iterator[Part]:
    """What each knob changes a figure by; knobs after which it is undefined wait for the next."""
    waiting: list[Difference] = []
    last = start
    for turned, value in values:
        waiting.append(turned)
        if value is None:
            continue
        amount = less(value, last)
        assert amount is not None
        yield Part(tuple(waiting), amount)
        waiting, last = [], value
    assert not waiting, "the last policy is the other side's, whose figure is defined"


# --- customers ------------------------------------------------------------------------------------


def _by_customer(result: Result, shape: _Shape) -> dict[str, _Rows]:
    """Customer → its rows."""
    apart: dict[str, list[Row]] = {}
    for row in result.rows:
        apart.setdefault(row["customer"], []).append(row)
    return {name: _indexed(rows, shape) for name, rows in apart.items()}


def _changed_customers(
    shape: _Shape, main: Column, one: Mapping[str, _Rows], two: Mapping[str, _Rows]
) -> list[tuple[str, tuple[Change, ...]]]:
    """The customers with a figure that differs, those that make the most difference first."""

    def weight(change: Change) -> tuple[bool, Decimal]:
        return change.column.name == main.name, abs(Decimal(change.difference or 0))

    found = []
    for name in dict.fromkeys((*one, *two)):
        before, after = one.get(name, {}), two.get(name, {})
        changes = [
            Change(key, column, _figure(before, key, column), _figure(after, key, column))
            for key in dict.fromkeys((*before, *after))
            for column in shape.additive
        ]
        differing = sorted((each for each in changes if each.differs), key=weight, reverse=True)
        if differing:
            found.append((name, tuple(differing)))
    found.sort(key=lambda each: each[0])
    found.sort(key=lambda each: weight(each[1][0]), reverse=True)
    return found


def _by_name(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Customer → its movements."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["customer"], []).append(row)
    return found


def _inside(behind: Behind, row: Row) -> bool:
    return behind.start is None or bool(row["day"] >= behind.start)


def _without(rows: Iterable[Row], others: Iterable[Row]) -> list[Row]:
    """The movements that are not among the others, one for one."""
    left = Counter(_identity(row) for row in others)
    missing = []
    for row in rows:
        identity = _identity(row)
        if left[identity]:
            left[identity] -= 1
        else:
            missing.append(row)
    return missing


def _identity(row: Row) -> Key:
    names = _SAME_MOVEMENT if "amount" in row else row.keys()
    return tuple(row[name] for name in names)
