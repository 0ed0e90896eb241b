"""Comparing policies: the same question under each, then by knob and by customer.

By knob: the knobs on which two policies differ are turned one after another in the order of
`KNOBS`, from the baseline's value to the other's. What a figure changes by is that knob's part, so
a knob is charged with the difference that remains after those before it, and the parts sum to the
whole. Where a policy half-way is refused, or the figure is undefined, the part is told together
with the next knob's.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from tidemill.database import Database
from tidemill.engine.answering import Asked, Asker, require_honoured, told
from tidemill.engine.comparison import (
    Comparison,
    CustomerChange,
    CustomerChanges,
    Key,
    Pair,
    Side,
    ToldMovement,
    total,
)
from tidemill.engine.differences import (
    Shape,
    changed_customers,
    changes_of,
    inside,
    movements_by_customer,
    rows_by_customer,
    rows_of,
    without,
)
from tidemill.engine.notices import LEDGER_LAYERS, ledger_of
from tidemill.engine.scratch import scratch_snapshot
from tidemill.errors import KnobNotSupported, MissingRate, QueryError
from tidemill.knobs import KNOBS
from tidemill.metrics.base import Behind
from tidemill.metrics.binding import Condition
from tidemill.metrics.catalogue import MetricInfo
from tidemill.metrics.result import Result
from tidemill.policy import Difference, Policy

__all__ = ["CUSTOMERS_MAX", "compare", "turns"]

CUSTOMERS_MAX: Final = 20
"""How many customers are listed when nobody says."""

# Why a policy can be without an answer while others have one.
_REFUSALS: Final = (KnobNotSupported, MissingRate)


def turns(baseline: Policy, other: Policy) -> Iterator[tuple[Difference, Policy]]:
    """The knobs on which two policies differ, each with the policy after it has been turned.

    They come in the order of `KNOBS`; the last policy equals the other one.
    """
    policy = baseline
    for difference in baseline.differences(other):
        policy = policy.turned({difference.knob: difference.other})
        yield difference, policy
    assert policy == other, "turning every knob that differs must lead to the other policy"


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
        shape = Shape.of(self.asked, baseline.result.columns)
        idle, steps, notes = [], [], []
        for difference, policy in turns(baseline.policy, other.policy):
            if not _bears(self.asked.info, difference.knob):
                idle.append(difference.knob)
                continue
            found = self.answer(policy)
            if isinstance(found, QueryError):
                said = f"{difference.knob} = {difference.other} cannot be turned by itself here"
                notes.append(f"{said}: {found.message} Its part is told with the next knob's.")
            steps.append((difference, rows_of(found, shape)))
        customers, more = self._customers(baseline, other, shape)
        return Pair(
            baseline=baseline.label,
            other=other.label,
            knobs=baseline.policy.differences(other.policy),
            idle=tuple(idle),
            changes=tuple(changes_of(shape, baseline.result, other.result, steps)),
            notes=(*notes, *more),
            customers=customers,
        )

    # --- by customer ----------------------------------------------------------------------------

    def _customers(
        self, baseline: Side, other: Side, shape: Shape
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
            sides.append(rows_by_customer(found, shape))
        changed = changed_customers(shape, main, *sides)
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
        self, baseline: Side, other: Side, names: Sequence[str], shape: Shape
    ) -> tuple[Mapping[str, tuple[ToldMovement, ...]], list[str]]:
        """Customer → the movements to tell, and what must be said of them."""
        try:
            return (self._movements(baseline, other, names, shape) if names else {}), []
        except MissingRate as error:
            # Levels have their rates; a movement long ago may have none.
            return {}, [f"The movements behind cannot be valued: {error.message}"]

    def _movements(
        self, baseline: Side, other: Side, names: Sequence[str], shape: Shape
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
        mine, others = movements_by_customer(one.rows), movements_by_customer(two.rows)
        told = {}
        for name in names:
            only_mine = without(mine.get(name, ()), others.get(name, ()))
            only_theirs = without(others.get(name, ()), mine.get(name, ()))
            found = [
                *(ToldMovement(baseline.label, one.columns, row) for row in only_mine),
                *(ToldMovement(other.label, two.columns, row) for row in only_theirs),
            ]
            if not shape.closes:
                found = [each for each in found if inside(asked_range, each.row)] or found
            if not found and asked_range.start is not None:
                shared = (row for row in mine.get(name, ()) if inside(asked_range, row))
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
    Shape.of(asked, asked.question.columns)
    with scratch_snapshot(
        database, _ledgers(asked, policies), in_place=not asked.provider.keeps_facts
    ) as scratch:
        notices = asked.provider.notices(scratch.connection, asked.known_at)
        asker = Asker(scratch.connection, told(notices), base_currency, configured, scratch)
        comparing = _Comparing(asker, asked, customers_max)
        sides = [comparing.side(label, policy) for label, policy in policies.items()]
        first = next((each.result for each in sides if each.result is not None), None)
        if first is None:
            error = sides[0].error
            assert error is not None
            raise error
        shape = Shape.of(asked, first.columns)
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
