"""The roles that are shipped may read what is read, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tidemill.connectors.database import DatabaseConnector
from tidemill.connectors.of_databases import DATABASE_CONNECTORS

_DEPLOY = Path(__file__).parents[3] / "deploy"


@pytest.mark.parametrize("connector", DATABASE_CONNECTORS, ids=lambda each: each.name)
def test_the_role_may_read_every_table(connector: DatabaseConnector) -> None:
    role = (_DEPLOY / connector.name / "read-only-role.sql").read_text("utf-8")
    statements = re.sub(r"--.*", "", role)
    assert set(re.findall(r"public\.(\w+)", statements)) == set(connector.tables)
