"""Lifetime value by the sBG model: ARPA over the payments that a new customer will make.

SQL counts at which renewal customers left, or how many they have made; the model is fitted to these
counts in `sbg`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    Integer,
    and_,
    case,
    cast,
    extract,
    func,
    literal,
    select,
)

from tidemill.metrics.base import Behind, Table
from tidemill.metrics.ltv.sbg import Fit, fit
from tidemill.metrics.paying import Paying
from tidemill.metrics.presence import Presence
from tidemill.metrics.query import Query
from tidemill.metrics.windows import Windows

__all__ = ["Assumptions", "contractual_table"]

_MONTHS = 12


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a value to come rests on beside the model.

    horizon:  how many monthly payments are looked at.
    discount: by what share money a year from now is worth less than today's.
    margin:   the gross margin.
    """

    horizon: int
    discount: Decimal
    margin: Decimal

    @property
    def of_a_payment(self) -> float:
        """The discount from one month to the next."""
        return float(pow(1 + float(self.discount), 1 / _MONTHS)) - 1


def contractual_table(q: Query, windows: Windows, assumed: Assumptions) -> Table:
    """One row a group: ltv, lifetime, the assumptions, arpa with both sides, the fit."""
    paying = Paying(q, windows)
    part, tenure = paying.standing, _tenures(q, windows)
    same = and_(q.same_group(part.rows, tenure), part.rows.c.place == 1)
    statement = (
        select(
            *q.shown_groups(tenure),
            tenure.c.tenure,
            tenure.c.lost,
            tenure.c.kept,
            part.of("mrr").label("mrr"),
            part.of("customers").label("customers"),
        )
        .select_from(tenure.outerjoin(part.rows, same))
        .order_by(*q.group_order(tenure), tenure.c.tenure)
    )
    groups = [each.name for each in q.bound.dimensions]

    def worked(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
        for row in rows:
            found[tuple(row[name] for name in groups)].append(row)
        if not groups:
            found.setdefault((), [])
        return [
            dict(zip(groups, key, strict=True)) | _valued(each, assumed)
            for key, each in found.items()
        ]

    table = q.table(
        statement,
        periods=windows.calendar.periods,
        behind=Behind(None, windows.end),
        needs=[replace(need, eager=True) for need in part.needs],
        warnings=paying.warnings,
    )
    return replace(table, worked=worked)


def _valued(rows: Sequence[Mapping[str, Any]], assumed: Assumptions) -> dict[str, Any]:
    """The answer for one group, from its counts by renewal."""
    lost = {row["tenure"]: row["lost"] for row in rows if row["lost"]}
    kept = {row["tenure"]: row["kept"] for row in rows if row["kept"]}
    mrr, customers = (rows[0][name] if rows else 0 for name in ("mrr", "customers"))
    arpa = Decimal(mrr) / customers if customers else None
    model: Fit | None = fit(lost, kept)
    lifetime = None if model is None else model.payments(assumed.horizon, assumed.of_a_payment)
    ltv = None
    if arpa is not None and lifetime is not None:
        ltv = arpa * assumed.margin * lifetime
    return {
        "ltv": ltv,
        "lifetime": lifetime,
        "horizon": assumed.horizon,
        "discount": assumed.discount,
        "margin": assumed.margin,
        "arpa": arpa,
        "arpa_numerator": Decimal(mrr),
        "arpa_denominator": customers,
        "alpha": None if model is None else _shown(model.alpha),
        "beta": None if model is None else _shown(model.beta),
        "fit_error": None if model is None else model.error(lost, kept),
        "lost": sum(lost.values()),
        "members": sum(lost.values()) + sum(kept.values()),
    }


def _shown(parameter: float) -> Decimal:
    return Decimal(parameter).quantize(Decimal("0.0001"))


def _tenures(q: Query, windows: Windows) -> CTE:
    """How long those who joined in the window stayed: group columns, tenure, lost, kept.

    A renewal is a month after the day of joining. Who leaves before, or on, the day of the n-th has
    tenure n, and is lost; who is still there has made as many renewals as there were.
    """
    turn = Presence(q, windows).turns
    keys = [*q.group_columns(turn), turn.c.customer_id]
    each = (
        select(
            *keys,
            func.min(turn.c.day).filter(turn.c.delta > 0).label("joined_on"),
            func.min(turn.c.day).filter(turn.c.delta < 0).label("left_on"),
        )
        .group_by(*keys)
        .subquery("stay")
    )
    left = each.c.left_on.is_not(None)
    renewals = case(
        (left, _months(each.c.joined_on, each.c.left_on - 1) + 1),
        else_=_months(each.c.joined_on, literal(windows.end)),
    )
    told = (
        select(
            *q.group_columns(each),
            renewals.label("tenure"),
            cast(left, Integer).label("lost"),
        )
        .where(windows.within(each.c.joined_on))
        .subquery("tenure_row")
    )
    line = [*q.group_columns(told), told.c.tenure]
    lost = func.sum(told.c.lost)
    return (
        select(*line, lost.label("lost"), (func.count() - lost).label("kept"))
        .group_by(*line)
        .cte("tenure")
    )


def _months(first: ColumnElement[Any], last: ColumnElement[Any]) -> ColumnElement[int]:
    """Whole calendar months from a day to a later one; 0 for an earlier one."""
    between = func.age(cast(last, DateTime), cast(first, DateTime))
    months = extract("year", between) * _MONTHS + extract("month", between)
    return cast(func.greatest(months, 0), Integer)
