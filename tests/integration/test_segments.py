"""Segments: who is in one and when, versions, refusals, and every way to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import NewDatabase
from tests.support.cli import Inside
from tests.support.http import serving
from tests.support.telling import Told, described, item, paid, rate, subscribed
from tidemill.database import Database, connect
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.errors import InvalidQuery, InvalidSegment, MissingRate, UnknownSegment
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy

MARCH = "2025-03-31"
SPAN = {"start": "2025-01-01", "end": MARCH}


def book(database: Database) -> Told:
    """Ada pays 100 + 20 for two plans, Bert 50 for one of them until March, Cleo pays 10."""
    told = Told(database)
    plans = [item(10_000, plan="team"), item(2_000, plan="addon") | {"id": "si_2"}]
    told.hear_together(
        described("ada", "2025-01-01", country="DE", attributes={"tier": "gold"}),
        described("bert", "2025-01-01", country="AT"),
        subscribed("ada", "2025-01-05", items=plans),
        subscribed("bert", "2025-01-06", items=[item(5_000, plan="team")]),
        subscribed("cleo", "2025-02-07", items=[item(1_000, plan="solo")]),
        subscribed("bert", "2025-03-10", status="canceled", ended_at="2025-03-10T12:00:00Z"),
    )
    return told


@pytest.fixture
def told(database: Database) -> Told:
    return book(database)


@pytest.fixture
def books(told: Told) -> Tidemill:
    return Tidemill(told.database, told.engine)


@pytest.fixture(scope="module")
def standing(new_database: NewDatabase) -> Iterator[Tidemill]:
    """The same book for tests that change nothing of it but one segment's tree."""
    with new_database() as database:
        told = book(database)
        yield Tidemill(database, told.engine)


def condition(field: str, operator: str, value: Any = None) -> dict[str, Any]:
    said = {"field": field, "operator": operator}
    return said if value is None else said | {"value": value}


def members(books: Tidemill, tree: dict[str, Any], at: str = "2025-02-28") -> dict[str, Any]:
    """Customer → MRR, of a segment."""
    books.segments.save("asked", tree)
    rows = books.mrr.current(at=at, by=["customer"], segment="asked").rows
    return {row["customer"]: row["mrr"] for row in rows}


# --- who is in it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "found"),
    [
        (condition("country", "=", "de"), {"ada"}),
        (condition("country", "!=", "DE"), {"bert", "cleo"}),
        (condition("country", "is_empty"), {"cleo"}),
        (condition("country", "in", ["DE", "AT"]), {"ada", "bert"}),
        (condition("country", "not_in", ["DE", "CZ"]), {"bert", "cleo"}),
        (condition("customer", "starts_with", "A"), {"ada"}),
        (condition("customer", "not_contains", "e"), {"ada"}),
        (condition("customer", "contains", "%"), set()),
        # Of several plans one will do; denied, none may be it.
        (condition("plan", "=", "team"), {"ada", "bert"}),
        (condition("plan", "!=", "team"), {"cleo"}),
        (condition("plan", "!=", "addon"), {"bert", "cleo"}),
        ({"not": condition("plan", "in", ["team", "addon"])}, {"cleo"}),
        (condition("mrr", ">", 50), {"ada"}),
        (condition("mrr", "between", ["10", 50.0]), {"bert", "cleo"}),
        (condition("subscriptions", "=", 1), {"ada", "bert", "cleo"}),
        (condition("active", "=", True), {"ada", "bert", "cleo"}),
        (condition("cohort_month", "<", "2025-02-01"), {"ada", "bert"}),
        (condition("tenure_months", "=", 0), {"cleo"}),
        (condition("subscription_status", "=", "active"), {"ada", "bert", "cleo"}),
        (condition("attribute.tier", "=", "gold"), {"ada"}),
        (condition("attribute.tier", "is_not_empty"), {"ada"}),
        ({"or": [condition("country", "=", "DE"), condition("mrr", "<=", 10)]}, {"ada", "cleo"}),
        ({"and": [condition("plan", "=", "team"), condition("mrr", "<", 60)]}, {"bert"}),
    ],
)
def test_conditions(standing: Tidemill, tree: dict[str, Any], found: set[str]) -> None:
    assert set(members(standing, tree)) == found


