"""Kill Bill's subscriptions as versions: whole states, each with the instant it began.

A subscription is a list of dated events; what it costs is in the catalogue. An event's state holds
until the next event. Within it the price may change with the catalogue, billing may be paused, and
an end may come to be planned: each of these is a version of its own.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    FromClause,
    Numeric,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)

from tidemill.connectors.keys import instant
from tidemill.connectors.killbill.tables import CHOICES, ENDS, IGNORED, TEST_TAG
from tidemill.connectors.schema import Schema
from tidemill.money import EXPONENTS
from tidemill.vocabulary import SubscriptionStatus

__all__ = ["minor_units", "own_accounts", "subscriptions", "terms", "versions"]

# Kill Bill ignores shorter pauses.
_DAY_S: Final = 86_400
# A key is an event's number and, below it, which version of that event's state it is.
_VERSIONS_OF_AN_EVENT: Final = 1 << 20
_USUAL_EXPONENT: Final = 2
_INSTANT: Final = DateTime(timezone=True)


def own_accounts(schema: Schema, tenant: int) -> CTE:
    """The accounts of one tenant, without those made for tests."""
    row, tag = schema.table("accounts"), schema.table("tags")
    tests = select(tag.c.object_id).where(
        tag.c.tenant_record_id == tenant,
        tag.c.object_type == "ACCOUNT",
        tag.c.tag_definition_id == TEST_TAG,
        tag.c.is_active.is_(true()),
    )
    return (
        select(row)
        .where(row.c.tenant_record_id == tenant, row.c.id.not_in(tests))
        .cte("killbill_account")
    )


def subscriptions(schema: Schema, accounts: CTE) -> CTE:
    """Subscriptions with the three ids under which they can be paused."""
    row = schema.table("subscriptions")
    return (
        select(
            row.c.record_id.label("subscription_id"),
            row.c.id.label("subscription_uuid"),
            func.coalesce(row.c.external_key, row.c.id).label("external_key"),
            row.c.bundle_id.label("bundle_uuid"),
            accounts.c.id.label("account_uuid"),
            accounts.c.record_id.label("customer_id"),
            func.upper(accounts.c.currency, type_=Text).label("currency"),
        )
        .join(
            accounts,
            and_(
                accounts.c.record_id == row.c.account_record_id,
                accounts.c.tenant_record_id == row.c.tenant_record_id,
            ),
        )
        .cte("killbill_subscription")
    )


def minor_units(major: ColumnElement[Any], currency: ColumnElement[Any]) -> ColumnElement[Any]:
    """An amount as Kill Bill has it in minor units, unrounded."""
    unusual = [
        (currency.in_([code for code, places in EXPONENTS.items() if places == each]), 10**each)
        for each in sorted(set(EXPONENTS.values()) - {_USUAL_EXPONENT})
    ]
    return cast(major * case(*unusual, else_=10**_USUAL_EXPONENT), Numeric)


def _events(schema: Schema, subscription: CTE) -> CTE:
    """Active events in Kill Bill's order, each numbered by what it brings."""
    row = schema.table("subscription_events")
    kind = case((row.c.event_type == "API_USER", row.c.user_type), else_=row.c.event_type)
    chosen = (
        select(
            subscription,
            row.c.record_id.label("event_id"),
            row.c.id.label("event_uuid"),
            kind.label("kind"),
            instant(row.c.effective_date).label("at"),
            instant(row.c.created_date).label("created_at"),
            case((kind.in_(CHOICES), row.c.plan_name)).label("plan_name"),
            row.c.phase_name,
            case((kind == "QUANTITY_UPDATE", row.c.quantity)).label("quantity"),
        )
        .join(row, row.c.subscription_id == subscription.c.subscription_uuid)
        .where(row.c.is_active.is_(true()), kind.not_in(IGNORED))
        .subquery("killbill_active_event")
    )
    order = (chosen.c.at, chosen.c.kind.not_in(("CREATE", "TRANSFER")), chosen.c.event_id)

    def so_far(function: Any) -> ColumnElement[Any]:
        return _over(function, chosen.c.subscription_id, order)

    return select(
        chosen,
        so_far(func.count(chosen.c.plan_name)).label("choice"),
        so_far(func.count(chosen.c.phase_name)).label("phase_number"),
        so_far(func.count(chosen.c.quantity)).label("quantity_number"),
        so_far(func.bool_or(chosen.c.kind.in_(ENDS), type_=Boolean)).label("is_over"),
        func.lead(chosen.c.at, type_=_INSTANT)
        .over(partition_by=chosen.c.subscription_id, order_by=order)
        .label("until_at"),
        func.min(chosen.c.at).over(partition_by=chosen.c.subscription_id).label("started_at"),
    ).cte("killbill_event")


