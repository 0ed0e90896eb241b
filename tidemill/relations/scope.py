"""How much of the history is read, and what the log said of something by then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, FromClause, Select, Table, and_, select
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill import models

__all__ = ["Scope", "said"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What part of the history to read: up to a knowledge date, and of which customers.

    payments: of all payments only these rows; whatever else is read of them is read as always.
    """

    known_at: datetime | None
    customers: Select[tuple[int]] | None
    payments: Select[tuple[int]] | None = None

    def known(self, table: FromClause) -> ColumnElement[bool]:
        """The rows of an append-only table that were known by then, whomever they are about."""
        conditions: list[ColumnElement[bool]] = [table.c.livemode]
        if self.known_at is not None:
            conditions.append(table.c.recorded_at <= self.known_at)
        return and_(*conditions)

    def history(self, table: Table) -> ColumnElement[bool]:
        """The rows of an append-only table that are in scope."""
        if self.customers is None:
            return self.known(table)
        return and_(self.known(table), table.c.customer_id.in_(self.customers))


def said(
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
