"""How answers are printed: by the unit of each column, whatever the data say."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tidemill.cli.output import as_csv, result_table
from tidemill.cli.tables import as_table, printable
from tidemill.metrics.columns import Column, count, day, instant, money, ratio, text
from tidemill.metrics.result import Result
from tidemill.policy import Policy

YEN = money("mrr").in_base("JPY")
DINAR = money("mrr").in_base("KWD")
RATE = ratio("rate", undefined="nothing was there")[0]


def answer(columns: tuple[Column, ...], *rows: dict[str, object]) -> Result:
    """A result with these rows."""
    return Result(
        metric="mrr",
        question="current",
        params={},
        columns=columns,
        rows=rows,
        policy=Policy.of(),
        as_of=datetime(2025, 7, 1, tzinfo=UTC),
        _sql=str,
    )


def test_a_single_value_stands_alone() -> None:
    assert result_table(answer((YEN,), {"mrr": Decimal(1234)})) == "¥1,234"
    assert result_table(answer((DINAR,), {"mrr": Decimal("5500.4")})) == "KWD 5.500"
    assert result_table(answer((RATE,), {"rate": None})) == "undefined"


def test_numbers_stand_to_the_right_and_nothing_is_cut_off() -> None:
    long = "a plan with a very long name " * 5
    rows = [{"plan": long, "n": 7}, {"plan": "b", "n": 1234}]
    lines = result_table(answer((text("plan"), count("n")), *rows)).splitlines()
    assert lines[2].startswith(long)
    assert lines[2].endswith("    7")
    assert lines[3].endswith("1,234")
    assert not any(line != line.rstrip() for line in lines)


def test_data_are_never_markup_nor_commands_to_the_terminal() -> None:
    table = as_table(("name",), [("[red]x[/red]",), ("\x1b[2Jgone",), ("two\nlines",)])
    assert "[red]x[/red]" in table
    assert "\\x1b[2Jgone" in table
    assert "two\\nlines" in table
    assert len(table.splitlines()) == 5
    assert printable("naïve – ok 日本") == "naïve – ok 日本"


@pytest.mark.parametrize(
    ("exact", "expected"), [(False, "1235"), (True, "1234.500000")], ids=["rounded", "exact"]
)
def test_csv_money(exact: bool, expected: str) -> None:  # noqa: FBT001 - a parameter of the test
    assert as_csv((YEN,), [{"mrr": Decimal("1234.5")}], exact=exact) == f"mrr\n{expected}"


def test_csv_writes_each_unit_for_programs() -> None:
    columns = (
        day("day"),
        instant("at"),
        text("name"),
        RATE,
        text("currency"),
        money("native", currency_column="currency"),
    )
    row = {
        "day": date(2025, 6, 1),
        "at": datetime(2025, 6, 1, 12, tzinfo=UTC),
        "name": 'a "b", c',
        "rate": Decimal("0.12500"),
        "currency": "KWD",
        "native": Decimal(-5500),
    }
    empty = {**dict.fromkeys(row), "currency": "USD"}
    assert as_csv(columns, [row, empty]).splitlines() == [
        "day,at,name,rate,currency,native",
        '2025-06-01,2025-06-01T12:00:00Z,"a ""b"", c",0.125,KWD,-5.500',
        ",,,,USD,",
    ]
