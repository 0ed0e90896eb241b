"""What is sold, and what everything is worth: plans, products, exchange rates."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import FromClause, Table, false, func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill import models
from tidemill.relations.scope import said
from tidemill.relations.shapes import COLUMNS

__all__ = ["catalogue_rows", "rate_rows"]


def catalogue_rows(
    table: Table, subject: str, words: tuple[str, ...], known_at: datetime | None
) -> FromClause:
    """What is sold, by the name `subject`."""
    if known_at is None:
        now = [table.c[word] for word in words]
        return select(table.c.source_id, table.c.external_id.label(subject), *now).subquery()
    log = models.event_log
    off_sale = or_(log.c.type == f"{subject}.deleted", log.c.data["active"].astext == "false")
    told = said(
        known_at,
        log.c.type.like(f"{subject}.%"),
        log.c.subject,
        words,
        func.coalesce(off_sale, false()),
    )
    then = [told.c[word] for word in words]
    return select(told.c.source_id, told.c.external_id.label(subject), *then).subquery()


def rate_rows(known_at: datetime | None) -> FromClause:
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
