"""The MRR of each cohort at the close of each period, beside what it was new with."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, ColumnElement, FromClause, and_, case, func, select

from tidemill.ledger.movements import FX_TYPE
from tidemill.metrics.base import RateNeed
from tidemill.metrics.query import Query
from tidemill.metrics.retention.cohorts import Cohorts
from tidemill.vocabulary import MovementType

__all__ = ["mrr_cells"]


def mrr_cells(found: Cohorts) -> tuple[CTE, tuple[RateNeed, ...]]:
    """MRR at each close at that day's rates; the opening is what they were new with."""
    q, moved = found.q, _moved(found)
    change = moved if found.by_month is None else _changed_by_month(found, found.by_month)
    keys = [*q.group_columns(change), change.c.cohort, change.c.key, change.c.native_currency]
    moves = func.sum(change.c.level).label("moved")
    flow = select(*keys, moves).group_by(*keys).cte("cohort_flow")
    line, source = found.grid(flow, ["native_currency"])
    period = found.period
    names = list(line.c)
    total = func.sum(func.coalesce(flow.c.moved, 0)).over(
        partition_by=names, order_by=period.c.place
    )
    level = (
        select(*line.c, found.offset(line), period.c.closes_on, total.label("amount"))
        .select_from(source)
        .cte("cohort_level")
    )
    cells, need = found.valued(level, "closes_on", "offset", q.rates)
    began = (
        select(
            *q.group_columns(moved),
            moved.c.cohort,
            moved.c.won_currency.label("native_currency"),
            moved.c.day,
            func.sum(moved.c.won).label("amount"),
        )
        .where(moved.c.won != 0)
        .group_by(*q.group_columns(moved), moved.c.cohort, moved.c.won_currency, moved.c.day)
        .cte("cohort_new")
    )
    opening, lacking = found.valued(began, "day", None, q.rates)
    return found.with_opening(cells, opening, "value"), (need, lacking)


def _changed_by_month(found: Cohorts, q: Query) -> FromClause:
    """What months changed levels by: cohort, key, native_currency, level."""
    rows, worth = q.rows.c, q.worth
    cohort = found.calendar.key_of(rows.cohort_month)
    told = q.select(
        found.calendar.end,
        lambda _: [
            cohort.label("cohort"),
            found.not_before(rows.day, cohort).label("key"),
            worth.currency.label("native_currency"),
            worth.amount.label("level"),
        ],
    )
    return told.where(rows.cohort_month >= found.calendar.start).subquery("cohort_change")


def _moved(found: Cohorts) -> CTE:
    """Members' rows added up by day; where months tell what levels are, only the new ones.

    Shape: group columns, cohort, key, day, native_currency, level (what levels change by),
           won_currency, won (new MRR of the cohort).
    """
    if found.told_by_month:
        return _placed(found, _rows(found, None), None)
    return _placed(found, _rows(found, "customer_id"), found.member)


def _rows(found: Cohorts, along: str | None) -> FromClause:
    """The base rows added up by day: group columns, `along` or cohort_month, day, amounts."""
    q, rows = found.q, found.q.rows.c
    who = rows.cohort_month if along is None else rows[along]
    told = q.select(
        found.calendar.end,
        lambda _: [
            who.label("who"),
            rows.day.label("day"),
            rows.type.label("movement_type"),
            q.worth.currency.label("native_currency"),
            q.worth.amount.label("level"),
            q.moved.currency.label("won_currency"),
            q.moved.amount.label("won"),
        ],
    )
    if along is None:
        told = told.where(rows.cohort_month >= found.calendar.start)
    if found.by_month is not None:
        told = told.where(rows.type == MovementType.NEW.value)
    row = told.subquery("cohort_row")
    new = row.c.movement_type == MovementType.NEW.value
    keys = [
        *q.group_columns(row), row.c.who, row.c.day, row.c.native_currency, row.c.won_currency,
    ]  # fmt: skip
    return (
        select(
            *keys,
            func.sum(row.c.level).label("level"),
            func.coalesce(func.sum(row.c.won).filter(new), 0).label("new"),
            func.coalesce(func.sum(row.c.won).filter(row.c.movement_type != FX_TYPE), 0).label(
                "won"
            ),
        )
        .group_by(*keys)
        .subquery("cohort_day")
    )


def _placed(found: Cohorts, row: FromClause, member: CTE | None) -> CTE:
    """Rows with their cohort and the period they belong to; see `_moved`."""
    q, calendar = found.q, found.calendar
    cohort: ColumnElement[Any]
    won: ColumnElement[Any]
    if member is None:
        cohort = calendar.key_of(row.c.who)
        source = row
    else:
        cohort = member.c.cohort
        mine = and_(member.c.customer_id == row.c.who, q.same_group(member, row))
        source = row.join(member, mine)
    key = found.not_before(row.c.day, cohort)
    if q.cuts_by("item") and member is not None:
        # Where a customer comes from another plan, what it begins with there is not "new".
        won = case((row.c.day == member.c.joined_on, row.c.won), else_=0)
    elif q.policy.cohort_key == "signup":
        won = row.c.new
    else:
        won = case((key == cohort, row.c.new), else_=0)
    return (
        select(
            *q.group_columns(row),
            cohort.label("cohort"),
            key.label("key"),
            row.c.day,
            row.c.native_currency,
            row.c.level,
            row.c.won_currency,
            won.label("won"),
        )
        .select_from(source)
        .cte("cohort_move")
    )