def test_nobody_is_counted_twice(standing: Tidemill) -> None:
    """Ada has two items on plans with an a; she is in, once, with everything she pays."""
    assert members(standing, condition("plan", "contains", "a")) == {"ada": 12_000, "bert": 5_000}


def test_membership_is_decided_at_the_close_of_the_last_day(books: Tidemill) -> None:
    """Bert has left by then: he was no team customer in January either, for this question."""
    books.segments.save("team", condition("plan", "=", "team"))
    books.segments.save("gone", condition("active", "=", False))
    series = books.mrr.series(**SPAN, segment="team").rows
    assert [row["mrr"] for row in series] == [12_000, 12_000, 12_000]
    assert [r["mrr"] for r in books.mrr.series(**SPAN, segment="gone").rows] == [5_000, 5_000, 0]
    assert books.mrr.current(at="2025-02-28", segment="team").value == 17_000
    by_plan = books.mrr.current(at="2025-01-31", where=["plan=team"]).value
    assert by_plan == 15_000, "a filter is of rows, a segment of customers"


def test_an_earlier_date_has_the_members_of_then(told: Told, books: Tidemill) -> None:
    told.hear(described("bert", "2025-02-20", country="DE"))
    books.segments.save("german", condition("country", "=", "DE"))
    ask = {"at": "2025-02-28", "segment": "german"}
    assert books.mrr.current(**ask).value == 17_000
    assert books.mrr.current(**ask, known_at="2025-02-15T00:00:00Z").value == 12_000


def test_a_level_without_a_rate_is_no_level(told: Told, books: Tidemill) -> None:
    books.segments.save("rich", condition("mrr", ">", 5))
    told.hear(subscribed("dora", "2025-02-01", 3_000, currency="EUR"))
    with pytest.raises(MissingRate):
        books.mrr.current(at="2025-02-28", where=["currency=USD"], segment="rich")
    told.hear(rate("2025-01-01", "1.10"))
    assert books.mrr.current(at="2025-02-28", segment="rich").value == 21_300


def test_every_question_takes_a_segment_and_branches(books: Tidemill) -> None:
    books.segments.save("team", condition("plan", "=", "team"))
    books.segments.save("rest", {"not": condition("plan", "=", "team")})
    for name, info in books.catalogue().items():
        for question in info.questions:
            if "country" not in {each.name for each in question.dimensions}:
                continue
            has = {each.name for each in question.params}
            params = {key: day for key, day in SPAN.items() if key in has}
            books.query(name, question.name, segment="team", **params)
            answer = books.query(
                name, question.name, segment="team", compare_segments=["team", "rest"], **params
            )
            assert answer.columns[0].name == "segment"
            assert {row["segment"] for row in answer.rows} <= {"team"}
            assert answer.segments == ("team@1", "rest@1")


def test_segments_are_decided_on_mrr_whatever_is_added_up(told: Told, books: Tidemill) -> None:
    """Money paid is no MRR, and a year's value is none either."""
    told.hear(paid("cleo", "2025-02-08", 90_000, "in_1"), paid("ada", "2025-02-09", 12_000, "in_2"))
    books.segments.save("rich", condition("mrr", ">", 50))
    books.segments.save("team", condition("plan", "=", "team"))
    for name in ("rich", "team"):
        cash = books.query("cash", "net", start="2025-02-01", end="2025-02-28", segment=name)
        assert cash.rows[0]["net"] == 12_000
    yearly = books.arr.current(at="2025-02-28", segment="rich", set={"arr_basis": "contract_value"})
    assert yearly.value == 144_000


