"""The colours of all charts, told apart also by those who see few colours.

Source: M. Okabe, K. Ito, "Color Universal Design", 2008; its yellow is left out, since it is lost
on white.
"""

from __future__ import annotations

from itertools import product
from typing import Final

__all__ = ["EARLIER", "GAIN", "HEAT", "LOOKS_MAX", "LOSS", "PALETTE", "TOTAL", "look"]

GAIN: Final = "#0072B2"  # blue
LOSS: Final = "#D55E00"  # vermilion
TOTAL: Final = "#595959"
EARLIER: Final = "#999999"
"""What stands beside for comparison."""

PALETTE: Final = (GAIN, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", LOSS, "#000000")
"""The colours of groups, in this order."""

HEAT: Final = ((0.0, "#FFFFFF"), (1.0, GAIN))
"""From nothing left to everything left: one hue, so that lightness alone tells it."""

_MARKERS: Final = ("circle", "square", "diamond", "triangle-up", "cross", "star")
_LOOKS: Final = tuple((colour, marker) for marker, colour in product(_MARKERS, PALETTE))

LOOKS_MAX: Final = len(_LOOKS)
"""How many groups look different from one another."""


def look(place: int) -> tuple[str, str]:
    """Colour and marker of a group: where the colours run out, the marker changes.

    >>> look(0), look(7)
    (('#0072B2', 'circle'), ('#0072B2', 'square'))
    """
    return _LOOKS[place % len(_LOOKS)]
