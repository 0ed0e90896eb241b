"""What came and is not settled: subscriptions whose latest state is not in the books, or in doubt.

A question asks for it, too, so that it stands apart from those who take things in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, exists, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by, distinct_on

from tidemill.models import delivery

__all__ = ["Unresolved", "as_unsettled", "doubtful", "unsettled", "unsettled_lists"]

_SUBSCRIPTIONS: Final = "%customer.subscription.%"


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A subscription whose latest state is not in the books, and why.

    asked: whether the vendor's API was asked about it already, which did not help.
    """

    source: str
    subscription: str
    reason: str
    asked: bool


def unsettled(connection: Connection) -> tuple[list[Unresolved], list[str]]:
    """Subscriptions that are unresolved, and those whose last change is in doubt."""
    return as_unsettled(*connection.execute(select(*unsettled_lists())).one())


def unsettled_lists() -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """What `unsettled` tells, as two scalar subqueries for another statement: read `as_unsettled`.

    A question asks for it together with all else that is to be said beside its number.
    """
    waiting = _waiting().subquery()
    columns = ("source", "object", "reason", "asked")
    names = func.jsonb_build_array(*(waiting.c[name] for name in columns))
    in_order = aggregate_order_by(names, waiting.c.source, waiting.c.object)
    doubt = doubtful().with_only_columns(delivery.c.object).order_by(None).distinct().subquery()
    return (
        select(func.jsonb_agg(in_order)).scalar_subquery(),
        select(func.jsonb_agg(doubt.c.object)).scalar_subquery(),
    )


def as_unsettled(
    unresolved: Sequence[Sequence[Any]] | None, doubts: Sequence[str] | None
) -> tuple[list[Unresolved], list[str]]:
    """The values of `unsettled_lists`; each is null where there is nothing to tell."""
    return [Unresolved(*each) for each in unresolved or ()], sorted(doubts or ())


def _waiting() -> Select[Any]:
    """The latest waiting delivery of each subscription that nothing later has settled."""
    latest = (
        select(
            delivery.c.source,
            delivery.c.account,
            delivery.c.object,
            func.max(delivery.c.created).label("created"),
        )
        .where(delivery.c.state == "stored", delivery.c.type.like(_SUBSCRIPTIONS))
        .group_by(delivery.c.source, delivery.c.account, delivery.c.object)
        .subquery()
    )
    return (
        select(
            delivery.c.source,
            delivery.c.object,
            delivery.c.reason,
            delivery.c.read_at.is_not(None).label("asked"),
        )
        .outerjoin(
            latest,
            (latest.c.source == delivery.c.source)
            & (latest.c.account == delivery.c.account)
            & (latest.c.object == delivery.c.object),
        )
        .where(
            delivery.c.state == "waiting",
            delivery.c.type.like(_SUBSCRIPTIONS),
            delivery.c.object != "",
            latest.c.created.is_(None) | (latest.c.created <= delivery.c.created),
        )
        .ext(distinct_on(delivery.c.source, delivery.c.object))
        .order_by(delivery.c.source, delivery.c.object, delivery.c.created.desc())
    )


def doubtful() -> Select[Any]:
    """Deliveries in doubt about their place in a second after which nothing else was told."""
    later = delivery.alias()
    newer = exists().where(
        later.c.source == delivery.c.source,
        later.c.account == delivery.c.account,
        later.c.object == delivery.c.object,
        later.c.created > delivery.c.created,
        later.c.state == "stored",
    )
    query = select(delivery).where(delivery.c.doubtful, delivery.c.read_at.is_(None), ~newer)
    return query.order_by(delivery.c.position)
