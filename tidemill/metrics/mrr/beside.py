"""What stands beside MRR, whatever a policy makes of it: MRR at risk, and the MRR of trials."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Final

from sqlalchemy import (
    CTE,
    BigInteger,
    Date,
    FromClause,
    and_,
    any_,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tidemill.ledger import derive, standing, stands_by_itself, whole_companies
from tidemill.metrics.base import Behind, RateNeed, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.movement_cube import MRR_MOVEMENTS
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day, whole_sum
from tidemill.metrics.windows import Part, Windows, window_table
from tidemill.models.base import Instant
from tidemill.periods import instants
from tidemill.policy import Policy
from tidemill.vocabulary import SubscriptionStatus

__all__ = ["at_risk", "risk", "trial_mrr"]

_ORDER: Final = ("occurred_at", "sequence", "recorded_at", "event_id")


def at_risk(q: Query, at: date) -> Table:
    """The MRR of subscriptions that are past due at the close of a day, as if past due counted."""
    return _table(q, at, _risky(q.policy), SubscriptionStatus.PAST_DUE, "at_risk")


def risk(q: Query, windows: Windows) -> Part:
    """As `at_risk`, at the close of every window: group columns, place, at_risk.

    Under a policy in which what is past due counts: the question's own movements tell it.
    """
    assert q.policy == _risky(q.policy), "what is past due is not among the movements"
    found = _in_status(q, windows, SubscriptionStatus.PAST_DUE)
    return _worth(_of_concerned(q, found), windows, found, "at_risk")


def trial_mrr(q: Query, at: date) -> Table:
    """What subscriptions on trial at the close of a day would be worth, as if trials counted.

    Nobody on trial has paid an invoice, so it does not take one.
    """
    counted = replace(q.policy, trials_in_mrr="include", activation="status_active")
    return _table(q, at, counted, SubscriptionStatus.TRIALING, "trial_mrr")


def _risky(policy: Policy) -> Policy:
    return replace(policy, past_due="active")


def _table(q: Query, at: date, counted: Policy, status: SubscriptionStatus, name: str) -> Table:
    """The MRR of subscriptions in a status at the close of a day, by a policy that counts it."""
    windows = Windows(Calendar.of(at, at, None, q.policy.tz), rolling=False)
    found = _in_status(q, windows, status)
    beside = _counting(q, found, counted, at)
    part = _worth(beside, windows, found, name)
    amount = part.of(name).label(name)
    return window_table(beside, windows, [amount], [part], behind=Behind(None, at))


def _counting(q: Query, found: CTE, policy: Policy, at: date) -> Query:
    """The question of the movements of the companies concerned, under another policy.

    They are kept where it is the same; else they are derived, from these histories alone, or what
    stands at the close of the day is, where that says as much.
    """
    if policy == q.policy and MRR_MOVEMENTS.table.name in q.kept:
        return _of_concerned(q, found)
    concerned = whole_companies(found, q.relations.identities)
    version = q.relations.subscription_versions
    histories = select(version).where(version.c.customer_id.in_(concerned)).subquery("concerned")
    theirs = replace(q.relations, subscription_versions=histories)
    if stands_by_itself(policy) and not q.cuts_by_history:
        return q.elsewhere(standing(theirs, policy, at).cte("beside_item"), policy)
    return q.elsewhere(derive(theirs, policy).cte("beside_movement"), policy)


def _of_concerned(q: Query, found: CTE) -> Query:
    """The question of its own movements, of the companies concerned."""
    concerned = whole_companies(found, q.relations.identities).subquery("concerned")
    # As an array they are looked up; as a set that nobody can count, all rows would be read.
    listed = cast(func.array(select(concerned).scalar_subquery()), ARRAY(BigInteger))
    theirs = select(q.rows).where(q.rows.c.customer_id == any_(listed))
    return q.elsewhere(theirs.cte("beside_movement"), q.policy)


def _worth(q: Query, windows: Windows, found: CTE, name: str) -> Part:
    """What the subscriptions that are found are worth at the close of each window.

    q: of their movements.
    """
    rows = q.rows.c
    row = q.select(
        windows.end,
        lambda _: [
            rows.subscription_id.label("subscription_id"),
            rows.day.label("day"),
            q.worth.currency.label("native_currency"),
            q.worth.amount.label("moved"),
        ],
    ).subquery("beside_row")
    keys = [*q.group_columns(row), found.c.place, found.c.last, row.c.native_currency]
    total = func.sum(row.c.moved)
    theirs = and_(row.c.subscription_id == found.c.subscription_id, row.c.day <= found.c.last)
    level = (
        select(*keys, total.label("level"))
        .join_from(row, found, theirs)
        .group_by(*keys)
        .having(total != 0)
        .cte("beside_level")
    )
    rate = rates_by_day(q.rates, level, ("native_currency", "last"), "beside_rate")
    on_day = and_(rate.c.currency == level.c.native_currency, rate.c.day == level.c.last)
    line = [*q.group_columns(level), level.c.place]
    worth = (
        select(*line, whole_sum(level.c.level, rate.c.factor).label(name))
        .outerjoin_from(level, rate, on_day)
        .group_by(*line)
        .cte("beside")
    )
    lacking = select(level.c.native_currency, level.c.last).outerjoin_from(level, rate, on_day)
    need = RateNeed(lacking.where(rate.c.factor.is_(None)).distinct())
    return Part(worth, (*q.carried_needs(windows.end), need))


def _in_status(q: Query, windows: Windows, status: SubscriptionStatus) -> CTE:
    """The subscriptions whose last state before a window's close says so.

    Shape: place, last (the window's last day), subscription_id, customer_id.
    """
    version = q.relations.subscription_versions.alias("state")
    later = q.relations.subscription_versions.alias("later_state")
    ends = [period.end for period in windows.calendar.periods]
    closes = [instants(end, end, q.policy.tz).end_exclusive for end in ends]
    follows = tuple_(*(later.c[name] for name in _ORDER)) > tuple_(
        *(version.c[name] for name in _ORDER)
    )
    # Few states say so, and what follows one is looked up: not every history is sorted.
    until = (
        select(later.c.occurred_at)
        .where(later.c.subscription_id == version.c.subscription_id, follows)
        .order_by(later.c.occurred_at)
        .limit(1)
        .correlate(version)
        .scalar_subquery()
    )
    state = (
        select(
            version.c.subscription_id,
            version.c.customer_id,
            version.c.occurred_at.label("since"),
            until.label("until"),
        )
        .where(version.c.status == status.value, version.c.occurred_at < closes[-1])
        .cte("state_beside")
        # Looked up once, and not for every window.
        .prefix_with("MATERIALIZED")
    )
    close = _closes(ends, closes)
    stands = or_(state.c.until.is_(None), state.c.until >= close.c.over)
    columns = (close.c.place, close.c.last, state.c.subscription_id, state.c.customer_id)
    stood = select(*columns).join_from(close, state, and_(state.c.since < close.c.over, stands))
    return stood.cte("in_status")


def _closes(ends: list[date], closes: list[datetime]) -> FromClause:
    """One row a window: place (from 1), last (its last day), over (the instant it closes at)."""
    days, times = ARRAY(Date), ARRAY(Instant)
    listed = func.unnest(cast(literal(ends, days), days), cast(literal(closes, times), times))
    columns = (column("last", Date), column("over", Instant))
    return listed.table_valued(*columns, with_ordinality="place", name="close").render_derived()
