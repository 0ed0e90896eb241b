"""A ledger of which only some columns are wanted says in them what the whole one says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import pytest
from sqlalchemy import Connection, Select

from tests.support.books import random_book
from tests.support.ledger import BASE, keep_books
from tests.support.weight import examples
from tidemill.database import Database
from tidemill.ledger import derive
from tidemill.models import metric_mrr_movement
from tidemill.policy import Policy
from tidemill.presets import PRESETS
from tidemill.relations import core_relations

POLICIES: Final = (
    *PRESETS,
    "default;netting=window:60;movement_level=subscription;free_plans=always",
    "default;netting=month;join_churn_same_month=ignore;paused=contraction",
    "default;usage=trailing:3;rounding=subscription;reactivation=within:20",
)
COLUMNS: Final = (
    ("day", "type", "currency", "amount_minor"),
    ("day", "customer_delta", "cohort_month"),
    ("day", "type", "cause", "churn_reason", "amount_minor"),
    ("occurred_at", "plan", "amount_base_minor", "customer_delta"),
)


@cache
def _ledger(text: str, columns: tuple[str, ...] | None) -> Select[Any]:
    return derive(core_relations(base_currency=BASE), Policy.parse(text), columns=columns)


def _rows(connection: Connection, text: str, columns: tuple[str, ...] | None) -> list[Any]:
    return [row._mapping for row in connection.execute(_ledger(text, columns))]


def _counted(rows: Iterable[Any], columns: tuple[str, ...]) -> Counter[Any]:
    return Counter(tuple(row[name] for name in ("customer_id", *columns)) for row in rows)


@pytest.mark.parametrize("seed", range(examples(2)))
def test_it_says_the_same(seed: int, database: Database) -> None:
    keep_books(database, random_book(seed, customers=10))
    with database.connect() as connection:
        for text in POLICIES:
            whole = _rows(connection, text, None)
            for columns in COLUMNS:
                rows = _rows(connection, text, columns)
                assert _counted(rows, columns) == _counted(whole, columns), (text, columns)


def test_no_other_columns_are_there() -> None:
    for columns in COLUMNS:
        found = _ledger("default", columns).selected_columns.keys()
        assert set(found) == {"customer_id", *columns}
    every = {each.name for each in metric_mrr_movement.c}
    assert set(_ledger("default", None).selected_columns.keys()) == every
