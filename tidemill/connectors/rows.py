"""Rows at hand as a relation, however many: one array for each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import FromClause, cast, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

__all__ = ["relation_of"]


def relation_of(
    name: str,
    types: Mapping[str, type[TypeEngine[Any]] | TypeEngine[Any]],
    rows: Sequence[tuple[Any, ...]],
) -> FromClause:
    """A relation of these columns with these rows, values in the order of the columns."""
    arrays: list[Any] = [
        cast([each[place] for each in rows], ARRAY(kind))
        for place, kind in enumerate(types.values())
    ]
    columns: list[Any] = [column(each, kind) for each, kind in types.items()]
    return select(func.unnest(*arrays).table_valued(*columns).render_derived()).subquery(name)
