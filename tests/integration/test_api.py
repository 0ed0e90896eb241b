"""The HTTP API on a real server: the same answers as everywhere, errors as problem documents."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.conftest import NewDatabase
from tests.support.cli import Inside
from tests.support.http import serving
from tidemill.api.documents import ProblemDocument, ResultDocument
from tidemill.database import Database, connect
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.policy import Policy

FEBRUARY = {"at": "2025-02-28"}
QUARTER = {"start": "2025-01-01", "end": "2025-03-31"}


@pytest.fixture(scope="module")
def api(known: Inside) -> Iterator[httpx.Client]:
    """A client of a server over the book of `known_book`."""
    with connect(known.url, read_only=True) as database:
        engine = MetricsEngine(database, base_currency="USD", policy=Policy.of())
        with serving(Tidemill(database, engine)) as client:
            yield client


def problem(response: httpx.Response, status: int, code: str) -> ProblemDocument:
    """The problem a response must be."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = ProblemDocument.model_validate(response.json())
    assert (document.status, document.code) == (status, code)
    assert document.type == f"urn:tidemill:error:{code}"
    return document


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("mrr", FEBRUARY),
        ("mrr/current", FEBRUARY),
        ("mrr/series", QUARTER),
        ("mrr/breakdown", QUARTER),
        ("mrr/waterfall", QUARTER | {"grain": "quarter"}),
        ("mrr/movements", QUARTER),
        ("arr/series", QUARTER),
        ("customers/current", FEBRUARY),
        ("quick_ratio/current", QUARTER),
        ("quick-ratio", QUARTER),
    ],
)
def test_answers_are_those_of_the_command_line(
    api: httpx.Client, known: Inside, path: str, params: dict[str, str]
) -> None:
    over_http = api.get(f"/api/metrics/{path}", params=params)
    assert over_http.status_code == 200, over_http.text
    assert over_http.headers["content-type"] == "application/json"
    options = [text for name, value in params.items() for text in (f"--{name}", value)]
    document = known.json(*path.split("/"), *options)
    assert _timeless(over_http.json()) == _timeless(document)
    ResultDocument.model_validate(over_http.json())


def test_a_range_without_a_question_is_the_series(api: httpx.Client) -> None:
    assert api.get("/api/metrics/mrr", params=QUARTER).json()["question"] == "series"


def test_everything_can_be_said_in_parameters(api: httpx.Client) -> None:
    query = "dimensions=country,currency&filter=country=DE&filter=customer!=ada&set=tax=include"
    got = api.get(f"/api/metrics/mrr/waterfall?start=2025-03-01&end=2025-03-31&{query}")
    document = got.json()
    [row] = document["rows"]
    assert row["country"] == "DE"
    assert row["currency"] == "EUR"
    assert (row["opening"], row["churn"], row["fx"], row["closing"]) == (
        *("1100.000000", "-1200.000000", "100.000000", "0.000000"),
    )
    assert document["filters"] == ["country=DE", "customer!=ada"]
    assert document["policy"]["set"] == {"tax": "include"}
    repeated = api.get("/api/metrics/mrr?at=2025-02-28&dimensions=country&dimensions=currency")
    assert len(repeated.json()["rows"]) == 2


def test_a_body_says_the_same(api: httpx.Client) -> None:
    body: dict[str, Any] = {
        "start": "2025-03-01",
        "end": "2025-03-31",
        "dimensions": ["country", "currency"],
        "filter": {"country": ["DE"]},
        "set": {"tax": "include"},
        "preset": None,
    }
    query = "dimensions=country,currency&filter=country=DE&set=tax=include"
    path = "/api/metrics/mrr/waterfall"
    asked = api.get(f"{path}?start=2025-03-01&end=2025-03-31&{query}").json()
    assert _timeless(api.post(path, json=body).json()) == _timeless(asked)
    texts = body | {"dimensions": "country", "filter": "country=DE", "set": "tax=include"}
    assert api.post(path, json=texts).json()["rows"][0]["closing"] == "0.000000"
    assert api.post("/api/metrics/mrr", json={}).json()["question"] == "current"


