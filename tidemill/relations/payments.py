"""Payments as the core tables tell them: each once, with the invoice it was for.

A payment may not say which invoice it was for, and an event of its own may say so later, or may
have said so before. So nothing is filled in when an event is applied: what belongs together shares
a reference, and is put together when it is read. The order of arrival changes nothing.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, Select, Table, and_, func, select, union_all
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.models import allocation, payment
from tidemill.relations.scope import Scope

__all__ = ["payment_rows"]

_LATER: Final = ("occurred_at", "sequence", "recorded_at", "event_id")
_AS_TOLD: Final = (
    *("source_id", "customer_id", "kind", "amount", "fee", "currency"),
    *("method", "failure_reason", "reference"),
)


def payment_rows(scope: Scope) -> FromClause:
    """Each payment attempt, refund and dispute once, in its latest words.

    Shape: `COLUMNS["payments"]` of the relations.
    """
    told, named = _told(scope).subquery("told"), _invoices(scope)
    same = and_(named.c.source_id == told.c.source_id, named.c.reference == told.c.reference)
    return (
        select(
            told.c.id.label("payment_id"),
            told.c.external_id.label("payment"),
            func.coalesce(told.c.invoice, named.c.invoice).label("invoice"),
            *(told.c[name] for name in _AS_TOLD),
            told.c.occurred_at.label("paid_at"),
        )
        .select_from(told.outerjoin(named, same))
        .subquery()
    )


def _told(scope: Scope) -> Select[Any]:
    """Of each payment, refund and dispute what was said of it last."""
    if scope.known_at is None:
        return select(payment).where(_in_scope(scope), ~payment.c.superseded)
    key = [payment.c[name] for name in ("source_id", "external_id", "kind", "attempt")]
    return (
        select(payment)
        .ext(distinct_on(*key))
        .where(_in_scope(scope))
        .order_by(*key, *(payment.c[name].desc() for name in _LATER))
    )


def _invoices(scope: Scope) -> FromClause:
    """The invoice of each reference, by whatever names both; the latest word counts.

    Shape: source_id, reference, invoice; one row a source and reference.
    """
    allocated = scope.known(allocation)
    if scope.customers is not None or scope.payments is not None:
        # It names neither customer nor payment: those of whom a payment shares the reference.
        sharing = select(payment.c.reference).where(_in_scope(scope))
        allocated = and_(allocated, allocation.c.reference.in_(sharing))
    both = and_(payment.c.reference.is_not(None), payment.c.invoice.is_not(None))
    said = union_all(
        _naming(allocation).where(allocated),
        _naming(payment).where(_in_scope(scope), both),
    ).subquery("naming")
    return (
        select(said.c.source_id, said.c.reference, said.c.invoice)
        .ext(distinct_on(said.c.source_id, said.c.reference))
        .order_by(said.c.source_id, said.c.reference, *(said.c[name].desc() for name in _LATER))
        .subquery("invoice_of_reference")
    )


def _in_scope(scope: Scope) -> ColumnElement[bool]:
    if scope.payments is None:
        return scope.history(payment)
    return and_(scope.history(payment), payment.c.id.in_(scope.payments))


def _naming(table: Table) -> Select[Any]:
    names = ("source_id", "reference", "invoice", *_LATER)
    return select(*(table.c[name] for name in names))