def _states(event: CTE) -> FromClause:
    """What holds from an event on: its plan and when it was chosen, its phase, its quantity."""

    def carried(value: ColumnElement[Any], number: ColumnElement[Any]) -> ColumnElement[Any]:
        """The one value among the rows from where it was said to where the next is."""
        return func.max(value).over(partition_by=(event.c.subscription_id, number))

    chosen_at = case((event.c.plan_name.is_not(None), event.c.at))
    kept = ("subscription_id", "customer_id", "currency", "event_id", "event_uuid", "at")
    state = select(
        *(event.c[name] for name in (*kept, "until_at", "started_at", "is_over", "created_at")),
        carried(event.c.plan_name, event.c.choice).label("plan_name"),
        carried(chosen_at, event.c.choice).label("chosen_at"),
        carried(event.c.phase_name, event.c.phase_number).label("phase_name"),
        func.coalesce(carried(event.c.quantity, event.c.quantity_number), 1).label("quantity"),
    ).subquery("killbill_carried")
    return (
        select(state)
        .where(or_(state.c.until_at.is_(None), state.c.until_at > state.c.at))
        .subquery("killbill_state")
    )


def _phase_type(phase_name: ColumnElement[Any]) -> ColumnElement[str]:
    """A phase is named after its plan and its type, whatever the plan is called."""
    return func.upper(func.substring(phase_name, "[^-]+$"), type_=Text)


def _overrides(schema: Schema, tenant: int) -> tuple[FromClause, FromClause]:
    """Plans made for one customer by their number, and the prices of their phases."""
    plan = schema.table("catalog_override_plan_definition")
    of, phase = (
        schema.table("catalog_override_plan_phase"),
        schema.table("catalog_override_phase_definition"),
    )
    plans = (
        select(plan.c.record_id.label("number"), plan.c.parent_plan_name)
        .where(plan.c.tenant_record_id == tenant)
        .subquery("killbill_override")
    )
    prices = (
        select(
            of.c.target_plan_def_record_id.label("number"),
            _phase_type(phase.c.parent_phase_name).label("phase_type"),
            func.upper(phase.c.currency, type_=Text).label("currency"),
            func.max(phase.c.recurring_price).label("price"),
        )
        .join(phase, phase.c.record_id == of.c.phase_def_record_id)
        .where(of.c.tenant_record_id == tenant)
        .group_by("number", "phase_type", func.upper(phase.c.currency, type_=Text))
        .subquery("killbill_override_price")
    )
    return plans, prices


def terms(schema: Schema, tenant: int, subscription: CTE, catalog: FromClause) -> CTE:
    """What a subscription is and costs from from_at until to_at (null: open).

    Shape: the keys, event_id, event_uuid, from_at, to_at, is_over, plan (of the catalogue),
           product, phase_type, quantity, unit_amount (minor units, of a period),
           interval, interval_count, is_priced: the catalogue tells what it costs.
    """
    state = _states(_events(schema, subscription))
    plans, prices = _overrides(schema, tenant)
    # <parent>-<number> or <parent>:<number>, a suffix after an exclamation mark may follow.
    number = cast(func.substring(state.c.plan_name, "[-:]([0-9]{1,18})(?:![0-9]+)?$"), BigInteger)
    parent = func.regexp_replace(state.c.plan_name, "[-:][0-9]+(![0-9]+)?$", "")
    plan = func.coalesce(plans.c.parent_plan_name, state.c.plan_name)
    phase_type = _phase_type(state.c.phase_name)
    since, until = catalog.c.valid_from, catalog.c.valid_until
    is_priced = and_(
        ~state.c.is_over,
        catalog.c.plan == plan,
        catalog.c.phase_type == phase_type,
        func.coalesce(catalog.c.currency, state.c.currency) == state.c.currency,
        _within(state.c.chosen_at, catalog.c.chosen_from, catalog.c.chosen_until),
        or_(since.is_(None), state.c.until_at.is_(None), since < state.c.until_at),
        or_(until.is_(None), until > state.c.at),
    )
    own = and_(
        prices.c.number == plans.c.number,
        prices.c.phase_type == phase_type,
        prices.c.currency == state.c.currency,
    )
    price = func.coalesce(prices.c.price, catalog.c.price, 0)
    kept = ("subscription_id", "customer_id", "currency", "event_id", "event_uuid", "started_at")
    return (
        select(
            *(state.c[name] for name in (*kept, "created_at", "is_over", "until_at", "quantity")),
            func.greatest(state.c.at, since, type_=_INSTANT).label("from_at"),
            func.least(state.c.until_at, until, type_=_INSTANT).label("to_at"),
            plan.label("plan"),
            catalog.c.product,
            phase_type.label("phase_type"),
            minor_units(price, state.c.currency).label("unit_amount"),
            func.coalesce(catalog.c.interval, "month").label("interval"),
            func.coalesce(catalog.c.interval_count, 1).label("interval_count"),
            or_(state.c.is_over, catalog.c.plan.is_not(None)).label("is_priced"),
        )
        .select_from(
            state.outerjoin(
                plans, and_(plans.c.number == number, plans.c.parent_plan_name == parent)
            )
            .outerjoin(prices, own)
            .outerjoin(catalog, is_priced)
        )
        .where(state.c.currency.is_not(None))
        .cte("killbill_terms")
    )


