"""The knob `fx = at_movement`: every movement keeps the rate of its day, and so does the level.

A unit carries a value in base currency. What comes is added at the rate of its day; what goes takes
its share of what is carried with it, and a churn takes all. Formula, with n the native level:

    carried' = carried + (n' - n) x rate      when n' >= n
    carried' = carried x n' / n               when n' <  n
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import CTE, Integer, Numeric, and_, case, cast, func, literal, select

from tidemill.fx import rate_day, rates_by_day
from tidemill.ledger.changes import in_order

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["carried", "swapped"]

# Digits kept of the running products: far more than any display shows, few enough to stay fast.
_DIGITS: Final = 24


def carried(rows: FromClause, relations: Relations, policy: Policy) -> FromClause:
    """The rows with amount_base_minor, the change in what their unit carries in base currency.

    rows: with unit, bucket, day and amount_minor; each bucket of a unit and currency is one step.
    """
    if policy.fx != "at_movement":
        return rows
    steps = _steps(rows, relations)
    moved = _moved(_accumulated(steps))
    same_step = and_(
        moved.c.unit == rows.c.unit,
        moved.c.currency == rows.c.currency,
        moved.c.bucket == rows.c.bucket,
    )
    # A bucket's change is shared out by amounts; its first row takes what division leaves over.
    share = func.round(rows.c.amount_minor * moved.c.factor, _DIGITS)
    whole = (rows.c.unit, rows.c.currency, rows.c.bucket)
    rest = moved.c.moved - func.sum(share).over(partition_by=whole)
    place = func.row_number().over(partition_by=whole, order_by=in_order(rows))
    amount = case(
        (rows.c.currency == relations.base_currency, rows.c.amount_minor),
        (place == 1, share + rest),
        else_=share,
    )
    return (
        select(rows, amount.label("amount_base_minor"))
        .select_from(rows.outerjoin(moved, same_step))
        .subquery("carried")
    )


def swapped(changes: FromClause, relations: Relations, policy: Policy) -> FromClause:
    """Changes of lines that move nothing for their unit, with amount_base_minor.

    What one line gives up at the rate of the day another takes up: the unit carries what it did.
    """
    if policy.fx != "at_movement":
        return changes
    rates = rates_by_day(relations.fx_rates, relations.base_currency, "swap_rate")
    of_day = and_(
        rates.c.currency == changes.c.currency,
        rates.c.day == rate_day(relations.fx_rates, changes.c.day),
    )
    is_base = changes.c.currency == relations.base_currency
    amount = case((is_base, changes.c.amount_minor), else_=changes.c.amount_minor * rates.c.factor)
    return (
        select(changes, amount.label("amount_base_minor"))
        .select_from(changes.outerjoin(rates, of_day))
        .subquery("swapped")
    )


def _steps(rows: FromClause, relations: Relations) -> CTE:
    """One step a unit, foreign currency and bucket: carried' = keeps x carried + adds."""
    step = (
        select(
            rows.c.unit,
            rows.c.currency,
            rows.c.bucket,
            func.max(rows.c.day).label("day"),
            func.sum(rows.c.amount_minor).label("net"),
        )
        .where(rows.c.currency != relations.base_currency)
        .group_by(rows.c.unit, rows.c.currency, rows.c.bucket)
        .subquery("net_step")
    )
    line = (step.c.unit, step.c.currency)
    after = func.sum(step.c.net).over(partition_by=line, order_by=step.c.bucket)
    number = func.row_number().over(partition_by=line, order_by=step.c.bucket)
    level = select(step, after.label("after"), cast(number, Integer).label("number")).subquery(
        "leveled"
    )
    before = level.c.after - level.c.net
    rates = rates_by_day(relations.fx_rates, relations.base_currency)
    of_day = and_(
        rates.c.currency == level.c.currency,
        rates.c.day == rate_day(relations.fx_rates, level.c.day),
    )
    keeps = case((before <= 0, 0), (level.c.net < 0, level.c.after / before), else_=1)
    adds = case((level.c.net > 0, level.c.net * rates.c.factor), else_=0)
    return (
        select(
            level.c.unit,
            level.c.currency,
            level.c.bucket,
            level.c.number,
            level.c.net,
            rates.c.factor.label("rate"),
            func.round(cast(keeps, Numeric), _DIGITS).label("keeps"),
            # As in each later round, or who is derived alone would have other last digits.
            func.round(cast(adds, Numeric), _DIGITS).label("adds"),
        )
        .select_from(level.outerjoin(rates, of_day))
        .cte("carrying_step")
    )


def _accumulated(steps: CTE) -> FromClause:
    """What is carried after each step, by doubling: round k joins each step with those 2**k back.

    Composing `keeps x carried + adds` is associative, so the whole history of a unit needs only as
    many rounds as its length has binary digits; a recursion step by step would need its length.
    """
    longest = select(func.max(steps.c.number)).scalar_subquery()
    scan = select(steps, cast(literal(1), Integer).label("span")).cte("carrying", recursive=True)

    def back(column: ColumnElement[Any], otherwise: int) -> ColumnElement[Any]:
        before = func.lag(column, scan.c.span).over(
            partition_by=(scan.c.unit, scan.c.currency), order_by=scan.c.number
        )
        return func.coalesce(before, otherwise)

    scan = scan.union_all(
        select(
            scan.c.unit,
            scan.c.currency,
            scan.c.bucket,
            scan.c.number,
            scan.c.net,
            scan.c.rate,
            func.round(scan.c.keeps * back(scan.c.keeps, 1), _DIGITS),
            func.round(scan.c.adds + scan.c.keeps * back(scan.c.adds, 0), _DIGITS),
            scan.c.span * 2,
        ).where(scan.c.span < longest)
    )
    last = select(func.max(scan.c.span)).scalar_subquery()
    return select(scan).where(scan.c.span == last).subquery("accumulated")


def _moved(scan: FromClause) -> FromClause:
    """Each step with the change in what is carried, and that change for one native minor unit."""
    before = func.lag(scan.c.adds, 1, 0).over(
        partition_by=(scan.c.unit, scan.c.currency), order_by=scan.c.number
    )
    moved = select(scan, (scan.c.adds - before).label("moved")).subquery("moved")
    factor = case(
        (moved.c.net == 0, moved.c.rate), else_=moved.c.moved / func.nullif(moved.c.net, 0)
    )
    return select(moved, factor.label("factor")).subquery("factored")
