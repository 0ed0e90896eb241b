"""What stands at the close of a day, without the movements that led there.

A level is the sum of all movements up to its day. Where a policy dates every movement when the
level changes, and leaves none out, the levels themselves say the same; and of a history they need
only the states that hold then, no changes, no buckets and no names of movements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Date, SmallInteger, and_, case, cast, func, literal, select

from tidemill.ledger.activity import keeps_free
from tidemill.ledger.changes import LINE
from tidemill.ledger.steps import steps
from tidemill.ledger.versions import looks_back
from tidemill.periods import instants

if TYPE_CHECKING:
    from datetime import date, datetime

    from sqlalchemy import Select

    from tidemill.ledger.levels import Measure
    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["held_before", "standing", "stands_by_itself"]

# Buckets that end on the day of each of their changes.
_DATED_BY_DAY: Final = ("day", "none")
# Rates that levels do not carry with them.
_RATES_OF_DAYS: Final = ("period_end", "constant")


def stands_by_itself(policy: Policy) -> bool:
    """Whether `standing` gives what the movements of the policy sum to.

    Not where a movement waits for others of its window or month, where short spells are erased,
    where levels carry the rates of their movements or renewals, or where who is a customer depends
    on what was paid before.
    """
    return (
        policy.netting in _DATED_BY_DAY
        and policy.join_churn_same_month == "count"
        and policy.fx in _RATES_OF_DAYS
        and not keeps_free(policy)
    )


def held_before(policy: Policy, at: date) -> datetime | None:
    """The instant right before which the states hold that `standing` reads; None if it reads more.

    More is read where a knob looks back, also for evidence of what was invoiced or paid.
    """
    if looks_back(policy) or policy.activation != "status_active":
        return None
    return instants(at, at, policy.tz).end_exclusive


def standing(
    relations: Relations, policy: Policy, at: date, *, measure: Measure = "mrr"
) -> Select[tuple[object, ...]]:
    """What every item is worth at the close of a day, under a policy that `stands_by_itself`.

    Shape: the `LINE` columns, day (always `at`), amount_minor, and customer_delta: 1 on one row of
           each active customer, else 0. Sums over them are those over the movements up to the day.
    Raises: KnobNotSupported.
    """
    end = instants(at, at, policy.tz).end_exclusive
    level = steps(relations, policy, measure, told="spans", end=end).levels
    place = func.row_number().over(
        partition_by=level.c.customer_id, order_by=level.c.amount_minor.desc()
    )
    is_counted = and_(level.c.amount_minor > 0, place == 1)
    return select(
        *(level.c[name] for name in LINE),
        cast(literal(at), Date).label("day"),
        level.c.amount_minor,
        cast(case((is_counted, 1), else_=0), SmallInteger).label("customer_delta"),
    )
