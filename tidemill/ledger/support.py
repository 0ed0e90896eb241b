"""Which knob values the derivation honours; the others are refused, never ignored in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidemill.errors import KnobNotSupported
from tidemill.knobs import KNOBS

if TYPE_CHECKING:
    from tidemill.policy import Policy

__all__ = ["require_supported"]

# The layers whose knobs shape the ledger; questions honour the others.
_LEDGER_LAYERS: Final = frozenset({"history", "state", "value", "movement", "currency"})

# Honoured at every value. The last two only say more about knobs that are still at their default.
_HONOURED: Final = frozenset(
    {
        "tz",
        "discounts",
        "tax",
        "weeks_per_month",
        "days_per_month",
        "close_lag_days",
        "fx_constant_date",
    }
)


def require_supported(policy: Policy) -> None:
    """Refuses a policy that asks the ledger for what it does not do yet.

    Raises: KnobNotSupported naming the first such knob, in the order of `KNOBS`.
    """
    for knob in KNOBS:
        if knob.layer not in _LEDGER_LAYERS or knob.name in _HONOURED:
            continue
        value = str(getattr(policy, knob.name))
        if value != knob.default:
            raise KnobNotSupported(knob.name, value, supported=[knob.default])