def _within(
    at: ColumnElement[Any], since: ColumnElement[Any], until: ColumnElement[Any]
) -> ColumnElement[bool]:
    """Whether it lies between bounds, of which null is none."""
    return and_(or_(since.is_(None), since <= at), or_(until.is_(None), until > at))


def _pauses(schema: Schema, tenant: int, subscription: CTE) -> CTE:
    """When billing was off, under any of a subscription's ids and services.

    Shape: subscription_id, starts_at, ends_at (null: still), and the rows that say so.
    """
    row = schema.table("blocking_states")
    key, order = (row.c.blockable_id, row.c.service), (row.c.effective_date, row.c.record_id)
    before = func.lag(row.c.block_billing, type_=Boolean).over(partition_by=key, order_by=order)
    told = (
        select(row, func.coalesce(before, false()).label("was_off"))
        .where(row.c.tenant_record_id == tenant, row.c.is_active.is_(true()))
        .subquery("killbill_blocking")
    )
    of = (told.c.blockable_id, told.c.service)
    by = (told.c.effective_date, told.c.record_id)
    switch = (
        select(
            told.c.blockable_id,
            told.c.block_billing.label("is_off"),
            instant(told.c.effective_date).label("at"),
            told.c.id.label("row_uuid"),
            instant(func.lead(told.c.effective_date).over(partition_by=of, order_by=by)).label(
                "ends_at"
            ),
            func.lead(told.c.id, type_=Text).over(partition_by=of, order_by=by).label("end_uuid"),
        )
        .where(told.c.block_billing != told.c.was_off)
        .subquery("killbill_switch")
    )
    off = (
        select(switch)
        .where(
            switch.c.is_off,
            or_(
                switch.c.ends_at.is_(None),
                switch.c.ends_at >= switch.c.at + func.make_interval(0, 0, 0, 0, 0, 0, _DAY_S),
            ),
        )
        .cte("killbill_off")
    )
    names = ("subscription_uuid", "bundle_uuid", "account_uuid")
    each = union_all(
        *(
            select(
                subscription.c.subscription_id, off.c.at, off.c.ends_at, off.c.row_uuid,
                off.c.end_uuid,
            ).join(off, off.c.blockable_id == subscription.c[name])
            for name in names
        )
    ).cte("killbill_off_of")  # fmt: skip
    return _merged(each)


def _merged(each: CTE) -> CTE:
    """Pauses under several ids that overlap or touch are one."""
    edge = union_all(
        select(each.c.subscription_id, each.c.at, each.c.row_uuid, literal(1).label("step")),
        select(each.c.subscription_id, each.c.ends_at, each.c.end_uuid, literal(-1)).where(
            each.c.ends_at.is_not(None)
        ),
    ).subquery("killbill_edge")
    order = (edge.c.at, edge.c.step.desc(), edge.c.row_uuid)
    depth = _over(func.sum(edge.c.step), edge.c.subscription_id, order)
    run = select(edge, depth.label("depth")).subquery("killbill_depth")
    turn = (
        select(run)
        .where(or_(run.c.depth == 0, and_(run.c.depth == 1, run.c.step == 1)))
        .subquery("killbill_turn")
    )
    of, by = turn.c.subscription_id, (turn.c.at, turn.c.step.desc())
    pause = select(
        turn.c.subscription_id,
        turn.c.depth,
        turn.c.at.label("starts_at"),
        turn.c.row_uuid.label("start_uuid"),
        func.lead(turn.c.at, type_=_INSTANT).over(partition_by=of, order_by=by).label("ends_at"),
        func.lead(turn.c.row_uuid, type_=Text).over(partition_by=of, order_by=by).label("end_uuid"),
    ).subquery("killbill_turns")
    return select(pause).where(pause.c.depth > 0).cte("killbill_pause")


