"""Every question can be asked where movements are derived for it alone: whole or of a segment.

Of such movements only the columns are derived that the question was seen to read. The default run
asks each question whole, and takes turns with the segments and the cuts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import cycle
from typing import Any, Final

import pytest

from tests.conftest import NewDatabase
from tests.support.books import random_book
from tests.support.ledger import BASE, keep_books
from tests.support.weight import everything
from tidemill.engine import MetricsEngine
from tidemill.errors import TidemillError
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy
from tidemill.segments.store import save_segment

POLICY: Final = Policy.of("smsb", {"movement_level": "subscription"})
GIVEN: Final[dict[str, Any]] = {
    "at": date(2025, 6, 30),
    "start": date(2025, 5, 1),
    "end": date(2025, 6, 30),
    "margin": "0.8",
}
SEGMENTS: Final = {
    "paying": {"field": "mrr", "operator": ">", "value": 1},
    "several": {"field": "subscriptions", "operator": ">=", "value": 1},
}
SPECS: Final = [
    *(QuerySpec(segment=each) for each in SEGMENTS),
    *(QuerySpec([each]) for each in ("customer", "plan", "source", "mrr_band")),
]
EVERYTHING: Final = everything()


@pytest.fixture(scope="module")
def engine(new_database: NewDatabase) -> Iterator[MetricsEngine]:
    with new_database() as database:
        keep_books(database, random_book(3, customers=12))
        with database.begin() as connection:
            for name, tree in SEGMENTS.items():
                save_segment(connection, name, tree, "")
        yield MetricsEngine(database, base_currency=BASE, as_of=None)


def test_every_question(engine: MetricsEngine) -> None:
    asked = refused = 0
    turns = cycle(SPECS)
    for info in engine.catalogue().values():
        for question in info.questions:
            names = {each.name for each in question.params}
            given = {name: value for name, value in GIVEN.items() if name in names}
            others = SPECS if EVERYTHING else [next(turns), next(turns)]
            for spec in (QuerySpec(), *others):
                asked += 1
                try:
                    engine.query(info.name, question.name, policy=POLICY, spec=spec, **given)
                except TidemillError:
                    # What it cannot be asked; anything else is a defect, and raised.
                    refused += 1
    assert asked > (200 if EVERYTHING else 100)
    assert refused < asked / 2
