"""Money: ISO 4217 minor units, display, and the only place where an amount is rounded.

Amounts are exact decimals in *minor units* (cents) everywhere inside Tidemill. How many minor units
make a major one depends on the currency: 100 for most, 1 for the yen, 1000 for the Kuwaiti dinar.
Display rounds half up, away from zero, once.
"""

from __future__ import annotations

import re
from copy import copy
from decimal import ROUND_HALF_UP, Context, Decimal
from types import MappingProxyType

from tidemill.errors import UnknownCurrency

__all__ = [
    "EXPONENTS",
    "RETIRED",
    "currency_code",
    "exponent",
    "format_exact",
    "format_money",
    "is_currency",
    "round_minor",
    "to_major",
    "to_minor",
]

_ACTIVE: dict[int, str] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD "
        "CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP "
        "GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK "
        "LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO "
        "NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS "
        "SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST "
        "XAD XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
# Withdrawn since 2009. Books reach back, so their amounts must still be readable.
_WITHDRAWN: dict[int, str] = {
    0: "BYR",
    2: "ANG BGN CUC EEK HRK LTL LVL MRO SKK SLL STD TMM USS VEF ZMK ZWL",
}


def _table(by_exponent: dict[int, str]) -> dict[str, int]:
    return {code: places for places, codes in by_exponent.items() for code in codes.split()}


RETIRED: frozenset[str] = frozenset(_table(_WITHDRAWN))
"""Currencies that ISO 4217 has withdrawn since 2009."""

EXPONENTS: MappingProxyType[str, int] = MappingProxyType(_table(_WITHDRAWN) | _table(_ACTIVE))
"""Currency code → decimal places of its minor unit; codes without one (XAU, XDR) are absent."""

# Signs understood without their country. A bare "$" is the US dollar; other dollars keep a letter.
_SIGNS = {
    "AUD": "A$",
    "BRL": "R$",
    "CAD": "CA$",
    "CNY": "CN¥",
    "EUR": "€",
    "GBP": "£",
    "HKD": "HK$",
    "ILS": "₪",
    "INR": "₹",
    "JPY": "¥",
    "KRW": "₩",
    "MXN": "MX$",
    "NGN": "₦",
    "NZD": "NZ$",
    "PHP": "₱",
    "TRY": "₺",
    "TWD": "NT$",
    "UAH": "₴",
    "USD": "$",
    "VND": "₫",
}

# Wide enough for any NUMERIC that a sum of twelfths can grow into; the default context's 28 digits
# would round silently.
_EXACT = Context(prec=400, rounding=ROUND_HALF_UP)
_WHOLE = Decimal(1)
_SIX_PLACES = Decimal("0.000001")


def is_currency(code: str) -> bool:
    """Whether `code`, in any case, is an ISO 4217 currency with a minor unit.

    >>> is_currency("usd"), is_currency("XYZ")
    (True, False)
    """
    return code.upper() in EXPONENTS


def currency_code(code: str) -> str:
    """The canonical, upper-case form of a currency code.

    Raises: UnknownCurrency when there is no such currency.
    """
    upper = code.upper()
    if upper not in EXPONENTS:
        raise UnknownCurrency(code, EXPONENTS)
    return upper


def exponent(currency: str) -> int:
    """How many decimal places the currency's minor unit has: 2 for USD, 0 for JPY, 3 for KWD.

    Raises: UnknownCurrency when there is no such currency.
    """
    return EXPONENTS[currency_code(currency)]


def round_minor(minor: Decimal) -> Decimal:
    """The amount in whole minor units, halves away from zero. Never the negative zero.

    >>> round_minor(Decimal("833.5")), round_minor(Decimal("-833.5")), round_minor(Decimal("-0.4"))
    (Decimal('834'), Decimal('-834'), Decimal('0'))
    """
    return _rounded(minor, _WHOLE)


def _rounded(value: Decimal, unit: Decimal) -> Decimal:
    rounded = value.quantize(unit, rounding=ROUND_HALF_UP, context=_EXACT)
    return abs(rounded) if rounded.is_zero() else rounded


def to_major(minor: Decimal | int, currency: str) -> Decimal:
    """The same amount in major units, exactly.

    >>> to_major(1245000, "USD"), to_major(5500, "KWD"), to_major(1234, "JPY")
    (Decimal('12450.00'), Decimal('5.500'), Decimal('1234'))
    """
    return Decimal(minor).scaleb(-exponent(currency), context=_EXACT)


def to_minor(major: Decimal | int, currency: str) -> Decimal:
    """The same amount in minor units, exactly; it may be fractional.

    >>> to_minor(Decimal("12.345"), "USD")
    Decimal('1234.5')
    """
    return Decimal(major).scaleb(exponent(currency), context=_EXACT)


def format_exact(minor: Decimal | int) -> str:
    """The amount in minor units with exactly six decimals, as JSON carries it.

    >>> format_exact(Decimal(100000) / 12)
    '8333.333333'
    """
    return f"{_rounded(Decimal(minor), _SIX_PLACES):f}"


def format_money(minor: Decimal | int, currency: str, *, locale: str | None = None) -> str:
    """The amount for people: rounded to whole minor units, grouped, with its sign or code.

    Without a locale the result is the same on every machine. A `locale` such as ``"de_DE"`` gives
    that locale's separators, sign and order.

    >>> format_money(Decimal("1245000.4"), "USD"), format_money(-120000, "EUR")
    ('$12,450.00', '-€1,200.00')
    >>> format_money(1234, "JPY"), format_money(5500, "KWD")
    ('¥1,234', 'KWD 5.500')

    Raises: UnknownCurrency; ValueError for a locale that does not exist.
    """
    code = currency_code(currency)
    major = to_major(round_minor(Decimal(minor)), code)
    if locale is not None:
        return _localised(major, code, locale)
    minus = "-" if major < 0 else ""
    sign = _SIGNS.get(code, f"{code} ")
    return f"{minus}{sign}{abs(major):,.{EXPONENTS[code]}f}"


def _localised(major: Decimal, code: str, locale: str) -> str:
    # Babel's data take a quarter of a second to load, so only those who localise wait for them.
    from babel.core import Locale, UnknownLocaleError

    try:
        known = Locale.parse(locale.replace("-", "_"))
    except (ValueError, UnknownLocaleError) as error:
        message = f"{locale!r} is not a known locale."
        raise ValueError(message) from error
    # Decimal places are those of ISO 4217: CLDR drops them where coins have become worthless.
    places = EXPONENTS[code]
    pattern = copy(known.currency_formats["standard"])
    pattern.frac_prec = (places, places)
    text = str(pattern.apply(major, known, currency=code, currency_digits=False))
    # CLDR asks for a space between a code and its number, Babel leaves it out: KWD5 → KWD 5.
    return re.sub(r"(?<=[A-Za-z])(?=[0-9])", "\N{NO-BREAK SPACE}", text)
