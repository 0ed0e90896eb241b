"""The usual questions, of the plain benchmark: what a dashboard and a person at a terminal ask."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from benchmarks.books import LAST_DAY
from tidemill.periods import add_months

__all__ = ["QUESTIONS"]

_MONTH = {"start": LAST_DAY.replace(day=1), "end": LAST_DAY}
_YEAR = {"start": add_months(LAST_DAY + timedelta(days=1), -12), "end": LAST_DAY}
_YEARS = {"start": date(LAST_DAY.year - 1, 1, 1), "end": LAST_DAY}

# Name in the report → metric, question, arguments.
QUESTIONS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "mrr": ("mrr", "current", {"at": LAST_DAY}),
    "mrr of 24 months": ("mrr", "series", {**_YEARS, "grain": "month"}),
    "mrr of 365 days": ("mrr", "series", {**_YEAR, "grain": "day"}),
    "mrr by plan": ("mrr", "current", {"at": LAST_DAY, "by": ["plan"]}),
    "mrr by customer": ("mrr", "current", {"at": LAST_DAY, "by": ["customer"]}),
    "waterfall of 24 months": ("mrr", "waterfall", {**_YEARS, "grain": "month"}),
    "waterfall by country": ("mrr", "waterfall", {**_YEAR, "grain": "month", "by": ["country"]}),
    "breakdown of a month": ("mrr", "breakdown", _MONTH),
    "movements of a month": ("mrr", "movements", _MONTH),
    "customers of 24 months": ("customers", "series", {**_YEARS, "grain": "month"}),
    "quick ratio of 24 months": ("quick_ratio", "series", {**_YEARS, "grain": "month"}),
    "logo churn of a month": ("churn", "logo", _MONTH),
    "churn of 24 months": ("churn", "series", {**_YEARS, "grain": "month"}),
    "retention of a month": ("retention", "nrr", _MONTH),
    "retention of a year": ("retention", "nrr", _YEAR),
    "retention by plan": ("retention", "nrr", {**_MONTH, "by": ["plan"]}),
    "mrr under another policy": (
        "mrr",
        "current",
        {"at": LAST_DAY, "set": {"discounts": "exclude"}},
    ),
}
