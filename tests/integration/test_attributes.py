"""Attributes of customers: how they come in, of which kind they are, and what they cut."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tests.support.cli import Inside
from tests.support.http import serving
from tests.support.telling import Told, described, subscribed
from tidemill.database import Database, connect
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.errors import InvalidQuery, UnknownAttribute
from tidemill.policy import Policy

MARCH = "2025-03-31"


@pytest.fixture
def told(database: Database) -> Told:
    """Ada pays 100 a month, Bert 50, Cleo 20; Ada and Bert are described."""
    told = Told(database)
    told.hear_together(
        described("ada", "2025-01-01", attributes={"tier": "gold", "seats": "10", "vip": "true"}),
        described("bert", "2025-01-02", attributes={"tier": "silver", "seats": "9.50"}),
        subscribed("ada", "2025-01-05", 10_000),
        subscribed("bert", "2025-01-06", 5_000),
        subscribed("cleo", "2025-01-07", 2_000),
    )
    return told


@pytest.fixture
def books(told: Told) -> Tidemill:
    return Tidemill(told.database, told.engine)


def mrr(told: Told, name: str, **how: object) -> dict[str, Decimal]:
    place = f"attribute.{name}"
    result = told.ask("mrr", "current", place, at=MARCH, **how)
    return {row[place]: row["mrr"] for row in result.rows}


# --- as dimensions --------------------------------------------------------------------------------


def test_groups_by_an_attribute_sum_to_the_total(told: Told) -> None:
    groups = mrr(told, "tier")
    assert groups == {"gold": 10_000, "silver": 5_000, "unknown": 2_000}
    assert sum(groups.values()) == told.mrr(MARCH)


def test_numbers_are_sorted_and_filtered_as_numbers(told: Told) -> None:
    assert list(mrr(told, "seats")) == ["9.5", "10", "unknown"]
    assert mrr(told, "tier", where=["attribute.seats=9.500"]) == {"silver": 5_000}
    with pytest.raises(InvalidQuery, match="Write a number"):
        mrr(told, "tier", where=["attribute.seats=many"])


def test_every_question_that_customers_cut_can_be_cut_by_attributes(told: Told) -> None:
    span = {"start": "2025-01-01", "end": MARCH}
    for name, info in told.engine.catalogue().items():
        for question in info.questions:
            if "country" in {each.name for each in question.dimensions}:
                has = {each.name for each in question.params}
                params = {key: day for key, day in span.items() if key in has}
                told.ask(name, question.name, "attribute.tier", **params)


def test_two_attributes_and_a_filter_go_together(told: Told) -> None:
    result = told.ask(
        "customers", "current", "attribute.vip", "attribute.tier",
        where=["attribute.tier!=silver"], at=MARCH,
    )  # fmt: skip
    found = {(row["attribute.vip"], row["attribute.tier"], row["customers"]) for row in result.rows}
    assert found == {("true", "gold", 1), ("unknown", "unknown", 1)}


def test_an_unknown_attribute_is_refused_with_a_near_name(told: Told) -> None:
    with pytest.raises(InvalidQuery, match=r"Did you mean 'attribute\.tier'"):
        mrr(told, "teir")


def test_explaining_keeps_to_the_attribute(told: Told) -> None:
    result = told.ask("mrr", "current", where=["attribute.tier=silver"], at=MARCH)
    assert {row["customer"] for row in result.rows_behind().rows} == {"bert"}


# --- where they come from -------------------------------------------------------------------------


def test_what_is_set_stands_before_what_billing_says(told: Told, books: Tidemill) -> None:
    books.attributes.set("stripe:bert", {"tier": "gold", "note": 3}, at="2024-06-01T00:00:00Z")
    assert mrr(told, "tier")["gold"] == 15_000
    # The billing system's next word says nothing of seats any more, and cannot undo what was set.
    told.hear(described("bert", "2025-02-01", attributes={"tier": "bronze"}))
    assert mrr(told, "tier") == {"gold": 15_000, "unknown": 2_000}
    assert mrr(told, "seats")["unknown"] == 7_000
    books.attributes.set("stripe:bert", {"tier": None})
    assert mrr(told, "tier")["bronze"] == 5_000


def test_an_earlier_date_knows_the_attributes_of_then(told: Told) -> None:
    told.hear(described("bert", "2025-02-01", attributes={"tier": "gold"}))
    assert mrr(told, "tier")["gold"] == 15_000
    then = mrr(told, "tier", known_at="2025-01-15T00:00:00Z")
    assert then == {"gold": 10_000, "silver": 5_000, "unknown": 2_000}


def test_the_first_value_decides_the_kind_until_one_is_pinned(told: Told, books: Tidemill) -> None:
    told.hear(described("cleo", "2025-02-01", attributes={"seats": "a dozen"}))
    seats = books.attributes.show("seats")
    assert (seats.kind, seats.customers, seats.misfits, seats.pinned) == ("number", 3, 1, False)
    assert mrr(told, "seats") == {"9.5": 5_000, "10": 10_000, "unknown": 2_000}
    assert books.attributes.pin("seats", "string").misfits == 0
    assert mrr(told, "seats") == {"10": 10_000, "9.50": 5_000, "a dozen": 2_000}
    assert books.attributes.pin("seats", None).kind == "number"
    with pytest.raises(InvalidQuery, match="Did you mean 'number'"):
        books.attributes.pin("seats", "numbr")
    with pytest.raises(UnknownAttribute):
        books.attributes.pin("chairs", "number")


def test_values_are_listed_by_frequency(told: Told, books: Tidemill) -> None:
    told.hear(described("cleo", "2025-02-01", attributes={"tier": "silver"}))
    listed = [(each.value, each.customers) for each in books.attributes.values("tier")]
    assert listed == [("silver", 2), ("gold", 1)]
    assert [each.value for each in books.attributes.values("tier", like="OL")] == ["gold"]
    assert books.attributes.values("tier", like="%") == ()


# --- CSV ------------------------------------------------------------------------------------------


def test_a_csv_of_attributes_is_taken_in(cli: Inside) -> None:
    text = "customer,tier,seats\nada,gold,10\nbert,,7\nada,,12\n"
    done = cli.json("import", "csv", "attributes", "-", "--source", "crm", stdin=text)
    assert (done["read"], done["applied"], done["quarantined"]) == (2, 2, 0)
    assert cli.json("attributes", "values", "seats")["values"] == [
        {"value": "12", "customers": 1},
        {"value": "7", "customers": 1},
    ]
    assert cli.json("attributes", "show", "tier")["customers"] == 1


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["has no column customer"]),
        ("id,tier\n", ["has no column customer"]),
        ("customer\nada\n", ["has no attribute"]),
        ("customer,a,a,\n", ["a column without a name", "the column a more than once"]),
        ("customer,a\n,x\nada,1,2\n", ["names no customer", "has 3 cells, and the first line"]),
        ('customer,a\nada,"x\n', ["is not CSV"]),
    ],
)
def test_a_csv_with_anything_wrong_is_refused_whole(
    cli: Inside, tmp_path: Path, text: str, problems: list[str]
) -> None:
    file = tmp_path / "said.csv"
    file.write_text(text)
    done = cli.run("import", "csv", "attributes", str(file), "--source", "crm")
    assert done.returncode != 0
    for problem in problems:
        assert problem in done.stderr
    assert cli.json("attributes", "list")["attributes"] == []


# --- command line and HTTP ------------------------------------------------------------------------


def test_the_command_line_shows_pins_and_sets(told: Told, cli: Inside) -> None:
    assert "tier" in cli.text("attributes")
    cli.text("attributes", "set", "stripe:cleo", "tier=gold", "seats=n/a")
    assert "1 values of seats cannot be read" in cli.run("attributes").stderr
    assert "pinned" in cli.text("attributes", "pin", "seats", "string")
    assert "n/a" in cli.text("attributes", "show", "seats")
    assert "$120.00" in cli.text("mrr", "--by", "attribute.tier", "--at", MARCH)
    done = cli.run("attributes", "set", "stripe:cleo", "tier")
    assert done.returncode == 2
    assert "NAME=VALUE" in done.stderr
    assert cli.run("attributes", "set", "strip:cleo", "a=b").returncode == 2


@pytest.fixture
def client(told: Told, cli: Inside) -> Iterator[httpx.Client]:
    with connect(cli.url, read_only=True) as database:
        engine = MetricsEngine(database, base_currency="USD", policy=Policy.of())
        with serving(Tidemill(database, engine)) as client:
            yield client


def test_http_lists_sets_and_pins(client: httpx.Client) -> None:
    names = [each["name"] for each in client.get("/api/attributes").json()["attributes"]]
    assert names == ["seats", "tier", "vip"]
    said = {"customer": "stripe:cleo", "attributes": {"tier": "gold", "seats": 4, "vip": False}}
    assert client.post("/api/attributes", json=said).status_code == 200
    pinned = client.put("/api/attributes/seats/kind", json={"kind": "string"}).json()
    assert (pinned["kind"], pinned["pinned"], pinned["customers"]) == ("string", True, 3)
    values = client.get("/api/attributes/tier/values", params={"like": "g"}).json()["values"]
    assert values == [{"value": "gold", "customers": 2}]
    cut = client.get("/api/metrics/mrr", params={"at": MARCH, "dimensions": "attribute.tier"})
    assert [row["attribute.tier"] for row in cut.json()["rows"]] == ["gold", "silver"]
    assert client.get("/api/attributes/none").status_code == 404
    assert client.put("/api/attributes/seats/kind", json={"kind": "nr"}).status_code == 400
    assert (
        client.post("/api/attributes", json={"customer": "x", "attributes": {}}).status_code == 400
    )


def test_a_web_page_cannot_write_without_asking_first(client: httpx.Client) -> None:
    """Browsers send text of other sites unasked, but JSON only after the server has agreed."""
    body = '{"customer": "stripe:cleo", "attributes": {"tier": "gold"}}'
    answer = client.post("/api/attributes", content=body, headers={"content-type": "text/plain"})
    assert answer.status_code == 400
    assert client.get("/api/attributes/tier").json()["customers"] == 2


def test_names_of_any_length_cut_questions(told: Told) -> None:
    """PostgreSQL cuts names off after 63 bytes; these are alike for longer than that."""
    long = "how_many_employees_the_company_said_it_has_when_it_first_talked_"
    one, other = f"{long}to_us", f"{long}to_anybody"
    told.hear_together(
        described("ada", "2025-01-03", attributes={one: "10", other: "x"}),
        described("bert", "2025-01-03", attributes={one: "9.50", other: "y"}),
        described("cleo", "2025-01-03", attributes={one: "9.50", other: "x"}),
    )
    by = [f"attribute.{one}", f"attribute.{other}"]
    for metric, question, how in (
        ("mrr", "current", {"at": "2025-02-28"}),
        ("mrr", "waterfall", {"start": "2025-01-01", "end": "2025-02-28"}),
        ("mrr", "movements", {"start": "2025-01-01", "end": "2025-02-28"}),
        ("churn", "logo", {"start": "2025-02-01", "end": "2025-02-28"}),
        ("retention", "cohorts", {"start": "2025-01-01", "end": "2025-02-28"}),
    ):
        rows = told.ask(metric, question, *by, **how).rows
        found = {(row[by[0]], row[by[1]]) for row in rows}
        assert found <= {("10", "x"), ("9.5", "y"), ("9.5", "x"), ("unknown", "unknown")}
        assert len(found) >= 3, (metric, question)
    (row,) = told.ask("mrr", "current", by[1], at="2025-02-28", where=[f"{by[0]}=10"]).rows
    assert row[by[1]] == "x"
