"""The cube over MRR movements: what MRR and customer counts can be cut by."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, case, cast, func, literal

from tidemill.errors import InvalidDay
from tidemill.ledger import Fact, RollUp, derive
from tidemill.ledger.months import monthly_changes, monthly_cohorts, monthly_items
from tidemill.metrics.cube import Cube, Dimension, Join, Measure, Rollup, Scope
from tidemill.models import (
    metric_mrr_cohort_monthly,
    metric_mrr_daily,
    metric_mrr_item_monthly,
    metric_mrr_monthly,
    metric_mrr_movement,
)
from tidemill.money import exponent
from tidemill.periods import parse_day, period_start
from tidemill.vocabulary import Cause, ChurnReason, MovementType

__all__ = ["BANDS", "CUSTOMERS", "MOVEMENTS", "MRR", "MRR_MOVEMENTS"]

MRR_MOVEMENTS: Final = Fact(
    metric_mrr_movement,
    derive,
    rollups=(
        RollUp(metric_mrr_daily),
        RollUp(metric_mrr_item_monthly, monthly_items),
        RollUp(metric_mrr_monthly, monthly_changes),
        RollUp(metric_mrr_cohort_monthly, monthly_cohorts),
    ),
)
"""The movements of the configured policy, kept in a table."""

MRR: Final = Measure("mrr", "Monthly recurring revenue, native minor units.", "amount_minor")
CUSTOMERS: Final = Measure("customers", "Customers who became active, less those who stopped.",
                           "customer_delta")  # fmt: skip

BANDS: Final[tuple[tuple[str, int | None], ...]] = (
    ("<10", 10),
    ("10-50", 50),
    ("50-100", 100),
    ("100-500", 500),
    ("500-1k", 1_000),
    ("1k-5k", 5_000),
    ("5k+", None),
)
"""Band → the amount it ends before, in major units of the base currency."""

_NO_MRR: Final = "none"


def _product(scope: Scope) -> ColumnElement[Any]:
    """The item's own product, or else that of its plan."""
    return func.coalesce(scope.rows.c.product, scope["plans"].c.product)


def _interval(scope: Scope) -> ColumnElement[Any]:
    """``month``, ``year``, ``3 months``: the billing interval in words."""
    unit, number = scope.rows.c.interval, scope.rows.c.interval_count
    return case((number == 1, unit), else_=func.concat(number, " ", unit, "s"))


def _band(scope: Scope) -> ColumnElement[Any]:
    return _by_band(scope, {name: name for name, _ in BANDS} | {_NO_MRR: _NO_MRR})


def _band_order(scope: Scope) -> ColumnElement[Any]:
    return _by_band(scope, {name: place for place, (name, _) in enumerate(BANDS, 1)} | {_NO_MRR: 0})


def _by_band(scope: Scope, result: dict[str, Any]) -> ColumnElement[Any]:
    """The result of the band that the customer's MRR at the end of the range falls into."""
    level = func.coalesce(scope["customer_levels"].c.level_minor, 0)
    unit = Decimal(10) ** exponent(scope.base_currency)
    bounded = [(level < end * unit, literal(result[name])) for name, end in BANDS if end]
    return case((level == 0, literal(result[_NO_MRR])), *bounded, else_=literal(result["5k+"]))


def _upper(value: str) -> str:
    return value.upper()


def _lower(value: str) -> str:
    return value.lower()


def _month(value: str) -> date:
    try:
        return period_start(parse_day(value if value.count("-") > 1 else f"{value}-01"), "month")
    except InvalidDay as error:
        message = "Write YYYY-MM."
        raise ValueError(message) from error


