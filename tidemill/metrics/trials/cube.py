"""The cube over trials: what they can be cut by."""

from __future__ import annotations

from typing import Final

from tidemill.ledger import Fact, trials
from tidemill.metrics.cube import Cube, Measure
from tidemill.metrics.movement_cube import MOVEMENTS
from tidemill.models import metric_trial

__all__ = ["TRIALS", "TRIAL_ROWS"]

TRIAL_ROWS: Final = Fact(metric_trial, trials)
"""The trials under the configured policy, kept in a table."""

_SHARED: Final = (
    "source",
    "plan",
    "plan_name",
    "product",
    "product_name",
    "interval",
    "currency",
    "customer",
    "customer_name",
    "country",
)

TRIALS: Final = Cube(
    name="trials",
    measures=(Measure("trials", "How many trials there are.", "day"),),
    joins={
        name: MOVEMENTS.joins[name]
        for name in ("customers", "sources", "plans", "products", "subscriptions", "events")
    },
    dimensions=tuple(each for each in MOVEMENTS.dimensions if each.name in _SHARED),
)
"""The cube of trials; its base rows have the columns of `models.metric_trial`."""
