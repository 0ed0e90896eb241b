"""Foreign JSON is read into our types; what is wrong with it is noted, all of it, not raised."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tidemill.connectors.fields import Fields


def test_values_come_in_our_types() -> None:
    found = Fields({"t": "x", "n": 3, "d": "0.35", "f": 25.5, "b": True, "at": 1_775_001_600})
    assert found.text("t") == "x"
    assert found.integer("n") == 3
    assert found.decimal("d") == Decimal("0.35")
    assert found.decimal("f") == Decimal("25.5"), "a float is what its shortest text says"
    assert found.flag("b") is True
    assert found.instant("at") == datetime(2026, 4, 1, tzinfo=UTC)
    assert found.problems == []


@pytest.mark.parametrize("reader", ["text", "integer", "decimal", "flag", "instant", "reference"])
@pytest.mark.parametrize("value", [{}, {"x": None}])
def test_absent_and_null_are_nothing_and_no_problem(reader: str, value: dict[str, None]) -> None:
    found = Fields(value)
    assert getattr(found, reader)("x") is None
    assert found.problems == []


@pytest.mark.parametrize(
    ("reader", "value"),
    [
        ("text", 7),
        ("text", "a\0b"),
        ("text", "\ud800"),
        ("integer", "ten"),
        ("integer", 2.5),
        ("integer", True),
        ("integer", 10**16),
        ("integer", int("9" * 600)),
        ("decimal", "NaN"),
        ("decimal", "1E+400"),
        ("decimal", [1]),
        ("flag", "yes"),
        ("instant", 12),
        ("instant", 10**14),
        ("instant", "2026-04-01"),
        ("reference", 5),
    ],
)
def test_what_cannot_be_is_one_problem_and_nothing(reader: str, value: object) -> None:
    found = Fields({"outer": {"x": value}}).fields("outer")
    assert getattr(found, reader)("x") is None
    (problem,) = found.problems
    assert problem.path.startswith("outer.x")


def test_numbers_too_long_to_print_are_a_problem_too() -> None:
    found = Fields({"x": 10**5000})
    assert found.integer("x") is None
    assert "hundreds of digits" in str(found.problems[0])


def test_an_object_within_shares_the_list_and_knows_its_place() -> None:
    found = Fields({"items": [{"price": {"id": 1}}, 5]}, "data")
    first, _second = found.entries("items")
    first.fields("price").text("id")
    assert [each.path for each in found.problems] == ["data.items[1]", "data.items[0].price.id"]


@pytest.mark.parametrize(("value", "said"), [({}, "is missing"), ({"id": ""}, "must not be empty")])
def test_what_is_needed_says_how_it_is_missing(value: dict[str, str], said: str) -> None:
    found = Fields(value)
    assert found.needed("id") == ""
    assert [each.problem for each in found.problems] == [said]


def test_what_is_needed_and_wrong_is_one_problem() -> None:
    found = Fields({"id": 5})
    assert found.needed("id") == ""
    assert [each.problem for each in found.problems] == ["must be text, not 5"]


def test_a_reference_is_an_id_or_an_object() -> None:
    found = Fields({"a": "cus_1", "b": {"id": "cus_2"}, "c": ""})
    assert [found.reference(key) for key in "abc"] == ["cus_1", "cus_2", None]