def _over(function: Any, of: ColumnElement[Any], order: tuple[Any, ...]) -> ColumnElement[Any]:
    """Up to and with each row, also among those of one instant."""
    told: ColumnElement[Any] = function.over(partition_by=of, order_by=order, rows=(None, 0))
    return told


def versions(schema: Schema, tenant: int, subscription: CTE, term: CTE) -> CTE:
    """The whole state of a subscription from an instant on.

    Shape: version_id, row_uuid and row_table (the row behind it), the columns of `terms`,
           occurred_at, status, paused_at, cancel_at.
    """
    pause = _pauses(schema, tenant, subscription)
    asked = _asked_ends(schema, subscription)
    point = _points(term, pause, asked)
    status = case(
        (term.c.is_over, SubscriptionStatus.CANCELED.value),
        (pause.c.starts_at.is_not(None), SubscriptionStatus.PAUSED.value),
        (term.c.phase_type == "TRIAL", SubscriptionStatus.TRIALING.value),
        else_=SubscriptionStatus.ACTIVE.value,
    )
    place = func.row_number().over(
        partition_by=term.c.event_id, order_by=(point.c.at, point.c.row_uuid)
    )
    in_pause = and_(
        pause.c.subscription_id == term.c.subscription_id,
        _within(point.c.at, pause.c.starts_at, pause.c.ends_at),
    )
    in_notice = and_(
        asked.c.subscription_id == term.c.subscription_id,
        ~term.c.is_over,
        asked.c.asked_at <= point.c.at,
        asked.c.ends_at > point.c.at,
    )
    return (
        select(
            (term.c.event_id * _VERSIONS_OF_AN_EVENT + place).label("version_id"),
            point.c.row_uuid,
            point.c.row_table,
            term,
            point.c.at.label("occurred_at"),
            cast(status, Text).label("status"),
            case((~term.c.is_over, pause.c.starts_at)).label("paused_at"),
            asked.c.ends_at.label("cancel_at"),
        )
        .select_from(
            point.join(
                term,
                and_(
                    term.c.event_id == point.c.event_id,
                    term.c.from_at == point.c.from_at,
                ),
            )
            .outerjoin(pause, in_pause)
            .outerjoin(asked, in_notice)
        )
        .cte("killbill_version")
    )


def _asked_ends(schema: Schema, subscription: CTE) -> CTE:
    """The first end of each subscription, and since when it was known."""
    row = schema.table("subscription_events")
    return (
        select(
            subscription.c.subscription_id,
            instant(func.min(row.c.effective_date)).label("ends_at"),
            instant(func.min(row.c.created_date)).label("asked_at"),
            func.min(row.c.id).label("row_uuid"),
        )
        .join(row, row.c.subscription_id == subscription.c.subscription_uuid)
        .where(
            row.c.is_active.is_(true()),
            row.c.event_type == "API_USER",
            row.c.user_type == "CANCEL",
        )
        .group_by(subscription.c.subscription_id)
        .cte("killbill_asked_end")
    )


def _points(term: CTE, pause: CTE, asked: CTE) -> FromClause:
    """Where a version begins: with its terms, and within them with what happens to them."""

    def within(other: CTE, at: ColumnElement[Any], row: ColumnElement[Any], of: str) -> Any:
        return (
            select(term.c.event_id, term.c.from_at, at, row, literal(of, Text))
            .join(other, other.c.subscription_id == term.c.subscription_id)
            .where(
                ~term.c.is_over,
                at > term.c.from_at,
                or_(term.c.to_at.is_(None), at < term.c.to_at),
            )
        )

    return union_all(
        select(
            term.c.event_id,
            term.c.from_at,
            term.c.from_at.label("at"),
            term.c.event_uuid.label("row_uuid"),
            literal("subscription_events", Text).label("row_table"),
        ),
        within(pause, pause.c.starts_at, pause.c.start_uuid, "blocking_states"),
        within(pause, pause.c.ends_at, pause.c.end_uuid, "blocking_states"),
        within(asked, asked.c.asked_at, asked.c.row_uuid, "subscription_events"),
    ).subquery("killbill_point")
