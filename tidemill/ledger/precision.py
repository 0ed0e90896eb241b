"""How many digits amounts have on their way to being rounded.

PostgreSQL gives a quotient some twenty digits: enough to sum, but a third of something may end a
hair beside the half it is. Under `rounding = subscription` that would be a whole minor unit. So
amounts that are going to be rounded are divided with many more digits, and what divisions left over
is rounded off first. Only two amounts less than 10**-40 of a minor unit apart are taken for one.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from sqlalchemy import Numeric, func, type_coerce

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from tidemill.policy import Policy

__all__ = ["dividend", "half_up", "short"]

_DIVIDED: Final = 50
_RELIED_ON: Final = 40
# As many as a quotient of whole amounts has that nobody rounds, so that ratios of either are alike.
_KEPT: Final = 16


def dividend(amount: ColumnElement[Decimal], policy: Policy) -> ColumnElement[Decimal]:
    """An amount about to be divided: its quotient will have as many digits as the policy needs."""
    if policy.rounding == "exact":
        return amount
    return type_coerce(func.round(amount, _DIVIDED), Numeric)


def half_up(amount: ColumnElement[Decimal]) -> ColumnElement[Decimal]:
    """Whole minor units, half away from zero, as `numeric` rounds in PostgreSQL."""
    return type_coerce(func.round(func.round(amount, _RELIED_ON)), Numeric)


def short(amount: ColumnElement[Decimal]) -> ColumnElement[Decimal]:
    """The amount with the digits that sums of it need."""
    return type_coerce(func.round(amount, _KEPT), Numeric)
