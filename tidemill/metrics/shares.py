"""Shares of a whole that a question is given as text, such as a margin of 0.8."""

from __future__ import annotations

from decimal import Decimal

from tidemill.errors import InvalidQuery
from tidemill.problems import Issue

__all__ = ["share_of"]


def share_of(name: str, written: str, *, negative: bool = False) -> Decimal:
    """The share that the parameter `name` writes: from 0, or where it may be negative any, to 1.

    >>> share_of("margin", "0.8"), share_of("margin", "-.25", negative=True)
    (Decimal('0.8'), Decimal('-0.25'))

    Raises: InvalidQuery.
    """
    try:
        share = Decimal(written)
    except ArithmeticError:
        share = Decimal("NaN")
    if not share.is_finite() or share > 1 or (share < 0 and not negative):
        what = "a share up to 1" if negative else "a share from 0 to 1"
        raise InvalidQuery([Issue(name, f"{written!r} is not {what}", "Write one such as 0.8.")])
    return share
