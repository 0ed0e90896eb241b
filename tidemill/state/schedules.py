"""What is planned for subscriptions: the phases of every schedule event, with their items.

The items and discounts of a phase stand among those of versions, under the phase's number: -1 000
times the event's position, less the place of the phase. A phase that ends the subscription has the
place after all others.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Final

from sqlalchemy import (
    Connection,
    DateTime,
    FromClause,
    Select,
    Text,
    and_,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    true,
    union_all,
)

from tidemill.models import (
    planned_phase,
    schedule_version,
    subscription,
    subscription_version,
    version_discount,
    version_item,
)
from tidemill.relations.schedules import planned_versions
from tidemill.relations.scope import Scope
from tidemill.state.rows import about, elements, fields
from tidemill.state.subscriptions import discounts_in, insert_new, items_in

__all__ = ["apply_schedules", "look_ahead", "planned_in"]

_INSTANT: Final = DateTime(timezone=True)
# The first of the two keys of the advisory lock on versions to come: "plan" in ASCII.
_PLANS_LOCK: Final = int.from_bytes(b"plan", "big")
_ROOM: Final = 1000
"""Numbers for the phases of one event; an event has fewer (`payloads.Schedule`)."""


def apply_schedules(connection: Connection, rows: FromClause) -> None:
    """Add what every schedule event plans; one that is there already stays as it is."""
    told = select(rows).where(about(rows, "schedule")).subquery("told")
    connection.execute(insert_new(schedule_version, _versions(told)))
    connection.execute(insert_new(planned_phase, _phases(told)))
    member = elements(told.c.data, "phases")
    phase = (
        select(_number(told, member.c.ordinal).label("number"), member.c.value)
        .select_from(told.join(member, true()))
        .subquery("phase")
    )
    connection.execute(insert_new(version_item, items_in(phase, phase.c.number, phase.c.value)))
    connection.execute(
        insert_new(version_discount, discounts_in(phase, phase.c.number, phase.c.value))
    )


def look_ahead(connection: Connection, rows: FromClause, subjects: AbstractSet[str]) -> None:
    """Put the versions to come of the subscriptions of a batch in place of those that were.

    Nothing is done where nothing is planned. Else one batch at a time does it: a subscription may
    be heard of in two partitions while it moves from one customer to another.
    """
    if not subjects & {"subscription", "schedule"}:
        return
    among = planned_in(rows)
    if connection.execute(select(func.count()).select_from(among.subquery())).scalar_one():
        connection.execute(select(func.pg_advisory_xact_lock(_PLANS_LOCK, 0)))
        version = subscription_version
        was = delete(version).where(version.c.id < 0, version.c.subscription_id.in_(among))
        connection.execute(was)
        connection.execute(insert_new(version, planned_versions(Scope(None, None), among)))


def planned_in(rows: FromClause) -> Select[tuple[int]]:
    """The subscriptions of which a plan is known and that a batch, or a schedule in it, is about.

    Also those that one of its schedules was for before.
    """
    said, named = schedule_version, subscription
    about_it = (named.c.source_id == said.c.source_id, named.c.external_id == said.c.subscription)
    heard = exists().where(
        rows.c.source_id == said.c.source_id,
        or_(
            and_(about(rows, "subscription"), rows.c.subject == said.c.subscription),
            and_(about(rows, "schedule"), rows.c.subject == said.c.external_id),
        ),
    )
    return select(named.c.id).join(said, and_(*about_it)).where(heard).distinct()


def _versions(told: FromClause) -> Select[Any]:
    said = fields(told.c.data, subscription=Text())
    return select(
        told.c.position.label("id"),
        told.c.source_id,
        told.c.subject.label("external_id"),
        said.c.subscription,
        told.c.id.label("event_id"),
        told.c.occurred_at,
        told.c.sequence,
        told.c.recorded_at,
        told.c.livemode,
    ).select_from(told.join(said, true()))


def _phases(told: FromClause) -> Select[Any]:
    member = elements(told.c.data, "phases")
    begun = fields(member.c.value, starts_at=_INSTANT)
    whole = fields(told.c.data, ends_at=_INSTANT)
    found = union_all(
        select(
            _number(told, member.c.ordinal).label("id"),
            told.c.position.label("schedule_id"),
            begun.c.starts_at,
            false().label("ends"),
        ).select_from(told.join(member, true()).join(begun, true())),
        select(
            _number(told, _ROOM - 1),
            told.c.position,
            whole.c.ends_at,
            true(),
        )
        .select_from(told.join(whole, true()))
        .where(whole.c.ends_at.is_not(None)),
    ).subquery("found")
    return select(*found.c)


def _number(told: FromClause, place: Any) -> Any:
    return -(told.c.position * _ROOM + func.coalesce(place, 0))
