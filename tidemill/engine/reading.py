"""Which columns of its base rows a question reads: rows that are derived need no others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import FromClause, Select

__all__ = ["columns_read"]


def columns_read(statements: Iterable[Select[Any]], rows: FromClause) -> frozenset[str]:
    """The names of the columns of `rows` that statements mention anywhere."""
    found: set[str] = set()
    # Common table expressions are shared, so a walk that forgot would go through them many times.
    seen: dict[int, Any] = {}
    left: list[Any] = list(statements)
    while left:
        element = left.pop()
        if id(element) in seen:
            continue
        seen[id(element)] = element
        if getattr(element, "table", None) is rows:
            found.add(element.name)
        left.extend(element.get_children())
        if isinstance(element, Select):
            # Of rows that are selected whole, no column is among its parts.
            left.extend(element.selected_columns)
    return frozenset(found)
