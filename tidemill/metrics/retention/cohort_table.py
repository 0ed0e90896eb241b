"""The table of cohorts: how they are told, whatever they are looked at by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from sqlalchemy import CTE, ColumnElement, Numeric, and_, cast, func, select

from tidemill.metrics.base import Behind, RateNeed, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.cash_flow import TRANSACTIONS
from tidemill.metrics.columns import Column
from tidemill.metrics.query import Query
from tidemill.metrics.retention.cohort_cash import cash_cells
from tidemill.metrics.retention.cohort_customers import customer_cells
from tidemill.metrics.retention.cohort_mrr import mrr_cells
from tidemill.metrics.retention.cohorts import Cohorts

__all__ = ["CohortMeasure", "cohort_table"]

CohortMeasure = Literal["customers", "mrr", "cash"]
"""What a cohort is looked at by: its customers, their MRR, or the money they paid."""


def cohort_table(
    q: Query, calendar: Calendar, measure: CohortMeasure, *, age: int | None = None
) -> Table:
    """One row a group, cohort and age: cohort, size, opening, offset, value, rate.

    age: only the rows of this age, and no column for it.
    """
    found = Cohorts(q, calendar)
    cells, needs = _cells(found, measure)
    size = found.sizes
    of_size = and_(size.c.cohort == cells.c.cohort, q.same_group(size, cells))
    opening: ColumnElement[Any] = size.c.size if measure == "customers" else cells.c.opening
    rate = cast(cells.c.value, Numeric) / func.nullif(opening, 0)
    offset = [] if age is not None else [cells.c.offset.label("offset")]
    statement = (
        select(
            *q.shown_groups(cells),
            cells.c.cohort,
            size.c.size,
            opening.label("opening"),
            *offset,
            cells.c.value,
            rate.label("rate"),
        )
        .select_from(cells.join(size, of_size))
        .order_by(*q.group_order(cells), cells.c.cohort, cells.c.offset)
    )
    if age is not None:
        statement = statement.where(cells.c.offset == age)
    behind = Behind(None, calendar.end, TRANSACTIONS if measure == "cash" else None)
    table = q.table(statement, periods=calendar.periods, behind=behind, needs=needs)
    return replace(table, columns=tuple(_in_unit(each, q, measure) for each in table.columns))


def _cells(found: Cohorts, measure: CohortMeasure) -> tuple[CTE, tuple[RateNeed, ...]]:
    """What there is of each cohort at each age.

    Shape: group columns, cohort, offset, value, and for money opening.
    """
    match measure:
        case "customers":
            return customer_cells(found), ()
        case "mrr":
            return mrr_cells(found)
        case "cash":
            return cash_cells(found)


def _in_unit(column: Column, q: Query, measure: CohortMeasure) -> Column:
    """The column as this measure has it: customers are counted, the others are money."""
    if measure == "customers" or column.name not in {"opening", "value"}:
        return column
    return replace(column, unit="money").in_base(q.base_currency)
