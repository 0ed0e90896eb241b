"""Results: the rows of an answer with everything one must know to trust them.

A `Result` is immutable. Money in it is exact, in minor units; nothing is rounded but what is shown
to people (``.money``, tables, HTML), and JSON carries six decimals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Any, Final

from tidemill.errors import MissingExtra, NotOneValue
from tidemill.metrics.columns import Column
from tidemill.money import format_exact, format_money

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    import polars as pl
    import pyarrow as pa

    from tidemill.policy import Policy

__all__ = [
    "BESIDE",
    "PERIODS",
    "SIDES",
    "Freshness",
    "Result",
    "Row",
    "json_value",
    "shown",
    "utc_text",
]

SIDES: Final = ("_numerator", "_denominator")
"""How the columns end that a rate was divided from."""

BESIDE: Final = ("_compared", "_change", "_change_rate")
"""How the columns end that stand beside a figure in a comparison with another range."""

PERIODS: Final = ("period", "cohort")
"""The columns that name a period of the range, and so have a place in it."""

Row = Mapping[str, Any]
"""One row: column name → Decimal (money, ratio), int (count), date, datetime (UTC), str or None."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far a source's events reach: when its latest event happened; None without any."""

    source: str
    last_event_at: datetime | None

    def document(self) -> dict[str, Any]:
        """The freshness as JSON."""
        return {
            "source": self.source,
            "last_event_at": self.last_event_at and utc_text(self.last_event_at),
        }


