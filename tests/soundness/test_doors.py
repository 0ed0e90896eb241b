"""Doors that stood open elsewhere: SQL in the parameters of a question (traps D03 and D04)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from sqlalchemy import func, select

from tests.conftest import NewDatabase
from tests.support.cli import Inside, inside, keep_known_book
from tests.support.http import serving
from tidemill.database import Database
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.models import metric_mrr_movement

FEBRUARY = {"at": "2025-02-28"}


@dataclass(frozen=True)
class Ways:
    """The ways in to one store: HTTP and the command line."""

    database: Database
    http: httpx.Client
    prompt: Inside

    def movements(self) -> int:
        """How many rows of the ledger are still there; five in the whole book."""
        with self.database.connect() as connection:
            counted = connection.execute(select(func.count()).select_from(metric_mrr_movement))
            return counted.scalar_one()


@pytest.fixture(scope="module")
def ways(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    """The book of `known_book`, and a connection that could write into it."""
    with new_database() as database:
        prompt = inside(tmp_path_factory.mktemp("doors"), database)
        keep_known_book(prompt)
        engine = MetricsEngine(database, base_currency="USD")
        with serving(Tidemill(database, engine)) as http:
            yield Ways(database, http, prompt)


@pytest.mark.parametrize(
    "query",
    [
        "interval=month'); DELETE FROM metric_mrr_movement; --",
        "grain=(SELECT pg_sleep(10))",
        "dimensions=plan; DELETE FROM metric_mrr_movement",
        "dimensions=(SELECT email FROM customer)",
        "filter=plan') OR 1=1; DELETE FROM metric_mrr_movement; --=x",
        "segment=x'; DELETE FROM metric_mrr_movement; --",
        "start=2025-01-01'; DELETE FROM metric_mrr_movement; --",
    ],
)
def test_d03_d04_sql_in_names_and_grains_is_refused(ways: Ways, query: str) -> None:
    """They are looked up in a list, which the refusal shows, and never reach the database."""
    response = ways.http.get(f"/api/metrics/mrr/series?{query}")
    assert response.status_code == 400
    assert response.json()["code"] == "invalid_query"
    assert all(each["hint"] for each in response.json()["errors"])
    assert ways.movements() == 5

    flags = {"dimensions": "--by", "filter": "--where"}
    name, _, value = query.partition("=")
    typed = ways.prompt.run("mrr", "series", flags.get(name, f"--{name}"), value)
    assert typed.returncode == 2
    assert typed.stderr.startswith("error[invalid_query]: ")
    assert ways.movements() == 5


@pytest.mark.parametrize("name", ["country'; DELETE FROM segment; --", "(SELECT email)", "plan\0"])
def test_d04_sql_in_the_field_of_a_segment_is_refused(ways: Ways, name: str) -> None:
    condition = {"field": name, "operator": "=", "value": "x"}
    for definition in (condition, {"not": {"and": [condition]}}):
        response = ways.http.put("/api/segments/mine", json={"definition": definition})
        assert response.status_code == 400
        assert response.json()["code"] == "invalid_segment"
        assert "no field is named" in response.json()["errors"][0]["problem"]
    operator = condition | {"field": "country", "operator": "= '' OR 1=1 --"}
    response = ways.http.put("/api/segments/mine", json={"definition": operator})
    assert response.status_code == 400
    assert ways.http.get("/api/segments").json() == {"segments": []}


def test_d03_d04_sql_in_a_value_is_only_a_value(ways: Ways) -> None:
    value = "plan=x'; DELETE FROM metric_mrr_movement; --"
    got = ways.http.get("/api/metrics/mrr", params=FEBRUARY | {"filter": value})
    assert got.json()["rows"] == [{"mrr": "0.000000"}]
    assert ways.prompt.text("mrr", "--at", "2025-02-28", "--where", value) == "$0.00\n"
    assert ways.movements() == 5
