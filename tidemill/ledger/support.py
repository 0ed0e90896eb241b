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

# The values that are not honoured yet.
_REFUSED: Final = {"trials_in_mrr": frozenset({"shadow"})}


def require_supported(policy: Policy) -> None:
    """Refuses a policy that asks the ledger for what it does not do yet.

    Raises: KnobNotSupported naming the first such knob, in the order of `KNOBS`.
    """
    for knob in KNOBS:
        value = str(getattr(policy, knob.name))
        if knob.layer in _LEDGER_LAYERS and value in _REFUSED.get(knob.name, ()):
            supported = [each for each in knob.values if each not in _REFUSED[knob.name]]
            raise KnobNotSupported(knob.name, value, supported=supported)
