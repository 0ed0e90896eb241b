"""What the inbox has to say of itself: how much came, and what is not settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by, distinct_on

from tidemill.inbox.mending import doubtful
from tidemill.models import delivery

__all__ = ["Report", "Unresolved", "as_unsettled", "report", "unsettled", "unsettled_lists"]

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


@dataclass(slots=True)
class Report:
    """The deliveries of a source."""

    source: str
    received: int = 0
    last_received_at: datetime | None = None
    states: dict[str, int] = field(default_factory=dict)
    """State → how many deliveries are in it."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Type → how many of it were of no interest."""

    def document(self) -> dict[str, Any]:
        """The counts as a JSON object; the instant is one still."""
        return {
            "received": self.received,
            "last_received_at": self.last_received_at,
            "states": self.states,
            "ignored": self.ignored,
        }


def report(connection: Connection) -> list[Report]:
    """What came from each source that sends webhooks, by name."""
    found: dict[str, Report] = {}
    by_state = select(
        delivery.c.source,
        delivery.c.state,
        func.count().label("number"),
        func.max(delivery.c.received_at).label("latest"),
    ).group_by(delivery.c.source, delivery.c.state)
    for row in connection.execute(by_state.order_by(delivery.c.source)):
        one = found.setdefault(row.source, Report(row.source))
        one.received += row.number
        one.states[row.state] = row.number
        one.last_received_at = max(one.last_received_at or row.latest, row.latest)
    by_type = (
        select(delivery.c.source, delivery.c.type, func.count().label("number"))
        .where(delivery.c.state == "ignored")
        .group_by(delivery.c.source, delivery.c.type)
        .order_by(func.count().desc(), delivery.c.type)
    )
    for row in connection.execute(by_type):
        found[row.source].ignored[row.type] = row.number
    return list(found.values())


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
