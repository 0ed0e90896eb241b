"""Amounts of money as billing systems' tables have them, in minor units."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Numeric, case, cast

from tidemill.money import EXPONENTS

__all__ = ["USUAL_EXPONENT", "minor_units"]

USUAL_EXPONENT: Final = 2
"""Decimal places of a currency that ISO 4217 does not know, such as BTC."""


def minor_units(major: ColumnElement[Any], currency: ColumnElement[Any]) -> ColumnElement[Any]:
    """An amount in major units (12.50 dollars) in minor ones (1250 cents), unrounded."""
    unusual = [
        (currency.in_([code for code, places in EXPONENTS.items() if places == each]), 10**each)
        for each in sorted(set(EXPONENTS.values()) - {USUAL_EXPONENT})
    ]
    return cast(major * case(*unusual, else_=10**USUAL_EXPONENT), Numeric)
