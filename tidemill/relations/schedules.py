"""What is planned, as versions to come: the last state known, with the items of each phase ahead.

A plan says what a subscription will cost, and nothing else about it. So a phase becomes a version
of its own only while it lies ahead of everything that was told of the subscription: then it is that
latest state from the day the phase begins, with the phase's items and discounts (they stand in
`version_item` and `version_discount` under the phase's number). Once the billing system tells of
the subscription again, on that day or later, what it tells is what counts.

The versions to come as of now stand among the others (`state.schedules`). Those of an earlier
knowledge date are made when they are asked for.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    DateTime,
    FromClause,
    Select,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    null,
    select,
    true,
    tuple_,
)

from tidemill import models
from tidemill.relations.scope import Scope
from tidemill.relations.shapes import COLUMNS

__all__ = ["planned_events", "planned_versions"]

_ENDED: Final = "canceled"
_ORDER: Final = ("occurred_at", "sequence", "recorded_at", "event_id")


def planned_versions(scope: Scope, among: Select[tuple[int]] | None = None) -> Select[Any]:
    """The versions to come of the subscriptions in scope: all columns of `subscription_version`.

    among: restricts them to these subscriptions (keys).
    """
    phase, plan = models.planned_phase, _latest_plans(scope, among)
    state = _latest_state(scope, plan.c.subscription_id)
    # What the phase says; all else stays as it was.
    said: dict[str, Any] = {
        "id": phase.c.id,
        "event_id": plan.c.event_id,
        "occurred_at": phase.c.starts_at,
        "sequence": literal(0),
        # Known long before, it counts from its day on also where the clock waits for the news.
        "recorded_at": func.greatest(plan.c.recorded_at, phase.c.starts_at),
        "status": case((phase.c.ends, _ENDED), else_=state.c.status),
        "cancel_at_period_end": false(),
        "cancel_at": cast(null(), DateTime(timezone=True)),
        "confidence": literal("inferred"),
    }
    columns = models.subscription_version.columns
    return (
        select(*(said.get(each.name, state.c[each.name]).label(each.name) for each in columns))
        .select_from(plan)
        .join(phase, phase.c.schedule_id == plan.c.id)
        .join(state, true())
        .where(phase.c.starts_at > state.c.occurred_at, state.c.status != _ENDED)
    )


def _latest_plans(scope: Scope, among: Select[tuple[int]] | None) -> FromClause:
    """The last word of each schedule: the subscription it is for now, and its event.

    By schedule, not by subscription: one that is released and the next one may share a second.
    """
    said, named, version = models.schedule_version, models.subscription, models.subscription_version
    later = said.alias("later_word")
    overtaken = exists().where(
        later.c.source_id == said.c.source_id,
        later.c.external_id == said.c.external_id,
        scope.known(later),
        tuple_(*(later.c[name] for name in _ORDER)) > tuple_(*(said.c[name] for name in _ORDER)),
    )
    counts = [scope.known(said), ~overtaken]
    if among is not None:
        counts.append(named.c.id.in_(among))
    if scope.customers is not None:
        held = exists().where(
            version.c.subscription_id == named.c.id, version.c.customer_id.in_(scope.customers)
        )
        counts.append(held)
    about = (named.c.source_id == said.c.source_id, named.c.external_id == said.c.subscription)
    return (
        select(named.c.id.label("subscription_id"), said.c.id, said.c.event_id, said.c.recorded_at)
        .join(named, and_(*about))
        .where(*counts)
        .subquery("latest_plan")
    )


def _latest_state(scope: Scope, subscription: ColumnElement[int]) -> FromClause:
    """The last version that was told of a subscription."""
    version = models.subscription_version
    over = case((version.c.status == _ENDED, 1), else_=0)
    return (
        select(version)
        .where(version.c.subscription_id == subscription, version.c.id > 0, scope.history(version))
        .order_by(
            version.c.occurred_at.desc(),
            version.c.sequence.desc(),
            over.desc(),
            version.c.recorded_at.desc(),
            version.c.event_id.desc(),
        )
        .limit(1)
        .lateral("latest_state")
    )


def planned_events() -> Select[Any]:
    """The events behind phases, under the phases' numbers: columns of the relation `events`."""
    log, phase = models.event_log, models.planned_phase
    columns = (log.c[name] for name in COLUMNS["events"][1:])
    return select(phase.c.id.label("position"), *columns).join(
        log, log.c.position == phase.c.schedule_id
    )
