"""Comparisons on the command line and over HTTP: the same document, and tables one can read."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.cases import canonical_events, load_cases
from tests.support.cli import Inside
from tests.support.http import serving
from tidemill.database import connect
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.policy import Policy

TWO = ("--preset", "default", "--preset", "default;churn_recognition=at_period_end")
MARCH = ("--start", "2025-03-01", "--end", "2025-03-31")


@pytest.fixture(scope="module")
def api(known: Inside) -> Iterator[httpx.Client]:
    """A client of a server that cannot write."""
    with connect(known.url, read_only=True) as database:
        engine = MetricsEngine(database, base_currency="USD", policy=Policy.of())
        with serving(Tidemill(database, engine)) as client:
            yield client


def _timeless(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "as_of"}


def test_one_document_everywhere(known: Inside, api: httpx.Client) -> None:
    document = known.json("compare", "mrr", "waterfall", *MARCH, *TWO, "--limit", "5")
    params = httpx.QueryParams(
        {"start": MARCH[1], "end": MARCH[3], "limit": "5", "preset": [TWO[1], TWO[3]]}
    )
    got = api.get("/api/compare/mrr/waterfall", params=params)
    assert got.status_code == 200, got.text
    assert _timeless(got.json()) == _timeless(document)
    assert [each["label"] for each in document["sides"]] == [TWO[1], TWO[3]]
    assert len({each["policy"]["hash"] for each in document["sides"]}) == 2
    [pair] = document["differences"]
    assert pair["knobs"] == [
        {
            "knob": "churn_recognition",
            "baseline": "at_cancellation",
            "other": "at_period_end",
            "bears_on_metric": True,
        }
    ]
    assert api.get("/api/compare/quick-ratio", params=[("preset", "stripe")]).status_code == 200


def test_a_table(known: Inside) -> None:
    printed = known.text(
        *("compare", "mrr", "--at", "2025-02-28"),
        *("--preset", "default", "--preset", "default;fx=constant;fx_constant_date=2025-03-02"),
    )
    lines = [line.split() for line in printed.splitlines()]
    # bert's ten euros a month: 1.10 on that day, 1.20 from March on.
    assert ["default", "$111.00"] in lines
    assert ["default;fx=constant;fx_constant_date=2025-03-02", "$112.00"] in lines
    assert ["all", "$1.00"] in lines
    assert any(line[:2] == ["bert", "mrr"] and line[-1] == "$1.00" for line in lines)


def test_six_definitions_of_churn_in_one_table(cli: Inside) -> None:
    case = next(each for each in load_cases() if each.id == "E40")
    lines = "".join(f"{json.dumps(each)}\n" for each in canonical_events(case))
    assert cli.json("import", "events", "-", stdin=lines)["applied"] == 19
    presets = ("default", "chartmogul", "maxio", "stripe", "baremetrics", "smsb")
    printed = cli.text(
        *("compare", "churn", "logo", "--start", "2025-04-01", "--end", "2025-04-30"),
        *(word for preset in presets for word in ("--preset", preset)),
    )
    table = [re.split(r"  +", line.strip()) for line in printed.split("\n\n")[0].splitlines()]
    assert table[2:] == [
        ["default", "12.50 %", "1", "8"],
        ["chartmogul", "12.50 %", "1", "8"],
        ["maxio", "25.00 %", "2", "8"],
        ["stripe", "30.00 %", "3", "10"],
        ["baremetrics", "37.50 %", "3", "8"],
        ["smsb", "0.00 %", "0", "8"],
    ]


def test_csv_has_a_line_a_policy_and_row(known: Inside) -> None:
    printed = known.text("compare", "mrr", "series", *MARCH, *TWO, "--format", "csv")
    rows = list(csv.DictReader(printed.splitlines()))
    assert [(row["preset"], row["period"]) for row in rows] == [
        (TWO[1], "2025-03-01"),
        (TWO[3], "2025-03-01"),
    ]
    assert rows[0]["mrr"] == "100.00"


def test_a_refused_side_is_named_and_decides_the_exit_code(known: Inside) -> None:
    done = known.run(
        *("compare", "customers", "--at", "2025-02-28", "--preset", "stripe", "--by", "plan"),
        *("--preset", "default;free_plans=always"),
    )
    assert done.returncode == 2
    assert "(knob_not_supported)" in done.stdout
    assert "default;free_plans=always: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compare",), "name the metric"),
        (("compare", "mrr"), "names no policy to compare with"),
        (("compare", "mr", *TWO), "Did you mean"),
        (("compare", "mrr", "movements", *MARCH, *TWO), "is a list"),
        (("compare", "mrr", *TWO, "--source", "nobody"), "nobody"),
    ],
)
def test_refusals(known: Inside, arguments: tuple[str, ...], said: str) -> None:
    done = known.run(*arguments)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr


def test_help_lists_the_options_of_question_and_comparison(known: Inside) -> None:
    printed = known.text("compare", "mrr", "waterfall", "--help")
    for flag in ("--start", "--interval", "--preset", "--set", "--by", "--limit", "--known-at"):
        assert flag in printed


@pytest.mark.parametrize(
    "query",
    [
        "preset=default&preset=default",
        "preset=stripe&limit=many",
        "preset=stripe&limit=1&limit=2",
        "preset=stripe&policies=x",
        "",
    ],
)
def test_requests_that_are_wrong(api: httpx.Client, query: str) -> None:
    got = api.get(f"/api/compare/mrr/current?{query}")
    assert got.status_code == 400, got.text
    assert got.json()["code"] == "invalid_query"


def test_the_api_describes_comparisons(api: httpx.Client) -> None:
    operation = api.get("/openapi.json").json()["paths"]["/api/compare/mrr/series"]["get"]
    names = [each["name"] for each in operation["parameters"]]
    assert {"start", "end", "grain", "preset", "limit", "set"} <= set(names)
    assert len(names) == len(set(names))