def test_ratios_divide_within_each_branch(books: Tidemill) -> None:
    books.segments.save("austrian", condition("country", "=", "AT"))
    books.segments.save("others", condition("country", "!=", "AT"))
    churned = books.churn.logo(
        start="2025-03-01", end=MARCH, compare_segments=["others", "austrian"]
    )
    assert [(r["segment"], r["logo_churn"], r["logo_churn_denominator"]) for r in churned.rows] == [
        ("others", 0, 2),
        ("austrian", 1, 1),
    ]


def test_the_rows_behind_are_those_of_the_segment(books: Tidemill) -> None:
    books.segments.save("german", condition("country", "=", "DE"))
    result = books.mrr.current(at=MARCH, segment="german")
    assert {row["customer"] for row in result.rows_behind().rows} == {"ada"}


# --- saving ---------------------------------------------------------------------------------------


def test_saving_again_makes_a_version_and_the_old_ones_stay(books: Tidemill) -> None:
    first = books.segments.save("mine", condition("country", "=", "DE"), description="one")
    second = books.segments.save("mine", condition("country", "=", "AT"))
    assert (first.version, second.version) == (1, 2)
    assert books.mrr.current(at="2025-02-28", segment="mine").value == 5_000
    assert books.mrr.current(at="2025-02-28", segment="mine@1").value == 12_000
    books.segments.delete("mine")
    assert books.segments.list() == ()
    with pytest.raises(InvalidQuery, match="No segment is named 'mine'"):
        books.mrr.current(segment="mine")
    assert books.mrr.current(at="2025-02-28", segment="mine@2").value == 5_000
    assert [each.version for each in books.segments.history("mine")] == [1, 2, 3]
    with pytest.raises(UnknownSegment):
        books.segments.show("mine@7")


def test_every_problem_of_a_definition_is_named_with_its_place(books: Tidemill) -> None:
    tree = {
        "and": [
            condition("contry", "=", "DE"),
            condition("country", ">", "DE"),
            condition("country", "equals", "DE"),
            condition("mrr", "between", [5, 1]),
            condition("mrr", "=", "much"),
            condition("mrr", "=", True),
            condition("country", "in", []),
            condition("country", "in", "DE"),
            condition("cohort_month", ">", "soon"),
            condition("subscription_status", "=", "activ"),
            condition("country", "is_empty", "x"),
            {"or": []},
            {"not": [1]},
            {"field": "country"},
            "country",
        ],
        "or": [],
    }
    with pytest.raises(InvalidSegment) as refused:
        books.segments.save("mine", tree)
    said = {each.path: each for each in refused.value.problems}
    assert said["and[0].field"].hint == "Did you mean 'country'?"
    assert said["and[9].value"].hint.startswith("Did you mean 'active'?")
    assert set(said) == {
        "or", "and[0].field", "and[1].operator", "and[2].operator", "and[3].value", "and[4].value",
        "and[5].value", "and[6].value", "and[7].value", "and[8].value", "and[9].value",
        "and[10].value", "and[11].or", "and[12].not", "and[13].operator", "and[14]",
    }  # fmt: skip
    assert books.segments.list() == ()


@pytest.mark.parametrize("name", ["", " a", "a@1", "a,b", "a" * 64, "a\0", "ä"])
def test_names_that_nobody_could_type_are_refused(books: Tidemill, name: str) -> None:
    with pytest.raises(InvalidSegment, match="cannot name a segment"):
        books.segments.save(name, condition("country", "=", "DE"))


def test_trees_have_an_end(books: Tidemill) -> None:
    deep: dict[str, Any] = condition("country", "=", "DE")
    for _ in range(30):
        deep = {"not": deep}
    with pytest.raises(InvalidSegment, match="nested more than 20 deep"):
        books.segments.check(deep)
    with pytest.raises(InvalidSegment, match="has 201 conditions"):
        books.segments.check({"or": [condition("country", "=", "DE")] * 201})


