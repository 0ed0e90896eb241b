"""What stands on a day, asked for by itself, is what the movements up to that day sum to.

Over random books, under every preset and every knob that bears on levels, wherever the ledger says
that levels tell it; item by item and customer by customer.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from itertools import product
from typing import Any, Final

import pytest
from sqlalchemy import Select, func, select

from tests.support.asking import asked_of
from tests.support.books import FIRST_DAY, LAST_DAY, random_book
from tests.support.ledger import BASE, keep_books
from tests.support.weight import examples, first
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.engine.answering import Asker
from tidemill.errors import QueryError
from tidemill.ledger import derive, standing, stands_by_itself
from tidemill.ledger.changes import LINE
from tidemill.metrics.spec import Filter, QuerySpec
from tidemill.policy import Policy
from tidemill.presets import PRESETS
from tidemill.relations import core_relations

TURNED: Final = (
    "default;netting=none;tz=America/New_York",
    "default;movement_level=subscription;paused=active",
    "default;netting=none;movement_level=subscription;fx=constant",
    "default;churn_recognition=at_period_end;past_due=after:10;annual_refund_churns=yes",
    "default;churn_recognition=when_scheduled;usage=last_invoice",
    "default;usage=trailing:3;rounding=subscription",
    "default;refunds=as_if_unpaid;activation=invoice_paid",
    "default;activation=partly_paid;trials_in_mrr=include",
    "default;event_time=recorded;identity=per_source",
    "default;late_events=book_when_received;tz=Asia/Kathmandu",
    "default;discounts=include_all;tax=include;past_due=exclude",
    "default;discounts=exclude;weeks_per_month=4.33;days_per_month=30",
)
EXACT: Final = [
    text for text in (*PRESETS, *TURNED) if stands_by_itself(Policy.parse(text))
]  # fmt: skip
# Under another policy than the one facts are kept under, and so derived.
ASKED: Final = "default;netting=none;discounts=include_all"
QUESTIONS: Final = ("mrr", "arr", "customers")
SPECS: Final = (
    QuerySpec(),
    *(
        QuerySpec(dimensions=(name,))
        for name in ("plan", "currency", "customer", "country", "interval", "mrr_band", "source")
    ),
    QuerySpec(dimensions=("product", "country")),
    QuerySpec(filters=(Filter("currency", "!=", "EUR"),)),
    QuerySpec(filters=(Filter("mrr_band", "!=", "<10"),), dimensions=("plan_name",)),
    # What only movements tell.
    QuerySpec(dimensions=("cohort_month",)),
)


def test_presets_that_levels_tell() -> None:
    assert {*EXACT} & {*PRESETS} == {"default", "stripe", "lago_oss", "paddle_classic"}
    assert {*TURNED} <= {*EXACT}


@cache
def _levels(text: str, at: date) -> tuple[Select[Any], Select[Any]]:
    """Levels of items and counts of customers: as they stand, and as movements sum up."""
    policy, relations = Policy.parse(text), core_relations(base_currency=BASE)
    rows = standing(relations, policy, at).subquery("standing")
    ledger = derive(relations, policy).subquery("movement")
    moved = select(ledger).where(ledger.c.day <= at).subquery("until")
    return _summed(rows), _summed(moved)


def _summed(rows: Any) -> Select[Any]:
    line = [rows.c[name] for name in LINE]
    amount, customers = func.sum(rows.c.amount_minor), func.sum(rows.c.customer_delta)
    counted = func.sum(customers).over(partition_by=rows.c.customer_id)
    lines = select(*line, amount.label("amount"), counted.label("counted")).group_by(*line)
    found = lines.subquery("line")
    return select(found).where(found.c.amount != 0)


@pytest.mark.parametrize("seed", range(examples(2)))
def test_levels_are_the_sums_of_movements(seed: int, database: Database) -> None:
    keep_books(database, random_book(seed, customers=12))
    days = (LAST_DAY - FIRST_DAY).days
    with database.connect() as connection:
        for place, text in enumerate(EXACT):
            for number in range(3):
                at = FIRST_DAY + timedelta(days=(place * 41 + number * 173) % days)
                stands, sums = (set(connection.execute(each)) for each in _levels(text, at))
                assert stands == sums, (text, at)


@pytest.mark.parametrize("known_at", first(1, [None, f"{FIRST_DAY + timedelta(days=200)}T00:00Z"]))
def test_answers_are_those_of_movements(
    database: Database, known_at: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = asked_of(database, random_book(31, customers=8))
    standing_ = _answers(engine, known_at)
    monkeypatch.setattr(Asker, "_standing", lambda *_: None)
    assert _answers(engine, known_at) == standing_


def _answers(engine: MetricsEngine, known_at: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place, (spec, name) in enumerate(product(SPECS, QUESTIONS)):
        day = (LAST_DAY, FIRST_DAY + timedelta(days=150))[place % 2]
        how: Any = {"policy": Policy.parse(ASKED), "known_at": known_at, "spec": spec}
        try:
            result = engine.query(name, at=day, **how)
        except QueryError as refused:
            found[f"{name} {spec}"] = str(refused)
        else:
            found[f"{name} {spec}"] = (result.rows, result.warnings)
    return found


def test_only_levels_are_read_where_they_tell(database: Database) -> None:
    """And the kept facts where there are any; movements where a cut needs them."""
    engine = asked_of(database, random_book(31, customers=8))
    other = Policy.parse(ASKED)
    assert "standing_item" in engine.query("mrr", policy=other).sql
    assert "standing_item" not in engine.query("mrr").sql
    assert "standing_item" not in engine.query("mrr", "series", policy=other).sql
    by_cohort = QuerySpec(dimensions=("cohort_month",))
    assert "standing_item" not in engine.query("mrr", policy=other, spec=by_cohort).sql
