"""A year's value: what ARR is twelve times of, by the knob `arr_basis`."""

from __future__ import annotations

from typing import Final

from tidemill.ledger import Measure
from tidemill.metrics.query import Query
from tidemill.policy import Policy

__all__ = ["ARR_BASES", "annual_measure", "times_a_year"]

ARR_BASES: Final = ("mrr_x12", "contract_value", "contract_days")
_MONTHS: Final = 12


def annual_measure(policy: Policy) -> Measure:
    """What the ledger measures for ARR: a month's value, or by contract a year's."""
    return "mrr" if policy.arr_basis == "mrr_x12" else policy.arr_basis


def times_a_year(q: Query) -> int:
    """How many times what the base rows measure makes ARR."""
    return _MONTHS if q.measure == "mrr" else 1
