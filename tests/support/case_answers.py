"""What the worked cases say of a question, held against what `tidemill.connect()` answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import tidemill
from tests.support.calendars import month_range
from tests.support.cases import Expectation

__all__ = ["AS_OF", "check_answers", "check_movements"]

FIRST, LAST = date(2023, 1, 1), date(2027, 12, 31)
AS_OF = datetime(2028, 1, 1, tzinfo=UTC)
"""When the questions are asked: long after everything."""

# Figures are worked out to six decimals of a minor unit.
HALF_MICRO = Decimal("0.0000005")
TYPES = ("new", "expansion", "reactivation", "contraction", "churn")

Told = dict[tuple[str, ...], Decimal]


def check_answers(t: tidemill.Tidemill, expected: Expectation) -> None:
    """Levels, quick ratios, totals and movements, under the policy that is configured."""
    _check_levels(t, expected)
    _check_quick_ratio(t, expected)
    _check_total(t, expected)
    check_movements(t, expected)


def _near(found: Any, wanted: Any) -> bool:
    return abs(Decimal(found) - Decimal(str(wanted))) <= HALF_MICRO


def _check_levels(t: tidemill.Tidemill, expected: Expectation) -> None:
    for metric, figures in (
        ("mrr", expected.mrr_at),
        ("arr", expected.arr_at),
        ("customers", expected.customers_at),
    ):
        for day, wanted in figures.items():
            assert _near(t.query(metric, "current", at=day).value, wanted), (metric, day)
            series = t.query(metric, "series", start=day, end=day, grain="day")
            assert [_near(row[metric], wanted) for row in series.rows] == [True], (metric, day)


def _check_quick_ratio(t: tidemill.Tidemill, expected: Expectation) -> None:
    for month, rates in expected.rates.items():
        if "quick_ratio" not in rates:
            continue
        start, end = month_range(month)
        row = t.quick_ratio(start=start, end=end).rows[0]
        wanted = rates["quick_ratio"]
        assert (row["quick_ratio"] is None) == (wanted is None), month
        if wanted is not None:
            assert _near(row["quick_ratio_numerator"], wanted[0]), month
            assert _near(row["quick_ratio_denominator"], wanted[1]), month


def check_movements(t: tidemill.Tidemill, expected: Expectation, **how: Any) -> None:
    """Movements day by day, and month by month in the waterfall with its line for rates.

    how: another policy than the configured one. Then the movements are derived from the history.
    """
    # A knowledge date keeps the facts of the same policy from being used.
    how |= {"known_at": AS_OF} if how else {}
    by_subscription = expected.policy["movement_level"] == "subscription"
    found: Told = defaultdict(Decimal)
    for row in t.mrr.movements(start=FIRST, end=LAST, by=["source"], **how).rows:
        unit = _unit(row, by_subscription=by_subscription)
        found[str(row["day"]), *unit, row["type"]] += row["amount"]
    wanted = _wanted(expected, by_subscription=by_subscription)
    # Another plan at the same price is an expansion of nothing; no other movement may be empty.
    assert not [key for key in found.keys() - wanted.keys() if key[-1] != "expansion"]
    _same(found, wanted)

    monthly: Told = defaultdict(Decimal)
    for movement in expected.movements or ():
        key = (movement["date"][:7], _bare(movement["customer"]), movement["type"])
        monthly[key] += Decimal(str(movement["amount_cents"]))
    flow: Told = defaultdict(Decimal)
    for row in t.mrr.waterfall(start=FIRST, end=LAST, by=["customer"], **how).rows:
        for type_ in (*TYPES, "fx"):
            flow[str(row["period"])[:7], row["customer"], type_] += row[type_]
    _same(flow, monthly)


def _check_total(t: tidemill.Tidemill, expected: Expectation) -> None:
    """The waterfall of all customers ends each month at the level of that day."""
    rows = t.mrr.waterfall(start=FIRST, end=LAST).rows
    closing = {str(month_range(str(row["period"])[:7])[1]): row["closing"] for row in rows}
    for day, level in expected.mrr_at.items():
        assert day not in closing or _near(closing[day], level), day


def _unit(row: Mapping[str, Any], *, by_subscription: bool) -> tuple[str, ...]:
    return (row["customer"], row["subscription"]) if by_subscription else (row["customer"],)


def _wanted(expected: Expectation, *, by_subscription: bool) -> Told:
    told: Told = defaultdict(Decimal)
    for movement in expected.movements or ():
        if movement["type"] == "fx":
            continue
        unit = [_bare(movement["customer"])]
        unit += [movement["subscription"]] if by_subscription else []
        amount = Decimal(str(movement["amount_cents"]))
        told[movement["date"], *unit, movement["type"]] += amount
    return told


def _bare(customer: str) -> str:
    """The vendor's id: questions name customers without their source."""
    return customer.rpartition(":")[2]


def _same(found: Told, wanted: Told) -> None:
    """Both say the same; what is found may say more of what came to nothing."""
    assert wanted.keys() <= found.keys()
    different = {
        key: (found.get(key, 0), wanted.get(key, 0))
        for key in found.keys() | wanted.keys()
        if not _near(found.get(key, 0), wanted.get(key, 0))
    }
    assert different == {}
