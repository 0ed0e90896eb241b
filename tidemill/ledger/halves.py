"""The two halves of a history: what each gives adds up to what the whole gives.

Movements are those of customers, so no customer may be in both; nor may a company of several, or a
subscription, which can move from one customer to another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import Integer, case, func, select, true

from tidemill.ledger.versions import books

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["half"]


def half(relations: Relations, policy: Policy, is_first: ColumnElement[bool]) -> Relations:
    """The relations with the subscriptions of the companies of one half, the first or the other.

    Companies that ever had a subscription of another's are all in the first half: they are few, and
    so nobody has to find out which of them hang together.
    """
    version = relations.subscription_versions
    owner, source = books(relations, policy, version)
    first, last = func.min(owner), func.max(owner)
    moved = (
        select(version.c.subscription_id)
        .select_from(source)
        .group_by(version.c.subscription_id)
        # Said twice, for the planner: it would expect nearly all of them.
        .having(first < last, last > first)
        .subquery("moved")
    )
    tied = (
        select(owner.label("company"))
        .select_from(source.join(moved, moved.c.subscription_id == version.c.subscription_id))
        .distinct()
        .subquery("tied")
    )
    # Joined, because the planner may expect too many of them to look them up in a list.
    known = source.outerjoin(tied, tied.c.company == owner)
    in_first = case((tied.c.company.is_not(None), true()), else_=_in_first_half(owner))
    chosen = select(version).select_from(known).where(in_first == is_first)
    return replace(relations, subscription_versions=chosen.subquery("version_of_half"))


def _in_first_half(company: ColumnElement[int]) -> ColumnElement[bool]:
    # Hashed, because keys may all be even, or the older half may have most of the history.
    return func.hashint8(company, type_=Integer) < 0
