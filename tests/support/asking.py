"""Books in a real database with an engine that answers questions about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tests.support.ledger import BASE, keep_books
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.metrics import FACTS
from tidemill.policy import Policy
from tidemill.state import Books, derive_all

__all__ = ["LATER", "asked_of", "settled"]

LATER = datetime(2028, 1, 1, tzinfo=UTC)
"""An instant after everything that happens in the tests' books."""


def asked_of(
    database: Database, events: Iterable[Mapping[str, Any]], *, as_of: datetime = LATER
) -> MetricsEngine:
    """An engine over these events, with the facts of the default policy kept."""
    keep_books(database, events)
    return settled(database, as_of=as_of)


def settled(
    database: Database, policy: Policy | None = None, *, as_of: datetime = LATER
) -> MetricsEngine:
    """An engine over what is in the database, with the facts of a policy derived and noted."""
    policy = policy or Policy.of()
    with database.begin() as connection:
        derive_all(connection, Books(FACTS, policy, BASE))
    return MetricsEngine(database, base_currency=BASE, policy=policy, as_of=as_of)
