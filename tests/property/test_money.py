"""Laws of money that hold for every amount and currency."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tidemill.money import EXPONENTS, format_exact, format_money, round_minor, to_major, to_minor

amounts = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**18), max_value=10**18)
currencies = st.sampled_from(sorted(EXPONENTS))


@given(amounts, currencies)
def test_major_and_back_is_the_same_amount(minor: Decimal, currency: str) -> None:
    assert to_minor(to_major(minor, currency), currency) == minor


@given(amounts)
def test_rounding_moves_by_half_a_unit_at_most_and_is_odd(minor: Decimal) -> None:
    rounded = round_minor(minor)
    assert abs(rounded - minor) <= Decimal("0.5")
    assert rounded == rounded.to_integral_value()
    assert round_minor(-minor) == -rounded
    assert round_minor(rounded) == rounded


@given(amounts, currencies)
def test_display_reads_back_as_the_rounded_amount(minor: Decimal, currency: str) -> None:
    shown = format_money(minor, currency)
    digits = "".join(each for each in shown if each.isdigit() or each in "-.")
    # Signs such as "R$" and codes such as "KWD " hold neither digits, dots nor minus.
    assert to_minor(Decimal(digits), currency) == round_minor(minor)
    assert shown != f"-{format_money(0, currency)}"


@given(amounts)
def test_exact_text_is_within_a_millionth(minor: Decimal) -> None:
    text = format_exact(minor)
    assert len(text.partition(".")[2]) == 6
    assert abs(Decimal(text) - minor) <= Decimal("0.0000005")
