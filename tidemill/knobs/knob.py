"""One knob: its values, how they are written, and which step of the derivation it acts on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal
from zoneinfo import available_timezones

from tidemill.errors import InvalidDay, did_you_mean
from tidemill.periods import is_zone, parse_day

__all__ = ["LEDGER_LAYERS", "Knob", "KnobKind", "KnobLayer", "fraction", "parameter"]

KnobLayer = Literal["history", "state", "value", "movement", "currency", "level", "rate", "cost"]
"""Which step of the derivation a knob acts on, in the order of the steps."""

LEDGER_LAYERS = frozenset({"history", "state", "value", "movement", "currency"})
"""Knobs of these layers change the ledger's rows; others only what questions make of them."""

KnobKind = Literal["choice", "ratio", "day", "zone", "number"]
"""How values are written: one of a list, a positive ratio, a day, an IANA zone, a count."""

_RATIO = re.compile(r"([0-9]{1,6})(?:/([0-9]{1,6})|\.([0-9]{1,9}))?")  # 4, 52/12 or 30.44


@dataclass(frozen=True, slots=True)
class Knob:
    """One choice of definition.

    ``values`` lists what may be chosen, the default first; a form such as ``after:N`` stands for
    ``after:`` and a whole number up to ``number_max``.
    """

    name: str
    values: tuple[str, ...]
    effect: str
    layer: KnobLayer
    kind: KnobKind = "choice"
    number_max: int = 0

    @property
    def default(self) -> str:
        """The value of the default policy, in canonical form."""
        return self.values[0]

    def document(self) -> dict[str, Any]:
        """The knob as JSON."""
        return {
            "name": self.name,
            "default": self.default,
            "values": list(self.values),
            "layer": self.layer,
            "kind": self.kind,
            "effect": self.effect,
        }

    def read(self, value: object) -> str:
        """The canonical form of a value.

        >>> from tidemill.knobs import KNOB_NAMES
        >>> KNOB_NAMES["past_due"].read("after:030")
        'after:30'
        >>> KNOB_NAMES["weeks_per_month"].read("13/3")
        '52/12'

        Raises: ValueError with a hint as its second argument when the knob has no such value.
        """
        text = str(value).strip()
        match self.kind:
            case "choice":
                return self._choice(text)
            case "ratio":
                return self._ratio(text)
            case "day":
                return self._day(text)
            case "zone":
                return self._zone(text)
            case "number":
                return self._number(text, low=0)

    def _choice(self, text: str) -> str:
        if text in self.values and not text.endswith(":N"):
            return text
        word, colon, number = text.partition(":")
        if colon and f"{word}:N" in self.values:
            return f"{word}:{self._number(number, low=1)}"
        fallback = f"Values: {', '.join(self.values)}."
        hint = did_you_mean(text, self.values, otherwise="")
        raise ValueError(f"has no value {text!r}", f"{hint} {fallback}".strip())

    def _number(self, text: str, *, low: int) -> str:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= self.number_max:
            raise ValueError(
                f"needs a whole number, not {text!r}", f"Write {low} to {self.number_max}."
            )
        return str(int(text))

    def _ratio(self, text: str) -> str:
        found = _RATIO.fullmatch(text)
        if not found or (found[2] and not int(found[2])) or not fraction(text):
            raise ValueError(f"needs a positive ratio, not {text!r}", f"Write {self.default}.")
        ratio = fraction(text)
        if ratio == fraction(self.default):
            return self.default
        if found[2]:
            return str(ratio)
        whole, _, places = text.partition(".")
        places = places.rstrip("0")
        return f"{int(whole)}.{places}" if places else str(int(whole))

    def _day(self, text: str) -> str:
        try:
            return text and parse_day(text).isoformat()
        except InvalidDay as error:
            raise ValueError(f"needs a day, not {text!r}", error.hint) from error

    def _zone(self, text: str) -> str:
        if not is_zone(text):
            fallback = "Use an IANA name such as Europe/Prague."
            hint = did_you_mean(text, available_timezones(), otherwise=fallback)
            raise ValueError(f"needs an IANA time zone, not {text!r}", hint)
        return text


def fraction(value: str) -> Fraction:
    """The exact ratio that a value stands for.

    >>> fraction("52/12"), fraction("4.33")
    (Fraction(13, 3), Fraction(433, 100))
    """
    return Fraction(value)


def parameter(value: str) -> tuple[str, int | None]:
    """A value's word and its number, None when it has none.

    >>> parameter("after:30"), parameter("active")
    (('after', 30), ('active', None))
    """
    word, colon, number = value.partition(":")
    return word, int(number) if colon else None
