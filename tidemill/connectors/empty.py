"""Relations of which a billing system has no rows."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Date,
    DateTime,
    FromClause,
    Integer,
    Numeric,
    Text,
    cast,
    false,
    null,
    select,
)
from sqlalchemy.types import TypeEngine

from tidemill.relations import COLUMNS

__all__ = ["nothing"]

_TYPES: Final[dict[str, type[TypeEngine[Any]] | TypeEngine[Any]]] = {
    "customer_id": BigInteger,
    "canonical_id": BigInteger,
    "source_id": Integer,
    "expense_id": BigInteger,
    "amount": Numeric,
    "day": Date,
    "rate": Numeric,
    "version_id": BigInteger,
    "ordinal": Integer,
    "percent_off": Numeric,
    "amount_off": Numeric,
    "starts_at": DateTime(timezone=True),
    "ends_at": DateTime(timezone=True),
}


def nothing(relation: str) -> FromClause:
    """A relation without rows; columns that are no keys, times or amounts are text."""
    columns = [cast(null(), _TYPES.get(each, Text)).label(each) for each in COLUMNS[relation]]
    return select(*columns).where(false()).subquery(relation)