def test_explanations_name_the_events(api: httpx.Client) -> None:
    document = api.get("/api/explain/mrr/current", params=FEBRUARY | {"customer": "bert"}).json()
    assert document["customer"] == "bert"
    assert document["result"]["rows"] == [{"mrr": "1100.000000"}]
    assert [row["customer"] for row in document["behind"]["rows"]] == ["bert"]
    assert document["behind"]["rows"][0]["event_id"]
    assert document["formula"]
    assert document["sql"].startswith(("SELECT", "WITH"))
    assert api.get("/api/explain/quick-ratio", params=QUARTER).json()["metric"] == "quick_ratio"


def test_the_catalogue_says_what_can_be_asked(api: httpx.Client) -> None:
    metrics = {each["name"]: each for each in api.get("/api/metrics").json()["metrics"]}
    assert list(metrics)[:2] == ["mrr", "arr"]
    fields = api.get("/api/metrics/mrr/fields").json()
    assert fields == metrics["mrr"]
    assert "plan" in [each["name"] for each in fields["dimensions"]]
    policies = api.get("/api/policies").json()
    assert policies["configured"]["preset"] == "default"
    assert "chartmogul" in [each["name"] for each in policies["presets"]]
    assert policies["knobs"][0]["effect"]


def test_the_summary_has_each_headline_with_its_change(api: httpx.Client) -> None:
    document = api.get("/api/metrics/summary", params=FEBRUARY).json()
    values = {each["name"]: (each["value"], each["change"]) for each in document["headlines"]}
    assert values["mrr"] == ("11100.000000", "5000.000000")
    assert values["customers"] == (2, 0)
    refused = api.get("/api/metrics/summary", params={"by": "plan", "filter": "plan=x"})
    paths = {each.path for each in problem(refused, 400, "invalid_query").errors}
    assert paths == {"by", "filter"}


# --- health and description -----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/health", "/health/live"])
def test_alive(api: httpx.Client, path: str) -> None:
    assert api.get(path).json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/readyz", "/health/ready"])
def test_ready(api: httpx.Client, path: str) -> None:
    told = api.get(path).json()
    assert told == {"status": "ready", "lag_s": 0.0, "workers": [], "comparisons": []}


def test_not_ready_without_a_schema(empty_database: Database) -> None:
    with serving(_tidemill(empty_database)) as client:
        problem(client.get("/readyz"), 503, "schema_too_old")
        assert client.get("/healthz").status_code == 200


def test_every_question_is_described(api: httpx.Client) -> None:
    document = api.get("/openapi.json").json()
    series = document["paths"]["/api/metrics/mrr/series"]["get"]
    params = {each["name"]: each for each in series["parameters"]}
    assert params["start"]["schema"] == {"type": "string", "format": "date"}
    assert params["grain"]["schema"]["enum"] == ["day", "week", "month", "quarter", "year"]
    named, attribute = params["dimensions"]["schema"]["items"]["anyOf"]
    assert "plan" in named["enum"]
    assert attribute["pattern"] == r"^attribute\."
    assert list(series["responses"]["400"]["content"]) == ["application/problem+json"]
    assert "ResultDocument" in str(series["responses"]["200"])
    for metric in api.get("/api/metrics").json()["metrics"]:
        for question in metric["questions"]:
            path = document["paths"][f"/api/metrics/{metric['name']}/{question['question']}"]
            assert set(path) == {"get", "post"}
    assert api.get("/docs").status_code == 200
    assert api.get("/", follow_redirects=False).headers["location"] == "/docs"


# --- refusals -------------------------------------------------------------------------------------


def test_unknown_names_suggest_near_ones(api: httpx.Client) -> None:
    assert "'mrr'" in problem(api.get("/api/metrics/mmr"), 404, "unknown_metric").hint
    found = problem(api.get("/api/metrics/mrr/wiaterfall"), 404, "unknown_question")
    assert "'waterfall'" in found.hint
    problem(api.get("/api/explain/mmr/current"), 404, "unknown_metric")
    problem(api.post("/api/metrics/mmr", json={}), 404, "unknown_metric")
    preset = problem(
        api.get("/api/metrics/mrr", params={"preset": "stripee"}), 400, "unknown_policy"
    )
    assert "'stripe'" in preset.hint
    problem(api.get("/api/metrics/mrr", params={"set": "neting=day"}), 400, "unknown_knob")
    problem(api.get("/api/metrics/mrr", params={"set": "netting"}), 400, "invalid_policy")
    problem(api.get("/api/metrics/mrr", params={"known_at": "soon"}), 400, "invalid_instant")


