"""Shares of a whole that a question is given as text, such as a margin of 0.8."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

from tidemill.errors import InvalidQuery
from tidemill.problems import Issue

__all__ = ["share_of"]

_SAID: Final = {
    "any": "a share up to 1",
    "not_negative": "a share from 0 to 1",
    "positive": "a share above 0 and up to 1",
}


def share_of(
    name: str, written: str, sign: Literal["any", "not_negative", "positive"] = "not_negative"
) -> Decimal:
    """The share that the parameter `name` writes; no share is above 1.

    >>> share_of("margin", "0.8"), share_of("margin", "-.25", "any")
    (Decimal('0.8'), Decimal('-0.25'))

    Raises: InvalidQuery.
    """
    try:
        share = Decimal(written)
    except ArithmeticError:
        share = Decimal("NaN")
    if not share.is_finite() or share > 1 or not _allowed(share, sign):
        problem = f"{written!r} is not {_SAID[sign]}"
        raise InvalidQuery([Issue(name, problem, "Write a share such as 0.8.")])
    return share


def _allowed(share: Decimal, sign: str) -> bool:
    return sign == "any" or share > 0 or (share == 0 and sign == "not_negative")
