"""Nothing is answered from a billing database in which two rows would share a key."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Executable, literal, select

import tidemill
from tests.conftest import NewDatabase
from tests.support.in_place import url_of
from tests.support.lago import create_lago
from tidemill.connectors.lago.connector import LagoReading
from tidemill.errors import KeysCollide


def _collide(_: LagoReading) -> Executable:
    """Two rows, of which one key is made."""
    return select(literal("customers"), literal(2), literal(1))


def test_what_cannot_be_told_apart_is_refused(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_database(schema=False) as database:
        book = create_lago(database)
        customer, plan = book.customer("one"), book.plan("pro", 4900)
        book.subscription(customer, plan, "first", "2024-01-05")
        book.save()
        given = {
            "connector": "lago",
            "base_currency": "EUR",
            "as_of": datetime(2025, 1, 31, tzinfo=UTC),
        }
        with tidemill.connect(url_of(database), **given) as books:
            assert books.mrr(at="2024-02-01").money
            monkeypatch.setattr(LagoReading, "keys", _collide)
            with pytest.raises(KeysCollide):
                books.mrr(at="2024-02-01")
            with pytest.raises(KeysCollide):
                books.timeline("one")
            monkeypatch.undo()
            # The refusal has left the connection as it was.
            assert books.mrr(at="2024-02-01").money
