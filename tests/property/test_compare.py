"""Random books, random pairs of policies: parts by knob and by customer sum to the difference."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from tests.support.asking import asked_of
from tests.support.books import LAST_DAY, random_book
from tests.support.weight import everything, first
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.engine.compare import turns
from tidemill.engine.comparison import Comparison, Pair, less, total
from tidemill.knobs import KNOBS
from tidemill.policy import Policy
from tidemill.presets import PRESETS

RANGE = {"start": "2025-02-10", "end": "2025-05-20"}
# Divisions in SQL keep some twenty digits.
TINY = Decimal("1e-9")
QUESTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("mrr", "current", {"at": LAST_DAY}),
    ("mrr", "waterfall", RANGE),
    ("mrr", "breakdown", RANGE),
    ("arr", "current", {"at": "2025-06-30"}),
    ("customers", "series", RANGE),
    ("quick_ratio", "current", RANGE),
    ("churn", "logo", RANGE),
    ("churn", "series", RANGE),
    ("retention", "nrr", RANGE),
    ("retention", "grr", RANGE),
)


# A comparison asks dozens of questions.
SEEDS = first(1, range(21, 31))
COMPARED = 3 if everything() else 1


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_sum_to_the_difference(seed: int, database: Database) -> None:
    engine = asked_of(database, random_book(seed, customers=8))
    dice = random.Random(seed)
    for metric, question, params in dice.sample(QUESTIONS, COMPARED):
        policies = {str(place): _policy(dice) for place in range(3)}
        found = engine.compare(metric, question, policies=policies, customers_max=999, **params)
        assert [each.error for each in found.sides] == [None] * 3
        for place, pair in enumerate(found.pairs, start=1):
            _by_knob(pair)
            _by_customer(found, pair)
            _idle(engine, found, pair, policies[str(place)])
        for side in found.sides:
            asked = engine.query(metric, question, policy=side.policy, **params)
            assert side.result is not None
            assert side.result.rows == asked.rows, (metric, question, side.policy)


def _policy(dice: random.Random) -> Policy:
    """A preset with two knobs turned to any value that needs no argument."""
    choices = [
        each
        for each in KNOBS
        if each.kind == "choice" and each.name not in {"trials_in_mrr", "fx", "late_events"}
    ]
    turned = {
        knob.name: dice.choice([value for value in knob.values if not value.endswith(":N")])
        for knob in dice.sample(choices, 2)
    }
    return Policy.of(dice.choice(list(PRESETS)), turned)


def _by_knob(pair: Pair) -> None:
    for each in pair.changes:
        if each.difference is None:
            assert each.parts == ()
            continue
        assert total(part.amount for part in each.parts) == each.difference
        told = [turned for part in each.parts for turned in part.turned]
        assert told == [knob for knob in pair.knobs if knob.knob not in pair.idle]


def _by_customer(found: Comparison, pair: Pair) -> None:
    """The customers' differences of every row add up to the whole's."""
    customers = pair.customers
    assert customers is not None
    assert customers.count == len(customers.listed)
    names = {each.column.name for each in pair.changes if each.column.unit != "ratio"}
    for key in {each.key for each in pair.changes}:
        for name in names:
            whole = [c.difference for c in pair.changes if (c.key, c.column.name) == (key, name)]
            parts = total(
                c.difference
                for each in customers.listed
                for c in each.changes
                if (c.key, c.column.name) == (key, name) and c.difference is not None
            )
            gap = less(parts, (whole or [0])[0])
            assert gap is not None
            assert abs(Decimal(gap)) < TINY, (found.metric, found.question, key, name)


def _idle(engine: MetricsEngine, found: Comparison, pair: Pair, other: Policy) -> None:
    """A knob that is said not to bear on the metric changes nothing of it."""
    assert found.sides[0].result is not None
    policy = found.sides[0].policy
    for turned, _ in turns(policy, other):
        if turned.knob in pair.idle:
            policy = policy.turned({turned.knob: turned.other})
    asked = engine.query(found.metric, found.question, policy=policy, **found.params)
    assert asked.rows == found.sides[0].result.rows, pair.idle
