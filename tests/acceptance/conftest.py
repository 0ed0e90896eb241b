"""Where acceptance tests run: embedded stores of their own, kept running between commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cli import Cli
from tidemill.embedded import EmbeddedServer


@pytest.fixture
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """An empty store on an embedded server that each command joins."""
    cli = Cli(tmp_path_factory.mktemp("store"))
    with EmbeddedServer(cli.data_dir):
        yield cli


@pytest.fixture
def cold_cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A place where nothing is yet, and no server runs."""
    return Cli(tmp_path_factory.mktemp("cold"))
