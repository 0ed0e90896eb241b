"""Payments that failed, and what became of their invoices."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    false,
    func,
    literal,
    select,
    union_all,
)

from tidemill.ledger import Fact
from tidemill.metrics.base import Rows
from tidemill.metrics.cube import Rollup
from tidemill.metrics.payment_cube import FAILURE, PAYMENT, payment_rows, summed_by_day
from tidemill.models import metric_failure_daily
from tidemill.policy import Policy
from tidemill.relations import Relations

__all__ = [
    "ATTEMPTS",
    "FAILED",
    "FAILURE",
    "FAILURE_SUMS",
    "FOLLOWED",
    "RECOVERED",
    "attempt_rows",
    "failure_sums",
]

FAILED: Final = "failed"
FOLLOWED: Final = "followed"
RECOVERED: Final = "recovered"


def attempt_rows(relations: Relations, policy: Policy) -> Select[Any]:
    """Every failed attempt, and once more, on the day of its first, each thing that was to be paid.

    Shape: that of `payment_rows`; kind is ``failure`` for an attempt, ``failed`` for the invoice
           (without one for the payment that its attempts refer to, without both for the attempt
           itself) on the day on which it first failed, ``followed`` on that day if there is an
           invoice or a reference, so that it can be told what became of it, and ``recovered`` on
           that day when it was paid afterwards.
    """
    row = payment_rows(relations, policy, (FAILURE,)).subquery("failed_row")
    known = [column for column in row.c if column.name != "kind"]
    place = func.row_number().over(
        partition_by=(row.c.source_id, func.coalesce(_owed(row), row.c.payment)),
        order_by=(row.c.occurred_at, row.c.event_position),
    )
    failed = select(*known, place.label("place")).cte("failed_attempt")
    payment = payment_rows(relations, policy, (PAYMENT,)).subquery("paid_row")
    # When each was last paid: an attempt compared with every payment would take their product.
    paid = (
        select(
            payment.c.source_id,
            _owed(payment).label("owed"),
            func.max(payment.c.occurred_at).label("last_paid_at"),
        )
        .where(_owed(payment).in_(select(_owed(failed))))
        .group_by(payment.c.source_id, _owed(payment))
        .subquery("paid")
    )
    same = and_(paid.c.source_id == failed.c.source_id, paid.c.owed == _owed(failed))
    paid_later = func.coalesce(paid.c.last_paid_at > failed.c.occurred_at, false())
    failure = (
        select(failed, paid_later.label("paid_later"))
        .select_from(failed.outerjoin(paid, same))
        .cte("failure")
    )

    def rows(kind: str, *which: Any) -> Select[Any]:
        told = [failure.c[column.name] for column in known]
        return select(*told, literal(kind).label("kind")).where(*which)

    first = failure.c.place == 1
    every = union_all(
        rows(FAILURE),
        rows(FAILED, first),
        rows(FOLLOWED, first, _owed(failure).is_not(None)),
        rows(RECOVERED, first, failure.c.paid_later),
    ).subquery("attempt")
    return select(every)


def failure_sums(relations: Relations, policy: Policy) -> Select[Any]:
    """What failed attempts add up to on each day, by source, currency and kind.

    Shape: the columns of `models.metric_failure_daily`.
    """
    return summed_by_day(attempt_rows(relations, policy))


FAILURE_SUMS: Final = Fact(metric_failure_daily, failure_sums, of_payments=True)
"""The sums of what failed under the configured policy, kept in a table."""

ATTEMPTS: Final = Rows(
    attempt_rows, rollups=(Rollup(metric_failure_daily, None, ("source", "currency")),)
)
"""Every failed attempt and what became of it, and what is kept of their sums."""


def _owed(row: FromClause) -> ColumnElement[Any]:
    """What was to be paid: the invoice, or what the attempts on one payment refer to."""
    return func.coalesce(row.c.invoice, row.c.reference)
