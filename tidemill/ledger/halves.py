"""The two halves of a history: what each gives adds up to what the whole gives.

Movements are those of customers, so no customer may be in both; nor may a company of several, or a
subscription, which can move from one customer to another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import Integer, case, func, not_, or_, select, true

from tidemill.ledger.versions import books

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["halves"]


def halves(relations: Relations, policy: Policy) -> tuple[Relations, Relations]:
    """The relations twice, each time with the subscriptions of other companies.

    Companies that ever had a subscription of another's are all in the first half: they are few, and
    so nobody has to find out which of them hang together.
    """
    version = relations.subscription_versions
    owner, source = books(relations, policy, version)
    held = (
        select(
            version.c.subscription_id,
            func.min(owner).label("company"),
            func.max(owner).label("other"),
        )
        .select_from(source)
        .group_by(version.c.subscription_id)
        .cte("held")
    )
    has_moved = held.c.company != held.c.other
    moved = select(held.c.subscription_id).where(has_moved)
    tied = select(owner).select_from(source).where(version.c.subscription_id.in_(moved))
    is_first = case(
        (or_(has_moved, held.c.company.in_(tied)), true()), else_=_in_first_half(held.c.company)
    )

    def half(condition: ColumnElement[bool]) -> Relations:
        chosen = select(held.c.subscription_id).where(condition).subquery("half")
        return replace(relations, subscription_versions=_of(version, chosen))

    return half(is_first), half(not_(is_first))


def _in_first_half(company: ColumnElement[int]) -> ColumnElement[bool]:
    # Hashed, because keys may all be even, or the older half may have most of the history.
    return func.hashint8(company, type_=Integer) < 0


def _of(version: FromClause, chosen: FromClause) -> FromClause:
    """The versions of the subscriptions chosen."""
    return (
        select(version)
        .join(chosen, chosen.c.subscription_id == version.c.subscription_id)
        .subquery("version_of_half")
    )
