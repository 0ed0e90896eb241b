"""The command line inside this process, for tests that would otherwise start hundreds of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import NewDatabase
from tests.support.cli import Inside
from tests.support.known_book import as_lines
from tidemill.database import Database


def _url_of(database: Database) -> str:
    """The address of an open database, as a user would write it."""
    url = database.engine.url.set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def known(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """Where the book of `known_book` can be asked about; tests leave it as it is."""
    with new_database() as database:
        inside = Inside(tmp_path_factory.mktemp("known"), _url_of(database))
        counts = inside.json("import", "events", "-", stdin=as_lines())
        assert counts["applied"] == counts["read"] == 8
        yield inside


@pytest.fixture
def cli(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Inside:
    """Where an empty database can be written to."""
    return Inside(tmp_path_factory.mktemp("prompt"), _url_of(database))


@pytest.fixture
def bare_cli(empty_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Inside:
    """Where not even a table is."""
    return Inside(tmp_path_factory.mktemp("bare"), _url_of(empty_database))
