"""Lifetime value so far: what the customers of a cohort have paid, over how many they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Numeric,
    Select,
    and_,
    case,
    cast,
    func,
    or_,
    select,
    union_all,
)

from tidemill.errors import InvalidQuery, Issue
from tidemill.metrics.base import Behind, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.cash_flow import TRANSACTIONS
from tidemill.metrics.own_books import day_in
from tidemill.metrics.payment_cube import signed_amount
from tidemill.metrics.query import Query
from tidemill.metrics.retention.cohorts import Cohorts
from tidemill.periods import instants
from tidemill.vocabulary import InvoiceStatus, PaymentKind

__all__ = ["cohort_value"]

# What went back, and what of it came again.
_BACK: Final = (
    *(PaymentKind.REFUNDED.value, PaymentKind.REFUND_FAILED.value),
    *(PaymentKind.DISPUTED.value, PaymentKind.DISPUTE_WON.value),
)


def cohort_value(q: Query, calendar: Calendar) -> Table:
    """One row a group and cohort: cohort, ltv with what was paid and how many they were.

    Raises: InvalidQuery when items cut it.
    """
    if q.cuts_by("item"):
        problem = "an invoice is paid by a customer, for all it has"
        raise InvalidQuery([Issue("by", problem, "Cut it by what customers have.")])
    found = Cohorts(q, calendar)
    size, daily = found.sizes, _daily(found)
    total, need = found.valued(daily, "day", None, q.rates_of_days)
    same = and_(total.c.cohort == size.c.cohort, q.same_group(total, size))
    whole = case((total.c.cohort.is_(None), 0), else_=total.c.value)
    statement = (
        select(
            *q.shown_groups(size),
            size.c.cohort,
            (cast(whole, Numeric) / func.nullif(size.c.size, 0)).label("ltv"),
            whole.label("ltv_numerator"),
            size.c.size.label("ltv_denominator"),
        )
        .select_from(size.outerjoin(total, same))
        .order_by(*q.group_order(size), size.c.cohort)
    )
    return q.table(
        statement,
        periods=calendar.periods,
        behind=Behind(None, calendar.end, TRANSACTIONS),
        needs=(need,),
    )


@dataclass(frozen=True, slots=True)
class _Paid:
    """Rows of money that moved: where they are, which of them count, and what each says.

    moments: when it moved, by the first that is known.
    """

    source: FromClause
    counts: ColumnElement[bool]
    customer: ColumnElement[Any]
    moments: tuple[ColumnElement[Any], ...]
    currency: ColumnElement[Any]
    amount: ColumnElement[Any]


def _daily(found: Cohorts) -> CTE:
    """What invoices brought in up to the end, less what went back, in whose books they are.

    Shape: group columns, cohort, day, native_currency, amount.

    Members' own rows and those of customers merged into them are added up apart from each other:
    the first are nearly all, and read by several processes, which no chain of merges can be.
    """
    q = found.q
    parts = []
    for paid in (_invoiced(q), _given_back(q)):
        member = found.members_again()
        own = paid.source.join(member, member.c.customer_id == paid.customer)
        parts.append(_summed(found, paid, member, own))
        if q.policy.identity == "merged":
            member, merged = found.members_again(), q.relations.identities.alias("merged_away")
            theirs = paid.source.join(merged, merged.c.customer_id == paid.customer).join(
                member, member.c.customer_id == merged.c.canonical_id
            )
            # A chain of merges may run in a circle, and lead to where it began.
            away = merged.c.customer_id != merged.c.canonical_id
            parts.append(_summed(found, paid, member, theirs).where(away))
    part = union_all(*parts).subquery("paid_part")
    keys = [*q.group_columns(part), part.c.cohort, part.c.day, part.c.native_currency]
    amount = func.sum(part.c.amount).label("amount")
    return select(*keys, amount).group_by(*keys).cte("cohort_paid")


def _summed(found: Cohorts, paid: _Paid, member: FromClause, source: FromClause) -> Select[Any]:
    """The sums of rows that are joined with members: of each group, cohort, day and currency."""
    q = found.q
    keys = [
        *q.group_columns(member),
        member.c.cohort,
        day_in(func.coalesce(*paid.moments), q.policy).label("day"),
        paid.currency.label("native_currency"),
    ]
    return (
        select(*keys, func.sum(paid.amount).label("amount"))
        .select_from(source)
        .where(paid.counts, _before(found, paid.moments), paid.amount != 0)
        .group_by(*keys)
    )


def _before(found: Cohorts, moments: tuple[ColumnElement[Any], ...]) -> ColumnElement[bool]:
    """That money moved before the end, in words from which the planner knows how much did."""
    end = found.calendar.end
    over = instants(end, end, found.q.policy.tz).end_exclusive
    first, *others = moments
    if not others:
        return first < over
    return or_(first < over, and_(first.is_(None), _before(found, tuple(others))))


def _invoiced(q: Query) -> _Paid:
    """What invoices brought in.

    One that does not say what was paid was paid whole, or not at all.
    """
    invoice = q.relations.invoices
    whole = case((invoice.c.status == InvoiceStatus.PAID.value, invoice.c.total), else_=0)
    return _Paid(
        invoice,
        _counts(invoice),
        invoice.c.customer_id,
        (invoice.c.paid_at, invoice.c.issued_at),
        invoice.c.currency,
        func.coalesce(invoice.c.amount_paid, whole),
    )


def _given_back(q: Query) -> _Paid:
    """What went back of invoices, and what of it came again."""
    payment, invoice = q.relations.payments, q.relations.invoices.alias("paid_for")
    of_invoice = and_(
        invoice.c.source_id == payment.c.source_id, invoice.c.invoice == payment.c.invoice
    )
    return _Paid(
        payment.join(invoice, of_invoice),
        and_(_counts(invoice), payment.c.kind.in_(_BACK)),
        payment.c.customer_id,
        (payment.c.paid_at,),
        payment.c.currency,
        signed_amount(payment),
    )


def _counts(invoice: FromClause) -> ColumnElement[bool]:
    """That an invoice is one: a void one never was, nor what became of it."""
    return invoice.c.status.not_in((InvoiceStatus.VOID.value, InvoiceStatus.DRAFT.value))
