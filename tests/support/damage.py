"""JSON of any shape, and Stripe events of which parts were replaced by it: for fuzzing."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from tests.support.stripe import event, fixture, subscription

__all__ = ["SAMPLES", "anything", "damaged"]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["usd", "active", "month", "1e400", "-0", "\0", "", "inf", 10**400])
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)
"""Any JSON at all, with a taste for what has broken readers before."""

SAMPLES: list[dict[str, Any]] = [
    event("customer.subscription.updated", subscription(), previous={"status": "trialing"}),
    event("customer.subscription.updated", fixture("subscription.pre_basil")),
    event("invoice.paid", fixture("invoice.new_shape")),
    event("invoice.paid", fixture("invoice.pre_basil")),
    event("charge.refunded", fixture("charge"), api_version=None, previous={"amount_refunded": 0}),
    event("refund.created", {**fixture("refund"), "customer": "cus_T"}),
    event("charge.dispute.created", {**fixture("dispute"), "charge": fixture("charge")}),
    *(event("price.created", each) for each in fixture("prices").values()),
]
"""Events of every family, and of old and new versions."""


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything inside a JSON value."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            found += _places(value[key], (*path, key))
    return found


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A sample in which some values were replaced by anything at all."""
    raw: dict[str, Any] = deepcopy(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_places(raw)))
        holder: Any = raw
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = draw(anything)
        raw = deepcopy(raw)
    return raw