MOVEMENTS: Final = Cube(
    name="movements",
    measures=(MRR, CUSTOMERS),
    rollups=(
        Rollup(metric_mrr_daily, metric_mrr_movement, ("source", "currency", "type")),
        Rollup(
            metric_mrr_item_monthly,
            metric_mrr_movement,
            (
                *("source", "currency", "plan", "plan_name"),
                *("product", "product_name", "interval"),
            ),
            by_month=True,
        ),
    ),
    joins={
        "customers": Join("customers", {"customer_id": lambda s: s.rows.c.customer_id}),
        "customer_levels": Join("customer_levels", {"customer_id": lambda s: s.rows.c.customer_id}),
        "sources": Join("sources", {"source_id": lambda s: s.rows.c.source_id}),
        "plans": Join(
            "plans", {"source_id": lambda s: s.rows.c.source_id, "plan": lambda s: s.rows.c.plan}
        ),
        "products": Join(
            "products",
            {"source_id": lambda s: s.rows.c.source_id, "product": _product},
            after=("plans",),
        ),
        "subscriptions": Join(
            "subscriptions", {"subscription_id": lambda s: s.rows.c.subscription_id}
        ),
        "events": Join("events", {"position": lambda s: s.rows.c.event_position}),
        # The state behind a movement; one whose event is an invoice's has none.
        "versions": Join(
            "subscription_versions", {"version_id": lambda s: s.rows.c.event_position}
        ),
    },
    dimensions=(
        Dimension(
            "source",
            "The connected source the subscription comes from.",
            "item",
            lambda s: s["sources"].c.name,
            joins=("sources",),
        ),
        Dimension("plan", "The plan's id in the billing system.", "item", lambda s: s.rows.c.plan),
        Dimension(
            "plan_name",
            "The plan's name.",
            "item",
            lambda s: s["plans"].c.name,
            joins=("plans",),
        ),
        Dimension(
            "product",
            "The product's id in the billing system.",
            "item",
            _product,
            joins=("plans",),
        ),
        Dimension(
            "product_name",
            "The product's name.",
            "item",
            lambda s: s["products"].c.name,
            joins=("products",),
        ),
        Dimension(
            "interval",
            "The billing interval: month, year, 3 months.",
            "item",
            _interval,
            read=_lower,
        ),
        Dimension(
            "currency",
            "The currency the subscription is billed in.",
            "item",
            lambda s: s.rows.c.currency,
            read=_upper,
        ),
        Dimension(
            "customer",
            "The customer's id in the billing system.",
            "customer",
            lambda s: s["customers"].c.external_id,
            joins=("customers",),
            key=lambda s: s.rows.c.customer_id,
        ),
        Dimension(
            "customer_name",
            "The customer's name.",
            "customer",
            lambda s: s["customers"].c.name,
            joins=("customers",),
        ),
        Dimension(
            "country",
            "The customer's country, ISO 3166-1 alpha-2.",
            "customer",
            lambda s: func.upper(s["customers"].c.country),
            joins=("customers",),
            read=lambda value: value if value == "unknown" else value.upper(),
        ),
        Dimension(
            "cohort_month",
            "The month in which the customer first became active, as its first day.",
            "customer",
            lambda s: s.rows.c.cohort_month,
            unit="day",
            read=_month,
            of_history=True,
        ),
        Dimension(
            "mrr_band",
            "What the customer pays a month at the end of the range, in major base currency units.",
            "customer",
            _band,
            joins=("customer_levels",),
            values=(_NO_MRR, *(name for name, _ in BANDS)),
            order=_band_order,
        ),
        Dimension(
            "type",
            "The movement's type.",
            "movement",
            lambda s: s.rows.c.type,
            values=tuple(MovementType),
            read=_lower,
        ),
        Dimension(
            "cause",
            "What made the movement: an event, or the timer that ran out.",
            "movement",
            lambda s: s.rows.c.cause,
            values=tuple(Cause),
            read=_lower,
        ),
        Dimension(
            "churn_reason",
            "Why the customer churned; unknown for other movements too.",
            "movement",
            lambda s: cast(s.rows.c.churn_reason, Text),
            values=tuple(ChurnReason),
            read=_lower,
        ),
        Dimension(
            "cancel_reason",
            "Why the subscription was cancelled, in the billing system's word.",
            "movement",
            lambda s: s["versions"].c.cancel_reason,
            joins=("versions",),
        ),
        Dimension(
            "cancel_feedback",
            "What the customer said about leaving, in the billing system's word.",
            "movement",
            lambda s: s["versions"].c.cancel_feedback,
            joins=("versions",),
        ),
    ),
)
"""The cube of MRR movements; its base rows have the columns of `models.metric_mrr_movement`."""
