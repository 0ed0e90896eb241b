"""Money: exponents, exactness, the one rounding, and what people see."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, localcontext

import pytest
from babel.core import get_global

from tidemill.errors import UnknownCurrency
from tidemill.money import (
    EXPONENTS,
    RETIRED,
    currency_code,
    exponent,
    format_exact,
    format_money,
    is_currency,
    round_minor,
    to_major,
    to_minor,
)

NBSP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("code", "places"),
    [("USD", 2), ("eur", 2), ("JPY", 0), ("krw", 0), ("KWD", 3), ("TND", 3), ("CLF", 4),
     ("ISK", 0), ("UGX", 0), ("MGA", 2), ("HUF", 2), ("TWD", 2), ("UYW", 4), ("BHD", 3)],
)  # fmt: skip
def test_exponents_are_those_of_iso_4217(code: str, places: int) -> None:
    assert exponent(code) == places


def test_every_currency_in_use_somewhere_is_known() -> None:
    now = date(2026, 1, 2)
    tender = {
        code
        for history in get_global("territory_currencies").values()
        for code, _, until, is_tender in history
        if is_tender and (until is None or date(*until) > now)
    }
    assert tender - set(EXPONENTS) == set()


def test_books_of_the_past_can_be_read() -> None:
    assert {"HRK", "BGN", "ANG", "VEF"} <= RETIRED <= set(EXPONENTS)


def test_codes_are_three_capitals() -> None:
    assert all(len(code) == 3 and code.isupper() and code.isascii() for code in EXPONENTS)
    assert set(EXPONENTS.values()) == {0, 2, 3, 4}


@pytest.mark.parametrize(
    "code", ["", "US", "USDD", "XYZ", "XAU", "XDR", "XXX", "\uff35\uff33\uff24", "usd "]
)
def test_what_is_no_currency_is_refused(code: str) -> None:
    assert not is_currency(code)
    with pytest.raises(UnknownCurrency):
        exponent(code)


def test_codes_are_accepted_in_any_case() -> None:
    assert currency_code("uSd") == "USD"
    assert is_currency("jpy")


@pytest.mark.parametrize(
    ("minor", "whole"),
    [("0.5", "1"), ("-0.5", "-1"), ("0.4999999999999999999999999999999999", "0"), ("1.5", "2"),
     ("2.5", "3"), ("-2.5", "-3"), ("8333.333333", "8333"), ("-0.1", "0")],
)  # fmt: skip
def test_halves_are_rounded_away_from_zero(minor: str, whole: str) -> None:
    rounded = round_minor(Decimal(minor))
    assert rounded == Decimal(whole)
    assert not (rounded.is_zero() and rounded.is_signed()), "the negative zero is shown as -0"


def test_rounding_does_not_depend_on_the_surrounding_context() -> None:
    wide = Decimal("123456789012345678901234567890123456.5")
    with localcontext() as context:
        context.prec = 5
        context.rounding = "ROUND_DOWN"
        assert round_minor(wide) == int("123456789012345678901234567890123457")
        assert to_major(wide, "USD") == Decimal("1234567890123456789012345678901234.565")
        assert to_minor(to_major(wide, "KWD"), "KWD") == wide
        assert format_exact(wide) == "123456789012345678901234567890123456.500000"


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (1245000, "USD", "$12,450.00"),
        (120000, "EUR", "€1,200.00"),
        (-120000, "eur", "-€1,200.00"),
        (1234, "JPY", "¥1,234"),
        (5500, "KWD", "KWD 5.500"),
        (-5500, "KWD", "-KWD 5.500"),
        (123400, "CHF", "CHF 1,234.00"),
        (12345, "CLF", "CLF 1.2345"),
        (0, "USD", "$0.00"),
        (Decimal("-0.4"), "USD", "$0.00"),
        (Decimal("833.5"), "USD", "$8.34"),
        (5, "GBP", "£0.05"),
        (5, "AUD", "A$0.05"),
    ],
)
def test_display_without_a_locale(minor: Decimal | int, currency: str, text: str) -> None:
    assert format_money(minor, currency) == text


@pytest.mark.parametrize(
    ("minor", "currency", "locale", "text"),
    [
        (1245000, "USD", "en_US", "$12,450.00"),
        (-120000, "EUR", "de_DE", f"-1.200,00{NBSP}€"),
        (-120000, "EUR", "de-DE", f"-1.200,00{NBSP}€"),
        (123456, "JPY", "en_US", "¥123,456"),
        (5500, "KWD", "en_US", f"KWD{NBSP}5.500"),
        (123450, "HUF", "cs", f"1{NBSP}234,50{NBSP}HUF"),
        (12345678900, "INR", "hi_IN", "₹12,34,56,789.00"),
    ],
)
def test_display_in_a_locale(minor: int, currency: str, locale: str, text: str) -> None:
    assert format_money(minor, currency, locale=locale) == text


@pytest.mark.parametrize("locale", ["", "xx_YY", "not a locale", "../etc"])
def test_an_unknown_locale_is_refused(locale: str) -> None:
    with pytest.raises(ValueError, match="locale"):
        format_money(1, "USD", locale=locale)


@pytest.mark.parametrize(
    ("minor", "text"),
    [
        (Decimal(100000) / 12, "8333.333333"),
        (1245000, "1245000.000000"),
        (Decimal("-0.0000004"), "0.000000"),
        (Decimal("1E+6"), "1000000.000000"),
        (Decimal("0.0000005"), "0.000001"),
    ],
)
def test_exact_amounts_have_six_decimals(minor: Decimal | int, text: str) -> None:
    assert format_exact(minor) == text
