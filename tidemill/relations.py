"""The named row shapes that every metric derives from, and their core-table implementation.

A *relation* is a ``FromClause`` with fixed columns (listed in `COLUMNS`). The core tables provide
them here; a database connector provides the same shapes over a billing engine's own tables. The
ledger and the metrics know nothing else about where data comes from, which is what makes both ways
in one engine.

Rules that hold for every provider:

- instants are ``timestamptz``; money is exact ``numeric`` in minor units of the row's currency;
  currencies are upper-case ISO 4217;
- test-mode rows are absent;
- a ``*_id`` is a ``bigint`` key, unique inside its relation; vendor ids are text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    DateTime,
    FromClause,
    Select,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill import models
from tidemill.attribute_rows import attribute_rows, no_attributes

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Table

__all__ = ["COLUMNS", "Relations", "core_relations"]

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    # `signed_up_at` is when the billing system says the customer was made; if it does not say, when
    # the customer was first heard of.
    "customers": (
        "customer_id",
        "source_id",
        "external_id",
        "name",
        "email",
        "country",
        "signed_up_at",
    ),
    # One value a customer and attribute, as each kind it can be read as.
    "customer_attributes": ("customer_id", "attribute", "text", "number", "flag", "moment"),
    # Which customer's books a customer belongs to; a customer that was never merged has no row.
    "identities": ("customer_id", "canonical_id"),
    "sources": ("source_id", "name"),
    "plans": ("source_id", "plan", "name", "product"),
    "products": ("source_id", "product", "name"),
    "subscriptions": ("subscription_id", "external_id"),
    # What is behind versions and invoices: an event of the log, or a row of a billing system, which
    # `type` and `id` name. `version_id` and `event_position` are positions.
    "events": ("position", "id", "source_id", "type", "occurred_at", "recorded_at"),
    # One row per event: the whole state of a subscription from `occurred_at` on.
    "subscription_versions": (
        "version_id",
        "source_id",
        "subscription_id",
        "customer_id",
        "event_id",
        "occurred_at",
        "sequence",
        "recorded_at",
        "status",
        "currency",
        "started_at",
        "trial_end",
        "past_due_since",
        "paused_at",
        "current_period_start",
        "current_period_end",
        "cancel_at_period_end",
        "cancel_at",
        "refunded_at_cancellation",
        "cancel_reason",
        "cancel_feedback",
        "voluntary",
        "confidence",
    ),
    "version_items": (
        "version_id",
        "ordinal",
        "item",
        "plan",
        "product",
        "quantity",
        "unit_amount",
        "tax_inclusive_amount",
        "interval",
        "interval_count",
        "usage_type",
    ),
    "discounts": (
        "version_id",
        "ordinal",
        "item",
        "percent_off",
        "amount_off",
        "duration",
        "starts_at",
        "ends_at",
    ),
    # The state of each invoice as last known, with what its payments say of it.
    "invoices": (
        "invoice_id",
        "source_id",
        "invoice",
        "customer_id",
        # Null for one that is of no subscription.
        "subscription_id",
        "status",
        "currency",
        "total",
        "amount_paid",
        "issued_at",
        "paid_at",
        "period_start",
        "period_end",
        "first_payment_at",
        "refunded",
    ),
    "usage_lines": (
        "invoice_id",
        "source_id",
        "invoice",
        "customer_id",
        "subscription_id",
        "item",
        "plan",
        "currency",
        "amount",
        "issued_at",
        "period_start",
        "period_end",
    ),
    "payments": (
        "payment_id",
        "source_id",
        "payment",
        "invoice",
        "customer_id",
        "kind",
        "amount",
        "fee",
        "currency",
        "method",
        "failure_reason",
        "paid_at",
    ),
    # Costs as last known. No customer: what was spent to win and to serve all of them.
    "expenses": (
        "expense_id",
        "source_id",
        "expense",
        "day",
        "amount",
        "currency",
        "category",
        "channel",
        "vendor",
    ),
    # One major unit of `quote` is worth `rate` major units of `base` until the next row.
    "fx_rates": ("base", "quote", "day", "rate"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relations:
    """Everything a derivation may read. Columns of each field: `COLUMNS`."""

    customers: FromClause
    identities: FromClause
    sources: FromClause
    plans: FromClause
    products: FromClause
    subscriptions: FromClause
    events: FromClause
    subscription_versions: FromClause
    version_items: FromClause
    discounts: FromClause
    invoices: FromClause
    usage_lines: FromClause
    payments: FromClause
    expenses: FromClause
    fx_rates: FromClause
    base_currency: str
    customer_attributes: FromClause = field(default_factory=no_attributes)


@dataclass(frozen=True, slots=True)
class _Scope:
    """What part of the history to read: up to a knowledge date, and of which customers."""

    known_at: datetime | None
    customers: Select[tuple[int]] | None

    def history(self, table: Table) -> ColumnElement[bool]:
        """The rows of an append-only table that are in scope."""
        conditions: list[ColumnElement[bool]] = [table.c.livemode]
        if self.known_at is not None:
            conditions.append(table.c.recorded_at <= self.known_at)
        if self.customers is not None:
            conditions.append(table.c.customer_id.in_(self.customers))
        return and_(*conditions)


def core_relations(
    *,
    base_currency: str,
    known_at: datetime | None = None,
    customers: Select[tuple[int]] | None = None,
) -> Relations:
    """The relations as the core tables provide them.

    known_at:  only what had been recorded up to this instant (UTC); all when None.
    customers: restricts the history to these customer keys (one bigint column). To derive a merged
               company whole, name all its customers: `ledger.facts.whole_companies` does.
    """
    scope = _Scope(known_at, customers)
    return Relations(
        customers=_customers(known_at),
        identities=_identities(known_at),
        sources=select(models.source.c.id.label("source_id"), models.source.c.name).subquery(),
        plans=_catalogue(models.plan, "plan", ("name", "product"), known_at),
        products=_catalogue(models.product, "product", ("name",), known_at),
        subscriptions=_subscriptions(),
        events=_events(),
        subscription_versions=_subscription_versions(scope),
        version_items=_of_versions(models.version_item, COLUMNS["version_items"], scope),
        discounts=_of_versions(models.version_discount, COLUMNS["discounts"], scope),
        invoices=_invoices(scope),
        usage_lines=_usage_lines(scope),
        payments=_payments(scope),
        expenses=_expenses(known_at),
        fx_rates=_fx_rates(known_at),
        base_currency=base_currency,
        customer_attributes=attribute_rows(known_at),
    )


def _customers(known_at: datetime | None) -> FromClause:
    table = models.customer
    keys = [table.c.id.label("customer_id"), table.c.source_id, table.c.external_id]
    words = ("name", "email", "country")
    # The row's key is the position of the event that first named the customer.
    log, mention = models.event_log, models.event_log.alias("first_mention")
    heard = mention.c.occurred_at
    if known_at is None:
        signed_up = func.coalesce(table.c.created_at, heard).label("signed_up_at")
        named = table.outerjoin(mention, mention.c.position == table.c.id)
        return (
            select(*keys, *(table.c[word] for word in words), signed_up)
            .select_from(named)
            .subquery()
        )
    known = log.c.type.in_(("customer.created", "customer.updated"))
    said = _said(known_at, known, log.c.customer, (*words, "created_at"))
    created = cast(said.c.created_at, DateTime(timezone=True))
    return (
        select(
            *keys,
            said.c.name,
            said.c.email,
            func.upper(said.c.country).label("country"),
            func.coalesce(created, heard).label("signed_up_at"),
        )
        .select_from(table)
        .outerjoin(mention, mention.c.position == table.c.id)
        .outerjoin(
            said,
            and_(said.c.source_id == table.c.source_id, said.c.external_id == table.c.external_id),
        )
        .subquery()
    )


def _said(
    known_at: datetime,
    about: ColumnElement[bool],
    subject: ColumnElement[str],
    words: tuple[str, ...],
    *terminal: ColumnElement[bool],
) -> FromClause:
    """What the last event known by then said of each subject: source_id, external_id, `words`.

    Current rows keep no history of their own, so what they were is read from the log.
    """
    log = models.event_log
    return (
        select(
            log.c.source_id,
            subject.label("external_id"),
            *(log.c.data[word].astext.label(word) for word in words),
        )
        .ext(distinct_on(log.c.source_id, subject))
        .where(about, log.c.recorded_at <= known_at)
        .order_by(
            log.c.source_id,
            subject,
            log.c.occurred_at.desc(),
            log.c.sequence.desc(),
            *(each.desc() for each in terminal),
            log.c.recorded_at.desc(),
            log.c.id.desc(),
        )
        .subquery("said")
    )


def _was_known(customer: Table, known_at: datetime | None) -> ColumnElement[bool]:
    """Had the customer been mentioned by then? Mostly its first mention, its key, says so."""
    if known_at is None:
        return true()
    first, mention = models.event_log.alias("first_mention"), models.event_log.alias("mention")
    return or_(
        exists().where(first.c.position == customer.c.id, first.c.recorded_at <= known_at),
        exists().where(
            mention.c.source_id == customer.c.source_id,
            mention.c.customer == customer.c.external_id,
            mention.c.recorded_at <= known_at,
        ),
    )


def _identities(known_at: datetime | None) -> FromClause:
    """Every merged customer with the customer at the end of its chain of merges.

    The latest merge of a customer counts; one into nobody takes the earlier ones back. A chain that
    runs into a circle (a into b, b into a) has no end; it then leads to the smallest key in the
    circle, so that the answer is still one company. A merge into a customer that was never heard of
    has no effect until it is.
    """
    table, source, into = models.customer_merge, models.source, models.customer
    said = (
        select(table.c.customer_id, table.c.into_source, table.c.into_customer)
        .ext(distinct_on(table.c.customer_id))
        .where(table.c.livemode, *([] if known_at is None else [table.c.recorded_at <= known_at]))
        .order_by(
            table.c.customer_id,
            table.c.occurred_at.desc(),
            table.c.sequence.desc(),
            table.c.recorded_at.desc(),
            table.c.event_id.desc(),
        )
        .subquery("said")
    )
    latest = (
        select(said.c.customer_id, into.c.id.label("into_id"))
        .join(source, source.c.name == said.c.into_source)
        .join(
            into,
            and_(into.c.source_id == source.c.id, into.c.external_id == said.c.into_customer),
        )
        .where(_was_known(into, known_at))
        .cte("latest_merge")
    )
    # UNION, not UNION ALL: a circle finds no new pair on its second round and ends the recursion.
    start = select(latest.c.customer_id, latest.c.into_id.label("reached_id"))
    chain = start.cte("merge_chain", recursive=True)
    step = select(chain.c.customer_id, latest.c.into_id).join(
        latest, latest.c.customer_id == chain.c.reached_id
    )
    chain = chain.union(step)
    onward = select(latest.c.customer_id).subquery()
    # Without an end every customer reached has a merge of its own. The circle that the chain runs
    # into are those that reach themselves; customers on the way there are none of it.
    ring = select(chain.c.customer_id).where(chain.c.customer_id == chain.c.reached_id).subquery()
    ends = chain.outerjoin(onward, onward.c.customer_id == chain.c.reached_id).outerjoin(
        ring, ring.c.customer_id == chain.c.reached_id
    )
    end = func.min(chain.c.reached_id).filter(onward.c.customer_id.is_(None))
    circle = func.min(chain.c.reached_id).filter(ring.c.customer_id.is_not(None))
    return (
        select(chain.c.customer_id, func.coalesce(end, circle).label("canonical_id"))
        .select_from(ends)
        .group_by(chain.c.customer_id)
        .subquery("identities")
    )


def _catalogue(
    table: Table, subject: str, words: tuple[str, ...], known_at: datetime | None
) -> FromClause:
    """What is sold, by the name `subject`."""
    if known_at is None:
        now = [table.c[word] for word in words]
        return select(table.c.source_id, table.c.external_id.label(subject), *now).subquery()
    log = models.event_log
    off_sale = or_(log.c.type == f"{subject}.deleted", log.c.data["active"].astext == "false")
    said = _said(
        known_at,
        log.c.type.like(f"{subject}.%"),
        log.c.subject,
        words,
        func.coalesce(off_sale, false()),
    )
    then = [said.c[word] for word in words]
    return select(said.c.source_id, said.c.external_id.label(subject), *then).subquery()


def _fx_rates(known_at: datetime | None) -> FromClause:
    """For each day the rate of its latest event, whichever source it is from."""
    table = models.fx_rate
    return (
        select(*(table.c[name] for name in COLUMNS["fx_rates"]))
        .ext(distinct_on(table.c.base, table.c.quote, table.c.day))
        .where(*([] if known_at is None else [table.c.recorded_at <= known_at]))
        .order_by(
            table.c.base,
            table.c.quote,
            table.c.day,
            table.c.occurred_at.desc(),
            table.c.sequence.desc(),
            table.c.recorded_at.desc(),
            table.c.event_id.desc(),
        )
        .subquery()
    )


def _subscriptions() -> FromClause:
    table = models.subscription
    return select(table.c.id.label("subscription_id"), table.c.external_id).subquery()


def _events() -> FromClause:
    return select(*(models.event_log.c[name] for name in COLUMNS["events"])).subquery()


def _subscription_versions(scope: _Scope) -> FromClause:
    table = models.subscription_version
    state = (table.c[name] for name in COLUMNS["subscription_versions"][1:])
    return select(table.c.id.label("version_id"), *state).where(scope.history(table)).subquery()


def _of_versions(table: Table, columns: tuple[str, ...], scope: _Scope) -> FromClause:
    """Items or discounts of the versions in scope; unscoped, the join with versions does it."""
    query = select(*(table.c[name] for name in columns))
    if scope.customers is not None:
        version = models.subscription_version
        query = query.join(version, version.c.id == table.c.version_id).where(
            version.c.customer_id.in_(scope.customers)
        )
    return query.subquery()


def _latest_invoices(scope: _Scope) -> FromClause:
    """The last version of every invoice: paid, void and uncollectible beat an equal instant.

    With subscription_id, null while its subscription is unheard of. It is looked up here, in the
    tables themselves: of the outcome the planner knows nothing, would expect next to no row of a
    join by two columns, and compare every subscription with every invoice.
    """
    table, owner = models.invoice_version, models.subscription
    is_owner = and_(
        owner.c.source_id == table.c.source_id, owner.c.external_id == table.c.subscription
    )
    terminal = case((table.c.status.in_(("paid", "void", "uncollectible")), 1), else_=0)
    return (
        select(table, owner.c.id.label("subscription_id"))
        .select_from(table.outerjoin(owner, is_owner))
        .ext(distinct_on(table.c.source_id, table.c.external_id))
        .where(scope.history(table))
        .order_by(
            table.c.source_id,
            table.c.external_id,
            table.c.occurred_at.desc(),
            table.c.sequence.desc(),
            terminal.desc(),
            table.c.recorded_at.desc(),
            table.c.event_id.desc(),
        )
        .subquery("latest_invoice")
    )


def _invoices(scope: _Scope) -> FromClause:
    latest, payment = _latest_invoices(scope), _payments(scope)
    money = (
        select(
            payment.c.source_id,
            payment.c.invoice,
            func.min(payment.c.paid_at)
            .filter(payment.c.kind == "succeeded", payment.c.amount > 0)
            .label("first_payment_at"),
            func.sum(payment.c.amount).filter(payment.c.kind == "refunded").label("refunded"),
        )
        .group_by(payment.c.source_id, payment.c.invoice)
        .subquery("invoice_money")
    )
    return (
        select(
            latest.c.id.label("invoice_id"),
            latest.c.source_id,
            latest.c.external_id.label("invoice"),
            latest.c.customer_id,
            latest.c.subscription_id,
            latest.c.status,
            latest.c.currency,
            latest.c.total,
            latest.c.amount_paid,
            latest.c.issued_at,
            latest.c.paid_at,
            latest.c.period_start,
            latest.c.period_end,
            money.c.first_payment_at,
            func.coalesce(money.c.refunded, 0).label("refunded"),
        )
        .select_from(latest)
        .outerjoin(
            money,
            and_(money.c.source_id == latest.c.source_id, money.c.invoice == latest.c.external_id),
        )
        .subquery()
    )


def _usage_lines(scope: _Scope) -> FromClause:
    latest = _latest_invoices(scope)
    line, owner = models.invoice_line, models.subscription
    # Looked up line by line, because hardly any line names a subscription of its own.
    named = (
        select(owner.c.id)
        .where(owner.c.source_id == latest.c.source_id, owner.c.external_id == line.c.subscription)
        .scalar_subquery()
    )
    subscription = case((line.c.subscription.is_(None), latest.c.subscription_id), else_=named)
    return (
        select(
            latest.c.id.label("invoice_id"),
            latest.c.source_id,
            latest.c.external_id.label("invoice"),
            latest.c.customer_id,
            subscription.label("subscription_id"),
            line.c.item,
            line.c.plan,
            latest.c.currency,
            line.c.amount,
            latest.c.issued_at,
            line.c.period_start,
            line.c.period_end,
        )
        .join(line, line.c.version_id == latest.c.id)
        # A draft is not final and a void invoice never was: neither is evidence of usage.
        .where(line.c.kind == "usage", latest.c.status.in_(("open", "paid", "uncollectible")))
        .where(subscription.is_not(None))
        .subquery()
    )


def _expenses(known_at: datetime | None) -> FromClause:
    """Each cost once, in its latest words."""
    table = models.expense
    columns = [
        table.c[name] for name in COLUMNS["expenses"] if name not in ("expense_id", "expense")
    ]
    return (
        select(table.c.id.label("expense_id"), table.c.external_id.label("expense"), *columns)
        .ext(distinct_on(table.c.source_id, table.c.external_id))
        .where(table.c.livemode, *([] if known_at is None else [table.c.recorded_at <= known_at]))
        .order_by(
            table.c.source_id,
            table.c.external_id,
            table.c.occurred_at.desc(),
            table.c.sequence.desc(),
            table.c.recorded_at.desc(),
            table.c.event_id.desc(),
        )
        .subquery()
    )


def _payments(scope: _Scope) -> FromClause:
    """Each payment attempt, refund and dispute once, in its latest words."""
    table = models.payment
    return (
        select(
            table.c.id.label("payment_id"),
            table.c.source_id,
            table.c.external_id.label("payment"),
            table.c.invoice,
            table.c.customer_id,
            table.c.kind,
            table.c.amount,
            table.c.fee,
            table.c.currency,
            table.c.method,
            table.c.failure_reason,
            table.c.occurred_at.label("paid_at"),
        )
        .ext(distinct_on(table.c.source_id, table.c.external_id, table.c.kind, table.c.attempt))
        .where(scope.history(table))
        .order_by(
            table.c.source_id,
            table.c.external_id,
            table.c.kind,
            table.c.attempt,
            table.c.occurred_at.desc(),
            table.c.sequence.desc(),
            table.c.recorded_at.desc(),
            table.c.event_id.desc(),
        )
        .subquery()
    )
