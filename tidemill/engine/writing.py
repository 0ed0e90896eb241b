"""What the facade needs to write; most only ask, and what writes takes its time to load."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from tidemill.bookkeeping import FACTS, settle
from tidemill.bus import PostgresBus
from tidemill.companies import Named, merge, unmerge
from tidemill.database import Database
from tidemill.engine.attributes import Attributes
from tidemill.engine.core import MetricsEngine
from tidemill.state import Books

__all__ = ["attributes_of", "merge_customers", "unmerge_customer"]


def attributes_of(store: Database, engine: MetricsEngine) -> Attributes:
    """The attributes of customers, to be listed and set."""
    return Attributes(store, engine.base_currency, partial(_desk, store, engine))


def merge_customers(store: Database, engine: MetricsEngine, merged: str, into: str) -> bool:
    """See `Tidemill.merge_customers`."""
    pair = Named.read(merged), Named.read(into)
    return merge(store, *_desk(store, engine), *pair, datetime.now(UTC))


def unmerge_customer(store: Database, engine: MetricsEngine, merged: str) -> bool:
    """See `Tidemill.unmerge_customer`."""
    customer = Named.read(merged)
    return unmerge(store, *_desk(store, engine), customer, datetime.now(UTC))


def _desk(store: Database, engine: MetricsEngine) -> tuple[PostgresBus, Books]:
    """What writes; the facts are those of the configured policy then."""
    engine.provider.require_own("Writing")
    writable = store.writable()
    bus = PostgresBus(writable)
    books = Books(FACTS, engine.policy, engine.base_currency)
    settle(writable, bus, books)
    return bus, books
