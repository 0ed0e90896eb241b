"""The knob `fx = at_movement`: every movement keeps the rate of its day, and so does the level.

A unit carries a value in base currency. What comes is added at the rate of its day; what goes takes
its share of what is carried with it, and a churn takes all. Formula, with n the native level:

    carried' = carried + (n' - n) x rate      when n' >= n
    carried' = carried x n' / n               when n' <  n
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import CTE, Integer, Numeric, and_, case, cast, func, literal, null, select

from tidemill.fx import rate_day, rates_by_day
from tidemill.ledger.matching import matching, where

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

    from tidemill.ledger.buckets import Buckets
    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["BaseAmount", "base_amount", "carried", "rates_of", "swapped"]

# Digits kept of the running products: far more than any display shows, few enough to stay fast.
_DIGITS: Final = 24


class BaseAmount(NamedTuple):
    """A change's amount in base currency: of one that is alone in its bucket, and of any."""

    alone: ColumnElement[Any]
    shared: ColumnElement[Any]


def rates_of(changes: FromClause, relations: Relations, policy: Policy) -> CTE | None:
    """The rates on the days of changes, by day; None when the policy does not ask for them."""
    if policy.fx != "at_movement":
        return None
    day = changes.c.day
    # Of all currencies: a change is dated by its bucket, which another currency may have ended.
    first, last = func.min(day).label("first"), func.max(day).label("last")
    wanted = select(changes.c.currency, first, last).group_by(changes.c.currency)
    return rates_by_day(relations.fx_rates, relations.base_currency, wanted)


def carried(
    made: Buckets, states: FromClause, rates: CTE | None, relations: Relations
) -> FromClause | None:
    """What each bucket of a unit changes in what it carries in base currency, by native currency.

    rates: as `rates_of` gives them.
    Shape: unit, currency, bucket; moved, the change; factor, the same for one native minor unit.
           Foreign currencies only. None when the policy does not ask.
    """
    if rates is None:
        return None
    return _moved(_accumulated(_steps(made, states, rates, relations)))


def base_amount(
    changes: FromClause,
    states: FromClause,
    moved: FromClause | None,
    relations: Relations,
    order: list[ColumnElement[Any]],
) -> BaseAmount:
    """The change in base currency of changes joined with what their bucket moved.

    A bucket's change is shared out by amounts; its first row takes what division leaves over.
    """
    amount = changes.c.amount_minor
    if moved is None:
        own = changes.c.get("amount_base_minor", cast(null(), Numeric))
        return BaseAmount(own, own)
    share = func.round(amount * moved.c.factor, _DIGITS)
    whole = (states.c.unit, changes.c.currency, states.c.bucket)
    rest = moved.c.moved - func.sum(share).over(partition_by=whole)
    place = func.row_number().over(partition_by=whole, order_by=order)
    is_base = changes.c.currency == relations.base_currency
    return BaseAmount(
        case((is_base, amount), else_=moved.c.moved),
        case((is_base, amount), (place == 1, share + rest), else_=share),
    )


def swapped(changes: FromClause, rates: CTE | None, relations: Relations) -> FromClause:
    """Changes of lines that move nothing for their unit, with amount_base_minor.

    rates: as `rates_of` gives them.
    What one line gives up at the rate of the day another takes up: the unit carries what it did.
    """
    if rates is None:
        return changes
    rated = matching(
        changes, rates, currency=changes.c.currency, day=rate_day(rates, changes.c.day)
    )
    is_base = changes.c.currency == relations.base_currency
    amount = case((is_base, changes.c.amount_minor), else_=changes.c.amount_minor * rates.c.factor)
    return (
        select(changes, amount.label("amount_base_minor"))
        .select_from(rated)
        .where(where(changes.c.customer_id.is_not(None)))
        .subquery("swapped")
    )


def _steps(made: Buckets, states: FromClause, rates: CTE, relations: Relations) -> CTE:
    """One step a unit, foreign currency and bucket: carried' = keeps x carried + adds."""
    net = made.nets
    step = (
        select(
            states.c.unit,
            net.c.currency,
            states.c.bucket,
            func.min(states.c.day).label("day"),
            func.sum(net.c.amount_minor).label("net"),
        )
        .select_from(matching(states, net, unit=states.c.unit, key=states.c.key))
        .where(where(states.c.unit.is_not(None), net.c.currency != relations.base_currency))
        .group_by(states.c.unit, net.c.currency, states.c.bucket)
        .subquery("net_step")
    )
    line = (step.c.unit, step.c.currency)
    after = func.sum(step.c.net).over(partition_by=line, order_by=step.c.bucket)
    number = func.row_number().over(partition_by=line, order_by=step.c.bucket)
    level = select(
        step,
        after.label("after"),
        cast(number, Integer).label("number"),
        cast(func.count().over(partition_by=line), Integer).label("length"),
    ).subquery("leveled")
    before = level.c.after - level.c.net
    rated = matching(level, rates, currency=level.c.currency, day=rate_day(rates, level.c.day))
    keeps = case((before <= 0, 0), (level.c.net < 0, level.c.after / before), else_=1)
    adds = case((level.c.net > 0, level.c.net * rates.c.factor), else_=0)
    return (
        select(
            level.c.unit,
            level.c.currency,
            level.c.bucket,
            level.c.number,
            level.c.length,
            level.c.net,
            rates.c.factor.label("rate"),
            func.round(cast(keeps, Numeric), _DIGITS).label("keeps"),
            # As in each later round, or who is derived alone would have other last digits.
            func.round(cast(adds, Numeric), _DIGITS).label("adds"),
        )
        .select_from(rated)
        .where(where(level.c.unit.is_not(None)))
        .cte("carrying_step")
    )


def _accumulated(steps: CTE) -> FromClause:
    """What is carried after each step, by doubling: round k joins each step with those 2**k back.

    Composing `keeps x carried + adds` is associative, so the whole history of a unit needs only as
    many rounds as its length has binary digits; a recursion step by step would need its length.
    Units leave when they are done: who has a short history does not wait for the longest.
    """
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
            scan.c.length,
            scan.c.net,
            scan.c.rate,
            func.round(scan.c.keeps * back(scan.c.keeps, 1), _DIGITS),
            func.round(scan.c.adds + scan.c.keeps * back(scan.c.adds, 0), _DIGITS),
            scan.c.span * 2,
        ).where(scan.c.span < scan.c.length)
    )
    # Of two conditions the second follows, and is for the planner: it expects many more rows.
    done = and_(scan.c.span >= scan.c.length, scan.c.span < 2 * scan.c.length)
    return select(scan).where(done).subquery("accumulated")


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
