"""Rows at hand as a relation, however many: one array for each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import FromClause, cast, column, func, literal, null, select
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.types import TypeEngine

__all__ = ["relation_of"]


def relation_of(
    name: str,
    types: Mapping[str, type[TypeEngine[Any]] | TypeEngine[Any]],
    rows: Sequence[tuple[Any, ...]],
) -> FromClause:
    """A relation of these columns with these rows, values in the order of the columns."""
    arrays = [
        cast(_values([each[place] for each in rows], kind), ARRAY(kind))
        for place, kind in enumerate(types.values())
    ]
    columns: list[Any] = [column(each, kind) for each, kind in types.items()]
    return select(func.unnest(*arrays).table_valued(*columns).render_derived()).subquery(name)


def _values(values: list[Any], kind: type[TypeEngine[Any]] | TypeEngine[Any]) -> Any:
    """One parameter; one for each value where some are null, which SQL as text must be told."""
    if None not in values:
        return values
    return array([null() if each is None else literal(each, kind) for each in values])
