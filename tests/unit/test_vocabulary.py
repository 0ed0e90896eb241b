"""The canonical words are those of the contract."""

from __future__ import annotations

import ast
import inspect
from enum import StrEnum

import pytest

from tidemill import vocabulary

WORDS = [getattr(vocabulary, name) for name in vocabulary.__all__]

CONTRACT = {
    "SubscriptionStatus": "incomplete trialing active past_due unpaid paused canceled",
    "MovementType": "new expansion contraction churn reactivation",
    "Interval": "day week month year",
    "PricingModel": "flat tiered volume package usage",
    "UsageType": "licensed metered",
    "DiscountDuration": "once repeating forever",
    "InvoiceStatus": "draft open paid void uncollectible",
    "LineKind": "subscription usage addon proration tax discount credit other",
    "PaymentKind": "succeeded failed refunded refund_failed disputed dispute_won",
    "PaymentMethod": "card bank_transfer direct_debit wallet paypal crypto other",
    "Confidence": "observed reconstructed inferred",
    "ExpenseCategory": "program salaries tools agencies overhead cogs other",
    "ChurnReason": "voluntary involuntary unknown",
}


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_members_are_those_of_the_contract(name: str) -> None:
    assert [member.value for member in getattr(vocabulary, name)] == CONTRACT[name].split()


@pytest.mark.parametrize("words", WORDS)
def test_every_member_is_explained_in_a_sentence(words: type[StrEnum]) -> None:
    (body,) = ast.parse(inspect.getsource(words)).body
    assert isinstance(body, ast.ClassDef)
    sentences = [
        node.value.value
        for node in body.body[1:]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    assert len(sentences) == len(words)
    assert all(isinstance(each, str) and each.endswith(".") for each in sentences)


@pytest.mark.parametrize("words", WORDS)
def test_values_are_lower_case_names(words: type[StrEnum]) -> None:
    assert all(member.value == member.name.lower() for member in words)
