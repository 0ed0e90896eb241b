"""MRR at risk and that of trials: what stands on a day is what movements sum to."""

from __future__ import annotations

from datetime import date
from itertools import product
from typing import Any, Final

import pytest

from tests.support.asking import LATER
from tests.support.books import random_book
from tests.support.ledger import BASE, keep_books
from tests.support.weight import everything, first
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.metrics.mrr import beside
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy

POLICIES: Final = (
    "default;past_due=exclude",
    "default;tz=Asia/Kathmandu;past_due=after:5;identity=per_source",
    "stripe",
    "maxio;fx=constant",
    "chartmogul",
)
CUTS: Final = ((), ("customer",), ("plan", "currency"), ("mrr_band",), ("cohort_month",))
DAYS: Final = (date(2025, 2, 28), date(2025, 4, 14), date(2025, 6, 30), date(2025, 9, 30))
# Every day whole and every cut once; in `make test-all` every cut of every day.
ASKED: Final = [
    (day, by) for day, by in product(DAYS, CUTS) if everything() or by == CUTS[0] or day == DAYS[1]
]


@pytest.mark.parametrize("text", first(3, POLICIES))
def test_what_stands_beside_mrr_is_what_movements_sum_to(
    database: Database, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_books(database, random_book(43, customers=15))
    engine = MetricsEngine(database, base_currency=BASE, policy=Policy.parse(text), as_of=LATER)
    found = _answers(engine)
    monkeypatch.setattr(beside, "stands_by_itself", lambda _: False)
    assert found == _answers(engine)
    assert any(row.get("at_risk") or row.get("trial_mrr") for row in found)


def _answers(engine: MetricsEngine) -> list[dict[str, Any]]:
    return [
        dict(row)
        for question in ("at_risk", "trial")
        for day, by in ASKED
        for row in engine.query("mrr", question, at=day, spec=QuerySpec(by)).rows
    ]
