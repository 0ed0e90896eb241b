"""Which key opens which account, and whom the request names."""

from __future__ import annotations

import pytest

from tidemill.cli.stripe_accounts import client_for, key_for
from tidemill.errors import ApiAccountRefused, ApiKeyMissing
from tidemill.settings import load_settings
from tidemill.testing.stripe import FakeAccount, FakeStripe


@pytest.mark.parametrize(
    ("configured", "source", "key"),
    [
        ("rk_1", "stripe", "rk_1"),
        ("rk_1", "eu", "rk_1"),
        ("rk_1,eu=rk_2", "stripe", "rk_1"),
        ("rk_1,eu=rk_2", "eu", "rk_2"),
        ("rk_1,eu=rk_2", "eu:acct_9", "rk_2"),
        ("rk_1,eu=rk_2", "us", None),
        ("eu=rk_2", "stripe", None),
    ],
)
def test_a_source_has_its_own_key_or_the_only_one(
    monkeypatch: pytest.MonkeyPatch, configured: str, source: str, key: str | None
) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", configured)
    assert key_for(load_settings(), source) == key


def test_the_only_key_is_not_for_sources_it_does_not_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "rk_1")
    assert key_for(load_settings(), "eu", served={"stripe"}) is None
    assert key_for(load_settings(), "stripe", served={"stripe"}) == "rk_1"


def test_without_a_key_the_source_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ApiKeyMissing, match="STRIPE_API_KEY is not set"):
        client_for(load_settings(), "stripe")
    monkeypatch.setenv("STRIPE_API_KEY", "eu=rk_2")
    with pytest.raises(ApiKeyMissing, match="has none for us"):
        client_for(load_settings(), "us")


def test_a_connected_account_is_named_in_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = FakeAccount([{"id": "prod_2", "object": "product", "created": 2}])
    own = FakeAccount([{"id": "prod_1", "object": "product", "created": 1}])
    with FakeStripe(own, connected={"acct_1": theirs}) as fake:
        monkeypatch.setenv("STRIPE_API_KEY", "rk_live_1")
        monkeypatch.setenv("TIDEMILL_STRIPE_API_BASE", fake.url)
        for source, product in (("stripe", "prod_1"), ("stripe:acct_1", "prod_2")):
            with client_for(load_settings(), source) as client:
                assert [each["id"] for each in client.listed("/v1/products")] == [product]
        with (
            client_for(load_settings(), "stripe:acct_2") as client,
            pytest.raises(ApiAccountRefused),
        ):
            client.get("/v1/products")
