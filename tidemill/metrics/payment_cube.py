"""The cube over payments: money that came, went back, or failed to come."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Numeric,
    Select,
    Text,
    case,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    values,
)

from tidemill.ledger import Fact
from tidemill.metrics.base import Rows
from tidemill.metrics.cube import Cube, Dimension, Measure, Rollup
from tidemill.metrics.movement_cube import MOVEMENTS
from tidemill.metrics.own_books import day_in, in_books
from tidemill.models import metric_payment_daily
from tidemill.policy import Policy
from tidemill.relations import Relations
from tidemill.vocabulary import PaymentKind, PaymentMethod

__all__ = [
    "DISPUTE",
    "FAILURE",
    "FEE",
    "KINDS",
    "NET_CASH",
    "PAYMENT",
    "PAYMENTS",
    "PAYMENT_ROWS",
    "PAYMENT_SUMS",
    "REFUND",
    "payment_rows",
    "payment_sums",
    "signed_amount",
    "summed_by_day",
]

PAYMENT: Final = "payment"
REFUND: Final = "refund"
DISPUTE: Final = "dispute"
FEE: Final = "fee"
FAILURE: Final = "failure"

KINDS: Final = (PAYMENT, REFUND, DISPUTE, FEE, FAILURE)
"""Every kind of row."""

NET_CASH: Final = (PAYMENT, REFUND, DISPUTE)
"""What net cash flow is made of: fees are not taken off, and a failed attempt moved nothing."""

_NAMES: Final = {
    PaymentKind.SUCCEEDED.value: PAYMENT,
    PaymentKind.REFUNDED.value: REFUND,
    PaymentKind.REFUND_FAILED.value: REFUND,
    PaymentKind.DISPUTED.value: DISPUTE,
    PaymentKind.DISPUTE_WON.value: DISPUTE,
    PaymentKind.FAILED.value: FAILURE,
}
_BACK: Final = (PaymentKind.REFUNDED.value, PaymentKind.DISPUTED.value)


def signed_amount(paid: FromClause) -> ColumnElement[Any]:
    """The amount of a row of the relation `payments`: what goes away is negative."""
    return case((paid.c.kind.in_(_BACK), -paid.c.amount), else_=paid.c.amount)


def payment_rows(
    relations: Relations, policy: Policy, kinds: Collection[str] = KINDS
) -> Select[Any]:
    """Every payment, refund, dispute, failed attempt and fee, in the books it belongs to.

    A refund that failed and a dispute that was won are of the same kind, with the other sign.

    kinds: only rows of these.

    Shape: customer_id, source_id, day (in the policy's time zone), occurred_at, currency, kind,
           amount_minor (what goes away is negative; a failed attempt is what was asked for),
           payment, invoice, reference, method, failure_reason, event_position.
    """
    paid = relations.payments.alias("paid")
    source, owner = in_books(paid, relations, policy)
    wanted = {theirs: ours for theirs, ours in _NAMES.items() if ours in kinds}
    named = case(*((paid.c.kind == theirs, literal(ours)) for theirs, ours in wanted.items()))
    kind: ColumnElement[Any] = named
    amount = signed_amount(paid)
    if FEE in kinds:
        # Each payment once, in the order of an index, with what it is and its fee.
        columns = (column("kind", Text), column("amount_minor", Numeric))
        part = values(*columns, name="part").data([(named, amount), (literal(FEE), -paid.c.fee)])
        part = part.lateral()
        kind, amount = part.c.kind, part.c.amount_minor
        source = source.join(part, or_(kind != FEE, amount != 0))
    rows = select(
        owner.label("customer_id"),
        paid.c.source_id,
        day_in(paid.c.paid_at, policy).label("day"),
        paid.c.paid_at.label("occurred_at"),
        paid.c.currency,
        kind.label("kind"),
        amount.label("amount_minor"),
        paid.c.payment,
        paid.c.invoice,
        paid.c.reference,
        cast(paid.c.method, Text).label("method"),
        paid.c.failure_reason,
        paid.c.payment_id.label("event_position"),
    ).select_from(source)
    return rows.where(paid.c.kind.in_(wanted)) if len(wanted) < len(_NAMES) else rows


def payment_sums(relations: Relations, policy: Policy) -> Select[Any]:
    """What payments add up to on each day, by source, currency and kind.

    Shape: the columns of `models.metric_payment_daily`.
    """
    return summed_by_day(payment_rows(relations, policy))


def summed_by_day(rows: Select[Any]) -> Select[Any]:
    """Sums of rows in the shape of `payment_rows`: day, source, currency, kind, sum, number."""
    row = rows.subquery("every_row")
    keys = (row.c.day, row.c.source_id, row.c.currency, row.c.kind)
    amount, number = func.sum(row.c.amount_minor), func.count()
    sums = (amount.label("amount_minor"), number.label("row_count"))
    return select(*keys, *sums).group_by(*keys)


PAYMENT_SUMS: Final = Fact(metric_payment_daily, payment_sums, of_payments=True)
"""The sums of payments under the configured policy, kept in a table."""

PAYMENT_ROWS: Final = Rows(
    payment_rows, rollups=(Rollup(metric_payment_daily, None, ("source", "currency")),)
)
"""Every payment, and what is kept of their sums."""

_SHARED: Final = ("source", "currency", "customer", "customer_name", "country")

PAYMENTS: Final = Cube(
    name="payments",
    measures=(Measure("amount", "What came in, signed.", "amount_minor"),),
    joins={name: MOVEMENTS.joins[name] for name in ("customers", "sources", "events")},
    dimensions=(
        *(each for each in MOVEMENTS.dimensions if each.name in _SHARED),
        Dimension(
            "method",
            "How it was paid.",
            "item",
            lambda s: s.rows.c.method,
            values=tuple(PaymentMethod),
        ),
        Dimension(
            "failure_reason",
            "Why it failed or was disputed, in the billing system's word.",
            "item",
            lambda s: s.rows.c.failure_reason,
        ),
    ),
)
"""The cube of payments; its base rows are `payment_rows`."""