def test_all_problems_of_a_question_are_named_at_once(books: Tidemill) -> None:
    books.segments.save("german", condition("country", "=", "DE"))
    spec = QuerySpec(["contry"], segment="germn", compare=["german", "german", "no"])
    with pytest.raises(InvalidQuery) as refused:
        books.query("mrr", "current", spec=spec, at="someday")
    assert len(refused.value.issues) == 5
    eleven = [f"s{number}" for number in range(11)]
    with pytest.raises(InvalidQuery, match="names 11 segments, more than 10"):
        books.mrr.current(compare_segments=eleven)


def test_a_segment_whose_attribute_became_another_kind_is_refused(books: Tidemill) -> None:
    books.segments.save("gold", condition("attribute.tier", "contains", "gold"))
    books.attributes.pin("tier", "number")
    with pytest.raises(InvalidQuery, match="segment gold@1"):
        books.mrr.current(segment="gold")


# --- command line and HTTP ------------------------------------------------------------------------


def test_the_command_line_saves_lists_shows_and_deletes(told: Told, cli: Inside) -> None:
    tree = '{"field": "country", "operator": "=", "value": "DE"}'
    assert "--segment german" in cli.text("segments", "save", "german", "-", stdin=tree)
    cli.text("segments", "save", "others", f'{{"not": {tree}}}', "--description", "All but them")
    assert "All but them" in cli.text("segments")
    assert cli.json("segments", "list")["segments"][0]["name"] == "german"
    assert '"version": 1' in cli.text("segments", "show", "german", "--history")
    assert "attribute.tier" in cli.text("segments", "fields")
    compared = ("--compare-segment", "german", "--compare-segment", "others")
    text = cli.text("mrr", "--at", "2025-02-28", *compared)
    assert "$120.00" in text
    assert "$60.00" in text
    assert cli.json("mrr", "--segment", "german")["segments"] == ["german@1"]
    assert "fine" in cli.text("segments", "save", "x", tree, "--check")
    assert cli.run("segments", "save", "x", "{").returncode == 2
    cli.text("segments", "delete", "german")
    assert cli.run("segments", "delete", "german").returncode == 2


@pytest.fixture
def client(told: Told, cli: Inside) -> Iterator[httpx.Client]:
    with connect(cli.url, read_only=True) as database:
        engine = MetricsEngine(database, base_currency="USD", policy=Policy.of())
        with serving(Tidemill(database, engine)) as client:
            yield client


def test_http_saves_lists_compares_and_deletes(client: httpx.Client) -> None:
    tree = condition("country", "=", "DE")
    saved = client.put("/api/segments/german", json={"definition": tree}).json()
    assert (saved["name"], saved["version"], saved["definition"]) == ("german", 1, tree)
    client.put("/api/segments/rest", json={"definition": {"not": tree}})
    assert client.get("/api/segments/german@1").json() == saved
    asked = {"at": "2025-02-28", "compare_segments": "rest,german"}
    answer = client.get("/api/metrics/mrr", params=asked).json()
    assert [(row["segment"], row["mrr"]) for row in answer["rows"]] == [
        ("rest", "6000.000000"),
        ("german", "12000.000000"),
    ]
    body = {"at": "2025-02-28", "segment": "german"}
    posted = client.post("/api/metrics/mrr/current", json=body).json()
    assert posted["rows"] == [{"mrr": "12000.000000"}]
    names = {each["name"] for each in client.get("/api/segments-fields").json()["fields"]}
    assert {"country", "mrr", "attribute.tier"} <= names
    bad = {"definition": condition("contry", "=", "x")}
    assert client.post("/api/segments-check", json=bad).status_code == 400
    assert client.post("/api/segments-check", json={"definition": tree}).json() == {"valid": True}
    assert client.delete("/api/segments/german").status_code == 200
    assert client.get("/api/segments/german").status_code == 404
    versions = client.get("/api/segments/german/versions").json()["versions"]
    assert [each["version"] for each in versions] == [1, 2]
