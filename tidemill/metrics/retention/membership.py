"""Membership: on which day a customer joined its cohort.

By the knob `cohort_key` that is the day it first became active, which never changes, or the day it
signed up, whether it ever paid or not. Cut by plans or other parts of a customer, a customer joins
each group on the day it first pays there.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from sqlalchemy import CTE, Date, FromClause, and_, cast, func, select

from tidemill.errors import KnobNotSupported
from tidemill.metrics.months import new_once
from tidemill.metrics.query import Query
from tidemill.vocabulary import MovementType

__all__ = ["members"]


def members(q: Query, end: date) -> FromClause:
    """Every customer who joined up to a day, with the day: group columns, customer_id, joined_on.

    Where rows of their own say so, also cohort_month.
    Raises: KnobNotSupported when cohorts of signups are cut by items or by MRR: who never paid has
            neither.
    """
    if q.policy.cohort_key == "signup":
        return _signed_up(q, end)
    rows = q.rows.c
    first = rows.amount_minor > 0 if q.cuts_by("item") else rows.customer_delta > 0
    columns = [rows.customer_id.label("customer_id"), rows.day]
    if new_once(q):
        # One row each, which no grouping has to find.
        first = and_(first, rows.type == MovementType.NEW.value)
        columns = [columns[0], rows.day.label("joined_on"), rows.cohort_month]
        return q.select(end, lambda _: columns).where(first).subquery("joined")
    return _earliest(q, q.select(end, lambda _: columns).where(first).subquery("joining"))


def _signed_up(q: Query, end: date) -> FromClause:
    used = (*q.bound.dimensions, *(each.dimension for each in q.bound.conditions))
    if q.cuts_by("item") or "customer_levels" in q.cube.joins_for(used):
        raise KnobNotSupported("cohort_key", "signup", ["first_paid"])
    signups = _signups(q)
    # The same dimensions and filters, of customers who may have no row in the ledger.
    asked = replace(q, rows=signups)
    told = asked.select(end, lambda _: [signups.c.customer_id, signups.c.day])
    return _earliest(q, told.subquery("joining"))


def _signups(q: Query) -> CTE:
    """Whose books, and on which day they signed up: customer_id, day, cohort_month."""
    customer, identity = q.relations.customers, q.relations.identities
    owner: Any = customer.c.customer_id
    source: FromClause = customer
    if q.policy.identity == "merged":
        source = customer.outerjoin(identity, identity.c.customer_id == owner)
        owner = func.coalesce(identity.c.canonical_id, owner)
    day = cast(func.timezone(q.policy.tz, func.min(customer.c.signed_up_at)), Date)
    made = (
        select(owner.label("customer_id"), day.label("day"))
        .select_from(source)
        .group_by(owner)
        .subquery("signup_day")
    )
    rows = q.rows.c
    month = select(rows.customer_id, func.min(rows.cohort_month).label("cohort_month")).group_by(
        rows.customer_id
    ).subquery("paying_month")  # fmt: skip
    return (
        select(made.c.customer_id, made.c.day, month.c.cohort_month)
        .outerjoin_from(made, month, month.c.customer_id == made.c.customer_id)
        .cte("signup")
    )


def _earliest(q: Query, told: FromClause) -> FromClause:
    keys = [*q.group_columns(told), told.c.customer_id]
    joined = func.min(told.c.day).label("joined_on")
    return select(*keys, joined).group_by(*keys).subquery("joined")
