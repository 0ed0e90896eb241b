"""The worked cases asked of `tidemill.connect()`: every figure of every policy a case is told for.

Levels come from facts that are kept under the policy; movements and waterfalls once from those
facts and once derived from the history, as a question under another policy is. So both ways to a
number meet the same figures, worked out by hand. The default run goes the second way
for one case of each policy: `test_worked_cases` derives the movements of every case as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tidemill
from tests.conftest import NewDatabase
from tests.support.case_answers import AS_OF, check_answers, check_movements
from tests.support.cases import (
    BASE_CURRENCY,
    Case,
    Expectation,
    canonical_events,
    load_cases,
)
from tests.support.emptied import emptied
from tests.support.weight import everything
from tidemill.bookkeeping import FACTS, settle
from tidemill.bus import PostgresBus
from tidemill.engine import MetricsEngine
from tidemill.events import parse_event
from tidemill.ingest import ingest
from tidemill.policy import Policy
from tidemill.state import Books

CASES = load_cases()


@pytest.fixture(scope="module")
def books(new_database: NewDatabase) -> Iterator[tidemill.Tidemill]:
    """What `tidemill.connect()` gives, on one database for all cases."""
    with new_database() as database:
        url = database.engine.url.set(drivername="postgresql")
        with tidemill.connect(
            url.render_as_string(hide_password=False),
            base_currency=BASE_CURRENCY,
            timezone="UTC",
            policy="default",
            policy_set="",
            as_of=AS_OF,
        ) as connected:
            yield connected


def test_the_cases_are_all_there() -> None:
    """What is not told cannot be checked: a file cut short would make every case pass."""
    expectations = [each for case in CASES for each in case.expectations]
    assert (len(CASES), len(expectations)) == (40, 115)
    whole = [each for each in expectations if each.key == "default" and not each.overrides]
    assert len(whole) == 40
    assert all(each.movements is not None for each in expectations)


def _by_policy() -> list[tuple[Case, Expectation]]:
    """Everything expected; what one policy must say stands together, so SQL is written once."""
    told = [(case, expected) for case in CASES for expected in case.expectations]
    policies = list(dict.fromkeys(_policy(expected) for _, expected in told))
    return sorted(told, key=lambda each: policies.index(_policy(each[1])))


def _policy(expected: Expectation) -> Policy:
    return Policy.of(expected.preset, expected.overrides)


def _both_ways() -> set[str]:
    """Who is asked both ways: of each policy the case with the most movements, or everything."""
    told = sorted(
        (expected for case in CASES for expected in case.expectations),
        key=lambda each: len(each.movements or ()),
    )
    longest = {_policy(expected): str(expected) for expected in told}
    return {str(expected) for expected in told} if everything() else {*longest.values()}


BOTH_WAYS = _both_ways()


@pytest.mark.parametrize(
    ("case", "expected"), [pytest.param(*each, id=str(each[1])) for each in _by_policy()]
)
def test_case(case: Case, expected: Expectation, books: tidemill.Tidemill) -> None:
    database, policy = emptied(books.database), _policy(expected)
    settle(database, PostgresBus(database), _books(policy))
    events = [parse_event(each) for each in canonical_events(case)]
    done = ingest(database, PostgresBus(database), events, _books(policy))
    assert done.applied == done.read == len(events)
    engine = MetricsEngine(database, base_currency=BASE_CURRENCY, policy=policy, as_of=AS_OF)
    try:
        check_answers(tidemill.Tidemill(database, engine), expected)
        if str(expected) in BOTH_WAYS:
            check_movements(books, expected, preset=expected.preset, set=expected.overrides)
    except AssertionError as error:
        error.add_note(f"{expected}: {case.title}")
        raise


def _books(policy: Policy) -> Books:
    return Books(FACTS, policy, BASE_CURRENCY)