@dataclass(frozen=True, kw_only=True)
class Result:
    """The answer to a question.

    Attributes: ``rows`` are exact values keyed by column name; ``complete`` is False while the last
    period can still change; ``warnings`` say what else to know; ``as_of`` is when it was asked;
    ``segments`` are those it was asked of, each with its version;
    ``compared`` is the range whose figures stand beside, its first and last day; ``following`` is
    where a list goes on (``after=``), and None at its end, or of an answer that is no list.
    """

    metric: str
    question: str
    params: Mapping[str, Any]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    policy: Policy
    as_of: datetime
    known_at: datetime | None = None
    complete: bool = True
    warnings: tuple[str, ...] = ()
    freshness: tuple[Freshness, ...] = ()
    dimensions: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    compared: Mapping[str, date] | None = None
    following: str | None = None
    _sql: Callable[[], str] = field(repr=False, compare=False)
    _behind: Callable[[], Result] | None = field(default=None, repr=False, compare=False)
    _explain: Callable[[], Any] | None = field(default=None, repr=False, compare=False)
    _plot: Callable[[Result], Any] | None = field(default=None, repr=False, compare=False)

    @property
    def value(self) -> Decimal | int | None:
        """The one number of an answer of one row: money in minor units with six decimals.

        Raises: NotOneValue when there are several rows; use ``rows``.
        """
        column, value = self._single()
        return (
            Decimal(format_exact(value)) if column.unit == "money" and value is not None else value
        )

    @property
    def money(self) -> str:
        """The one amount of an answer as people write it, such as ``$12,450.00``; "" if undefined.

        Raises: NotOneValue when the answer is not one amount.
        """
        column, value = self._single()
        if column.unit != "money" or column.currency is None:
            raise NotOneValue(f"{self.metric} {self.question} answers with a {column.unit}.")
        return "" if value is None else format_money(value, column.currency)

    @property
    def sql(self) -> str:
        """The statement that made the numbers, formatted, with its values written in."""
        return self._sql()

    def rows_behind(self) -> Result:
        """The movements the numbers rest on, each with its cause and event."""
        assert self._behind is not None, "a result without an engine has no rows behind it"
        return self._behind()

    def explain(self) -> Any:
        """The formula, the policy, the SQL and the movements behind: an `engine.Explanation`."""
        assert self._explain is not None, "a result without an engine cannot explain itself"
        return self._explain()

    def plot(self) -> go.Figure:
        """The answer as a Plotly figure, in the chart that fits its columns and their units.

        Raises: MissingExtra with the command that installs Plotly; NoChart when the answer is a
            list or has too many groups; BooksDoNotClose for a waterfall that does not add up.
        """
        assert self._plot is not None, "a result without an engine has no chart"
        return self._plot(self)

    def to_dict(self) -> dict[str, Any]:
        """The answer as the command line and the HTTP API give it in JSON."""
        return {
            "metric": self.metric,
            "question": self.question,
            "params": {name: json_value(value, "text") for name, value in self.params.items()},
            "dimensions": list(self.dimensions),
            "filters": list(self.filters),
            "segments": list(self.segments),
            "compared": self.compared
            and {name: day.isoformat() for name, day in self.compared.items()},
            "columns": [column.document() for column in self.columns],
            "next": self.following,
            "rows": [
                {c.name: json_value(row[c.name], c.unit) for c in self.columns} for row in self.rows
            ],
            "policy": {
                "preset": self.policy.preset,
                "set": dict(self.policy.overrides),
                "hash": self.policy.hash,
            },
            "as_of": utc_text(self.as_of),
            "known_at": self.known_at and utc_text(self.known_at),
            "complete": self.complete,
            "warnings": list(self.warnings),
            "freshness": [each.document() for each in self.freshness],
        }

    def cells(self) -> Iterator[tuple[str, ...]]:
        """The rows as people read them: money rounded to whole minor units, with its currency."""
        for row in self.rows:
            yield tuple(shown(column, row) for column in self.columns)

    def to_pandas(self) -> pd.DataFrame:
        """A DataFrame; money and ratios stay exact `Decimal` objects.

        Raises: MissingExtra with the command that installs pandas.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtra("pandas", "to_pandas()") from error
        names = [column.name for column in self.columns]
        frame = pd.DataFrame([[row[name] for name in names] for row in self.rows], columns=names)
        kinds = {"count": "Int64", "day": "datetime64[s]", "instant": "datetime64[us, UTC]"}
        typed = {c.name: kinds.get(c.unit, "object") for c in self.columns}
        return frame.astype(typed)

    def to_polars(self) -> pl.DataFrame:
        """A polars DataFrame; money and ratios are decimals with six places, as in JSON.

        Raises: MissingExtra with the command that installs polars.
        """
        try:
            import polars as pl
        except ImportError as error:
            raise MissingExtra("polars", "to_polars()") from error
        exact = pl.Decimal(38, _PLACES)
        kinds = {
            "money": exact,
            "ratio": exact,
            "count": pl.Int64(),
            "day": pl.Date(),
            "instant": pl.Datetime("us", "UTC"),
        }
        columns = {
            column.name: pl.Series(
                column.name, self._values(column), dtype=kinds.get(column.unit, pl.String())
            )
            for column in self.columns
        }
        return pl.DataFrame(columns)

    def to_arrow(self) -> pa.Table:
        """A pyarrow Table; money and ratios are decimals with six places, as in JSON.

        Raises: MissingExtra with the command that installs pyarrow.
        """
        try:
            import pyarrow as pa
        except ImportError as error:
            raise MissingExtra("arrow", "to_arrow()") from error
        exact = pa.decimal128(38, _PLACES)
        kinds = {
            "money": exact,
            "ratio": exact,
            "count": pa.int64(),
            "day": pa.date32(),
            "instant": pa.timestamp("us", "UTC"),
        }
        return pa.table(
            {
                column.name: pa.array(self._values(column), kinds.get(column.unit, pa.string()))
                for column in self.columns
            }
        )

    def _values(self, column: Column) -> list[Any]:
        """A column for a format that wants a fixed number of decimal places."""
        values = [row[column.name] for row in self.rows]
        if column.unit in {"money", "ratio"}:
            return [value if value is None else Decimal(format_exact(value)) for value in values]
        return values

    def _single(self) -> tuple[Column, Any]:
        if len(self.rows) != 1:
            raise NotOneValue(f"{self.metric} {self.question} answered with {len(self.rows)} rows.")
        column = next(column for column in self.columns if not column.dimension)
        return column, self.rows[0][column.name]

    def _repr_html_(self) -> str:
        """The table as notebooks show it."""
        head = "".join(f"<th>{escape(column.name)}</th>" for column in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self.cells()
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.warnings)
        return (
            f"<table><caption>{escape(self.metric)} {escape(self.question)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"<p>Policy {escape(self.policy.preset)}, as of {utc_text(self.as_of)}</p>"
            + (f"<ul>{notes}</ul>" if notes else "")
        )


_PLACES = 6  # as `format_exact` writes


def utc_text(moment: datetime) -> str:
    """An instant as contracts write it: ``2025-07-01T00:00:00Z``."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def json_value(value: Any, unit: str) -> Any:
    """A value as JSON carries it: exact decimal strings, ISO days and instants."""
    if value is None:
        return None
    if unit == "money":
        return format_exact(value)
    if isinstance(value, Decimal):
        return _plain(value)
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, date):
        return value.isoformat()
    return value


def shown(column: Column, row: Row) -> str:
    """A value as people read it; the empty text for null."""
    value = row[column.name]
    if value is None:
        return ""
    if column.unit == "money":
        currency = column.currency or row[str(column.currency_column)]
        return format_money(value, currency)
    if column.unit == "ratio":
        return f"{100 * value:.2f} %" if column.share else f"{value:.4f}"
    if column.unit == "count":
        return f"{value:,}"
    return str(json_value(value, column.unit))


def _plain(value: Decimal) -> str:
    """A decimal without exponent and without the zeros a division leaves behind."""
    written = f"{value:f}"
    return written.rstrip("0").rstrip(".") if "." in written else written
