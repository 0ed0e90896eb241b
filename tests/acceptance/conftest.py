"""Where acceptance tests run: embedded stores of their own, kept running between commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cli import Cli
from tests.support.known_book import as_lines
from tidemill.database import Database
from tidemill.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A store with the book of `known_book`, for tests that only ask."""
    cli = Cli(tmp_path_factory.mktemp("known"))
    # Held open, so that each command joins the server instead of starting it.
    with EmbeddedServer(cli.data_dir):
        counts = cli.json("import", "events", "-", stdin=as_lines())
        assert counts["applied"] == counts["read"] == 8
        yield cli


@pytest.fixture
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """An empty store, for tests that write."""
    cli = Cli(tmp_path_factory.mktemp("store"))
    with EmbeddedServer(cli.data_dir):
        yield cli


@pytest.fixture
def empty_url(empty_database: Database) -> str:
    """Address of a server's database without any table."""
    return empty_database.engine.url.set(drivername="postgresql").render_as_string(
        hide_password=False
    )
