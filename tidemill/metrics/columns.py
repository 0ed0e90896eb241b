"""The columns of answers: what their values are, and how they are declared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = [
    "Column",
    "Unit",
    "average",
    "count",
    "day",
    "instant",
    "money",
    "ratio",
    "text",
]

Unit = Literal["money", "ratio", "count", "day", "instant", "text"]
"""What a column's values are: front ends format by it and by nothing else."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an answer.

    Money is in minor units of ``currency``, or, where that is None, of the row's own currency in
    the column ``currency_column``. In a declaration, money without either is in base currency.
    """

    name: str
    unit: Unit
    doc: str = ""
    currency: str | None = None
    currency_column: str | None = None
    #: Null is an answer (an undefined ratio, an unknown text), not a sign of missing rates.
    nullable: bool = False
    #: Why a quotient can be null, for the warning that goes with it.
    undefined: str = ""
    #: A ratio of a part to its whole: people read it in percent, data stays a fraction.
    share: bool = False
    #: Set for the columns that `--by` puts in front.
    dimension: bool = False

    @property
    def quotient(self) -> bool:
        """Whether it is divided: null with a reason when it cannot be; groups' do not add up."""
        return self.unit == "ratio" or bool(self.undefined)

    def in_base(self, currency: str) -> Column:
        """The column with the base currency filled in where it is meant."""
        if self.unit != "money" or self.currency or self.currency_column:
            return self
        return replace(self, currency=currency)

    def document(self) -> dict[str, Any]:
        """The column as results show it in JSON."""
        shown: dict[str, Any] = {"name": self.name, "unit": self.unit}
        if self.unit == "money":
            shown["currency"] = self.currency
        if self.currency_column:
            shown["currency_column"] = self.currency_column
        if self.dimension:
            shown["dimension"] = True
        return shown


def money(name: str, doc: str = "", *, currency_column: str | None = None) -> Column:
    """A money column, in base currency unless another column names each row's currency."""
    return Column(name, "money", doc, currency_column=currency_column)


def count(name: str, doc: str = "") -> Column:
    """A column of whole numbers."""
    return Column(name, "count", doc)


def day(name: str, doc: str = "") -> Column:
    """A column of calendar days; periods are named by their first day."""
    return Column(name, "day", doc)


def instant(name: str, doc: str = "") -> Column:
    """A column of UTC instants."""
    return Column(name, "instant", doc)


def text(name: str, doc: str = "") -> Column:
    """A column of text; null is possible."""
    return Column(name, "text", doc, nullable=True)


def ratio(
    name: str, doc: str = "", *, undefined: str, of: Unit = "money", share: bool = False
) -> tuple[Column, Column, Column]:
    """A ratio with its numerator and denominator beside it.

    undefined: why the denominator may be zero; the ratio is null then, with this as a warning.
    of:        the unit of numerator and denominator.
    share:     whether people read it in percent.
    """
    top = Column(f"{name}_numerator", of, f"What {name} divides.")
    bottom = Column(f"{name}_denominator", of, f"What {name} divides by.")
    rate = Column(name, "ratio", doc, nullable=True, undefined=undefined, share=share)
    return rate, top, bottom


def average(name: str, doc: str = "", *, undefined: str) -> tuple[Column, Column, Column]:
    """Money for each of something, with the money and the count beside it; see `ratio`."""
    top = Column(f"{name}_numerator", "money", f"What {name} divides.")
    bottom = Column(f"{name}_denominator", "count", f"What {name} divides by.")
    return Column(name, "money", doc, nullable=True, undefined=undefined), top, bottom
