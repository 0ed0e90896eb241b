"""After every refresh a copy gives what the billing database itself gives, whatever happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

import tidemill
from tests.conftest import NewDatabase
from tests.support.copies import books, differences, refresh
from tests.support.in_place import url_of
from tests.support.killbill import create_killbill
from tests.support.lago import create_lago
from tests.support.walks import KillBillWalk, LagoWalk, Walk
from tests.support.weight import first
from tidemill.database import Database
from tidemill.policy import Policy

AS_OF = datetime(2025, 6, 30, tzinfo=UTC)
CURRENCY = {"lago": "EUR", "killbill": "USD"}
STEPS = 6

# Facts under several policies: taxes, payments that decide, and movements of each subscription.
POLICIES = ("default", "lago_oss", "chartmogul", "maxio")
QUESTIONS: tuple[tuple[str, str | None, dict[str, Any]], ...] = (
    ("mrr", "series", {"start": "2024-01-01", "end": "2025-06-30", "grain": "month"}),
    ("mrr", "waterfall", {"start": "2024-01-01", "end": "2025-06-30", "grain": "quarter"}),
    ("mrr", "movements", {"start": "2024-01-01", "end": "2025-06-30"}),
    ("churn", None, {}),
    ("trials", None, {}),
    ("cash", None, {"start": "2024-01-01", "end": "2025-06-30"}),
    ("payments", None, {"start": "2024-01-01", "end": "2025-06-30"}),
    ("usage_revenue", None, {"start": "2024-01-01", "end": "2025-06-30"}),
)


@contextmanager
def walking(connector: str, database: Database, seed: int) -> Iterator[Walk]:
    if connector == "lago":
        lago = create_lago(database)
        lago.save()
        yield LagoWalk(seed, book=lago)
    else:
        killbill = create_killbill(database)
        killbill.save()
        yield KillBillWalk(seed, book=killbill)


def answers(url: str | None, connector: str, billing: Database, preset: str) -> list[Any]:
    """What is answered in place, or from the store at the address."""
    how: dict[str, Any] = {
        "connector": connector,
        "base_currency": CURRENCY[connector],
        "policy": preset,
        "as_of": AS_OF,
    }
    where = url or url_of(billing)
    more = {"source_url": url_of(billing)} if url else {}
    with tidemill.connect(where, **how, **more) as asked:
        assert asked.engine.provider.keeps_facts is (url is not None)
        return [
            asked.query(metric, question, **given).rows for metric, question, given in QUESTIONS
        ]


# Every refresh of a walk is held against a derivation of everything. The default run goes one walk
# with each connector: one policy where payments decide, and one that moves each subscription.
_WALKS = [
    *(("lago", "lago_oss"), ("killbill", "maxio")),
    *(("lago", "default"), ("killbill", "chartmogul")),
    *(("killbill", "default"), ("killbill", "lago_oss"), ("lago", "chartmogul"), ("lago", "maxio")),
]


@pytest.mark.parametrize(("connector", "preset"), first(2, _WALKS))
def test_every_refresh(
    database: Database, new_database: NewDatabase, connector: str, preset: str
) -> None:
    seed = POLICIES.index(preset)
    held = books(CURRENCY[connector], Policy.of(preset))
    with (
        new_database(schema=False) as billing,
        walking(connector, billing, seed) as walk,
    ):
        hows = []
        for _ in range(STEPS):
            walk.step(4)
            hows.append(refresh(database, billing, connector, held).how)
            assert differences(database, billing, connector, held) == []
        assert hows == ["first", *["changes"] * (STEPS - 1)]
        told = answers(url_of(database), connector, billing, preset)
        assert told == answers(None, connector, billing, preset)
        again = refresh(database, billing, connector, held)
        assert (again.how, again.changed, again.rows, again.derived) == ("changes", 0, 0, 0)
