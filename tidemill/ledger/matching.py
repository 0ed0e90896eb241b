"""Joins that are never made by comparing each row with each.

PostgreSQL has no statistics of what the steps of a derivation give. Where it expects a row or two
it would go through all of the other side for each, and there are a hundred thousand. A full join
can only be made by hashing or sorting; so a join that must be is a full one, from which conditions
choose that the planner cannot look into, or it would make another join of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, false, true

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

__all__ = ["matching", "where"]


def matching(left: FromClause, right: FromClause, **columns: ColumnElement[Any]) -> FromClause:
    """Both sides, joined where columns of `right` equal what is given for them by name."""
    same = and_(*(right.c[name] == value for name, value in columns.items()))
    return left.outerjoin(right, same, full=True)


def where(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """All conditions, for a row of `matching` of which either side may be missing."""
    return case((and_(*conditions), true()), else_=false())
