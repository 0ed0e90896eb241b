"""Stripe's amounts and currencies in ours.

Stripe sends whole numbers of the smallest unit *it* uses for a currency, which is not always the
one of ISO 4217: it keeps two decimals for the Icelandic króna and the Ugandan shilling, which have
none, and none for the Malagasy ariary, which has two (stripe.md §3.8). Everything behind this
module is in ISO 4217 minor units.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from tidemill.connectors.fields import Fields
from tidemill.money import exponent, is_currency

__all__ = ["EXACT", "amount", "currency", "minor", "plain", "twelve_places", "whole_amount"]

# Wide enough that products of a 12-place amount and a quantity come out exact.
EXACT: Final = Context(prec=60)

_NO_DECIMALS: Final = frozenset(
    {
        *("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA"),
        *("PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"),
    }
)
_THREE_DECIMALS: Final = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
_TWO_DECIMALS: Final = 2
_TWELVE_PLACES: Final = Decimal("1e-12")


def minor(wire: Decimal, code: str) -> Decimal:
    """An amount as Stripe sends it, in minor units of its currency (upper-case ISO 4217).

    >>> minor(Decimal(150000), "ISK"), minor(Decimal(500), "MGA"), minor(Decimal("0.35"), "USD")
    (Decimal('1500'), Decimal('50000'), Decimal('0.35'))
    """
    shift = exponent(code) - _wire_exponent(code)
    if not shift:
        return wire
    moved = wire.scaleb(shift, context=EXACT)
    # 1500.00 króna and 5E+4 ariary are whole numbers; write them as such.
    return moved.quantize(Decimal(1)) if moved == moved.to_integral_value() else moved


def currency(fields: Fields, key: str = "currency") -> str:
    """The upper-case code under a key; empty after noting a missing or unknown one."""
    code = fields.needed(key).upper()
    if code and not is_currency(code):
        fields.refuse(key, f"{code[:20]!r} is not an ISO 4217 currency")
        return ""
    return code


def amount(fields: Fields, key: str) -> Decimal | None:
    """An amount that may be fractional, on the wire: `<key>_decimal` when there, else `<key>`."""
    exact = fields.decimal(f"{key}_decimal")
    return fields.decimal(key) if exact is None else exact


def whole_amount(fields: Fields, key: str, code: str) -> int | None:
    """A total in minor units; a total with a fraction of them is a problem."""
    wire = fields.integer(key)
    if wire is None or not code:
        return None
    total = minor(Decimal(wire), code)
    if total != total.to_integral_value():
        fields.refuse(key, f"{wire} on the wire is a fraction of a minor unit of {code}")
        return None
    return int(total)


def plain(amount: Decimal) -> str:
    """Plain digits, never an exponent.

    >>> plain(Decimal("5E+4"))
    '50000'
    """
    return format(amount, "f")


def twelve_places(amount: Decimal) -> Decimal:
    """An amount with twelve decimals, as many as Stripe itself keeps; whole ones stay whole.

    >>> twelve_places(Decimal("66.6666666666666")), twelve_places(Decimal("190.00"))
    (Decimal('66.666666666667'), Decimal('190'))
    """
    if amount == amount.to_integral_value():
        return amount.quantize(Decimal(1), context=EXACT)
    return amount.quantize(_TWELVE_PLACES, rounding=ROUND_HALF_EVEN, context=EXACT)


def _wire_exponent(code: str) -> int:
    if code in _NO_DECIMALS:
        return 0
    return 3 if code in _THREE_DECIMALS else _TWO_DECIMALS
