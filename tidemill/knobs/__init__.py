"""The knobs of a policy: every choice that definitions of subscription metrics differ in.

`KNOBS` has them in a fixed order; what each is, and how its values are written, says `Knob`.
"""

from __future__ import annotations

from tidemill.knobs.knob import LEDGER_LAYERS, Knob, KnobKind, KnobLayer, fraction, parameter
from tidemill.knobs.table import KNOB_NAMES, KNOBS

__all__ = [
    "KNOBS",
    "KNOB_NAMES",
    "LEDGER_LAYERS",
    "Knob",
    "KnobKind",
    "KnobLayer",
    "fraction",
    "parameter",
]
