"""The command line inside this process, for tests that would otherwise start hundreds of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import NewDatabase
from tests.support.cli import Inside, inside, keep_known_book
from tidemill.database import Database


@pytest.fixture(scope="module")
def known(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """Where the book of `known_book` can be asked about; tests leave it as it is."""
    with new_database() as database:
        prompt = inside(tmp_path_factory.mktemp("known"), database)
        keep_known_book(prompt)
        yield prompt


@pytest.fixture
def cli(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Inside:
    """Where an empty database can be written to."""
    return inside(tmp_path_factory.mktemp("prompt"), database)


@pytest.fixture
def bare_cli(empty_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Inside:
    """Where not even a table is."""
    return inside(tmp_path_factory.mktemp("bare"), empty_database)