def test_all_problems_come_at_once(api: httpx.Client) -> None:
    response = api.get(
        "/api/metrics/mrr/series?start=2025-02-30&grain=mont&dimensions=plann,cuntry"
        "&filter=x=1&colour=red"
    )
    found = problem(response, 400, "invalid_query")
    assert [each.path for each in found.errors] == [
        *("colour", "start", "grain", "dimensions", "dimensions", "where"),
    ]
    assert found.detail == "The question is not valid; 6 problems."
    twice = api.get("/api/metrics/mrr?at=2025-01-01&at=2025-01-02&preset=x&preset=y")
    assert len(problem(twice, 400, "invalid_query").errors) == 2


def test_no_argument_of_ours_can_be_set_from_outside(api: httpx.Client) -> None:
    ours: set[str] = set()
    for function in (Tidemill.query, Tidemill.explain, MetricsEngine.query, MetricsEngine.explain):
        ours |= set(inspect.signature(function).parameters)
    for name in sorted((ours | {"by", "where", "at"}) - {"known_at"}):
        response = api.get("/api/metrics/mrr/series", params={name: "x"})
        assert name in [each.path for each in problem(response, 400, "invalid_query").errors]
        body = api.post("/api/metrics/mrr/series", json={name: "x"})
        assert name in [each.path for each in problem(body, 400, "invalid_query").errors]
        if name != "customer":
            problem(api.get("/api/explain/mrr/series", params={name: "x"}), 400, "invalid_query")


@pytest.mark.parametrize("body", ["{", "[1]", "7", '{"start": 7}', '{"dimensions": [7]}'])
def test_a_body_that_is_no_question_is_refused(api: httpx.Client, body: str) -> None:
    headers = {"content-type": "application/json"}
    response = api.post("/api/metrics/mrr/series", content=body, headers=headers)
    assert response.status_code == 400
    assert ProblemDocument.model_validate(response.json()).errors


def test_unknown_paths_and_methods_are_problems_too(api: httpx.Client) -> None:
    problem(api.get("/api/nothing"), 404, "not_found")
    problem(api.delete("/api/metrics/mrr"), 405, "method_not_allowed")


def test_incomplete_data_are_a_conflict(known: Inside) -> None:
    with connect(known.url) as database:
        engine = MetricsEngine(database, base_currency="CHF", policy=Policy.of())
        with serving(Tidemill(database, engine)) as client:
            found = problem(client.get("/api/metrics/mrr", params=FEBRUARY), 409, "missing_rate")
    assert "2025-02-28" in found.detail


def test_a_database_that_went_away_is_unavailable(
    postgres_url: str, new_database: NewDatabase
) -> None:
    with new_database() as database, serving(_tidemill(database)) as client:
        assert client.get("/readyz").status_code == 200
        name = sql.Identifier(str(database.engine.url.database))
        moved = sql.Identifier("somewhere_else")
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            database.engine.dispose()
            admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(name, moved))
            problem(client.get("/readyz"), 503, "database_unreachable")
            problem(client.get("/api/metrics/mrr"), 503, "database_unreachable")
            admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(moved, name))
        assert client.get("/readyz").status_code == 200


def test_only_names_of_this_machine_are_answered(api: httpx.Client) -> None:
    """Else any web page could read the books through the visitor's browser (DNS rebinding)."""
    assert api.get("/healthz", headers={"host": "evil.example"}).status_code == 400
    assert api.get("/healthz", headers={"host": "localhost:8000"}).status_code == 200
    assert api.get("/healthz", headers={"host": "[::1]:8000"}).status_code == 200


def _timeless(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "as_of"}


def _tidemill(database: Database) -> Tidemill:
    return Tidemill(database, MetricsEngine(database, base_currency="USD", policy=Policy.of()))
