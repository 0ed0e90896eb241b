"""Results: exact in JSON and data frames, rounded only for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tidemill.errors import MissingExtra
from tidemill.metrics.columns import Column, count, day, instant, money, ratio, text
from tidemill.metrics.result import Result, Row, json_value, shown
from tidemill.policy import Policy

NOON = datetime(2025, 7, 1, 12, tzinfo=UTC)
COLUMNS = (
    Column("plan", "text", dimension=True),
    day("period"),
    money("mrr").in_base("USD"),
    *ratio("quick_ratio", undefined="of nothing", of="count"),
    instant("at"),
    text("currency"),
    money("native", currency_column="currency"),
)
ROWS: tuple[Row, ...] = (
    {
        "plan": "<pro>",
        "period": date(2025, 6, 1),
        "mrr": Decimal("124500.12345678901234"),
        "quick_ratio": Decimal("1.500000"),
        "quick_ratio_numerator": 3,
        "quick_ratio_denominator": 2,
        "at": NOON,
        "currency": "JPY",
        "native": Decimal("-1500.4"),
    },
    {
        "plan": "basic",
        "period": date(2025, 6, 1),
        "mrr": Decimal(0),
        "quick_ratio": None,
        "quick_ratio_numerator": 1234,
        "quick_ratio_denominator": 0,
        "at": NOON,
        "currency": "KWD",
        "native": Decimal(5500),
    },
)


def result(columns: Sequence[Column] = COLUMNS, rows: Sequence[Row] = ROWS) -> Result:
    return Result(
        metric="mrr",
        question="sample",
        params={"at": date(2025, 6, 30)},
        columns=tuple(columns),
        rows=tuple(rows),
        policy=Policy.of(),
        as_of=NOON,
        warnings=("a <warning>",),
        _sql=lambda: "SELECT 1",
    )


def test_json_is_exact() -> None:
    first, second = result().to_dict()["rows"]
    assert first == {
        "plan": "<pro>",
        "period": "2025-06-01",
        "mrr": "124500.123457",
        "quick_ratio": "1.5",
        "quick_ratio_numerator": 3,
        "quick_ratio_denominator": 2,
        "at": "2025-07-01T12:00:00Z",
        "currency": "JPY",
        "native": "-1500.400000",
    }
    assert second["quick_ratio"] is None


@pytest.mark.parametrize(
    ("value", "written"),
    [("0E-24", "0"), ("1E+3", "1000"), ("0.10", "0.1"), ("100", "100"), ("-0.5", "-0.5")],
)
def test_ratios_are_plain_decimals(value: str, written: str) -> None:
    assert json_value(Decimal(value), "ratio") == written


def test_people_see_rounded_money_with_its_currency() -> None:
    assert list(result().cells()) == [
        (
            *("<pro>", "2025-06-01", "$1,245.00", "1.5000", "3", "2"),
            *("2025-07-01T12:00:00Z", "JPY", "-¥1,500"),
        ),
        (
            *("basic", "2025-06-01", "$0.00", "", "1,234", "0"),
            *("2025-07-01T12:00:00Z", "KWD", "KWD 5.500"),
        ),
    ]
    assert shown(text("x"), {"x": None}) == ""


def test_a_notebook_shows_an_escaped_table() -> None:
    page = result()._repr_html_()
    assert "<td>&lt;pro&gt;</td>" in page
    assert "<li>a &lt;warning&gt;</li>" in page
    assert "<script" not in page


def test_one_value() -> None:
    single = result([money("mrr").in_base("USD")], [{"mrr": Decimal(100) / 12}])
    assert single.value == Decimal("8.333333")
    assert single.money == "$0.08"
    assert result([count("n")], [{"n": 3}]).value == 3
    assert result(ratio("r", undefined="x"), [dict.fromkeys("r", None)]).value is None
    assert single.sql == "SELECT 1"


def test_pandas() -> None:
    frame = result().to_pandas()
    assert list(frame.columns) == [column.name for column in COLUMNS]
    assert frame["mrr"].iloc[0] == ROWS[0]["mrr"]
    assert frame["quick_ratio_numerator"].dtype == "Int64"
    assert frame["period"].iloc[0] == pd.Timestamp(2025, 6, 1)
    assert str(frame["at"].dtype) == "datetime64[us, UTC]"
    assert result(rows=[]).to_pandas().empty


def test_polars() -> None:
    frame = result().to_polars()
    assert frame.schema["mrr"] == pl.Decimal(38, 6)
    assert frame["mrr"].to_list() == [Decimal("124500.123457"), Decimal(0)]
    assert frame["quick_ratio"].to_list() == [Decimal("1.5"), None]
    assert frame.schema["at"] == pl.Datetime("us", "UTC")
    assert result(rows=[]).to_polars().height == 0


def test_arrow() -> None:
    table = result().to_arrow()
    assert table.schema.field("mrr").type == pa.decimal128(38, 6)
    assert table.column("period").to_pylist() == [date(2025, 6, 1)] * 2
    assert table.column("mrr").to_pylist()[0] == Decimal("124500.123457")
    assert result(rows=[]).to_arrow().num_rows == 0


@pytest.mark.parametrize(
    ("library", "method", "extra"),
    [
        ("pandas", "to_pandas", "pandas"),
        ("polars", "to_polars", "polars"),
        ("pyarrow", "to_arrow", "arrow"),
    ],
)
def test_a_missing_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, library: str, method: str, extra: str
) -> None:
    """D06."""
    monkeypatch.setitem(sys.modules, library, None)
    convert: Any = getattr(result(), method)
    with pytest.raises(MissingExtra) as error:
        convert()
    assert error.value.hint == f"Run: pip install 'tidemill[{extra}]'"
