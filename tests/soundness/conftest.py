"""One database for all traps, emptied for each: the statements of the engine are compiled once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import NewDatabase
from tests.support.emptied import emptied
from tests.support.telling import Told
from tidemill.database import Database


@pytest.fixture(scope="session")
def _shared_store(new_database: NewDatabase) -> Iterator[Database]:
    with new_database() as database:
        yield database


@pytest.fixture
def store(_shared_store: Database) -> Database:
    """A database without any row."""
    return emptied(_shared_store)


@pytest.fixture
def told(store: Database) -> Told:
    """Empty books in US dollars under the default policy, and their engine."""
    return Told(store)
