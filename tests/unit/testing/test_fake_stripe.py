"""The fake answers as Stripe's documentation says: ids, cuts, filters, versions, limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from tests.support.stripe import fixture
from tidemill.connectors.stripe.client import StripeClient, Throttle
from tidemill.demo import generate
from tidemill.errors import ApiRequestRefused
from tidemill.testing.stripe import FakeAccount, FakeStripe


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeStripe]:
    account = FakeAccount.of_events(generate(60, 12, seed=3, end=date(2026, 6, 30)))
    account.put(next(each for each in fixture("prices").values() if each.get("tiers")))
    with FakeStripe(account) as server:
        yield server


@pytest.fixture
def client(fake: FakeStripe) -> Iterator[StripeClient]:
    with StripeClient("rk_live_x", base_url=fake.url, throttle=Throttle(0)) as made:
        yield made


def _old(fake: FakeStripe, path: str, version: str) -> Any:
    with StripeClient("rk_live_x", base_url=fake.url, throttle=Throttle(0)) as client:
        client._http.headers["Stripe-Version"] = version
        return client.get(path, {"limit": 1, "status": "all"})["data"][0]


def test_canceled_subscriptions_must_be_asked_for(client: StripeClient) -> None:
    running = [each["status"] for each in client.listed("/v1/subscriptions")]
    every = [each["status"] for each in client.listed("/v1/subscriptions", {"status": "all"})]
    over = [each for each in every if each in {"canceled", "incomplete_expired"}]
    assert "canceled" in over
    assert sorted(every) == sorted(running + over)


def test_discounts_are_ids_until_expanded(client: StripeClient) -> None:
    plain = {each["id"]: each for each in client.listed("/v1/subscriptions")}
    found = next(each for each in plain.values() if each["discounts"])
    assert all(isinstance(each, str) for each in found["discounts"])
    path = f"/v1/subscriptions/{found['id']}"
    named = client.get(path, {"expand": ["discounts"]})["discounts"][0]
    assert isinstance(named["source"]["coupon"], str)
    whole = client.get(path, {"expand": ["discounts.source.coupon"]})["discounts"][0]
    assert whole["source"]["coupon"]["object"] == "coupon"


def test_tiers_must_be_asked_for(client: StripeClient) -> None:
    path = "/v1/prices"
    assert not any("tiers" in each for each in client.listed(path))
    assert any("tiers" in each for each in client.listed(path, {"expand": ["data.tiers"]}))


def test_four_levels_are_expanded_and_no_more(client: StripeClient) -> None:
    with pytest.raises(ApiRequestRefused, match="more than 4 levels"):
        client.page("/v1/subscriptions", {"expand": ["data.items.data.price.tiers"]})
    with pytest.raises(ApiRequestRefused, match="cannot be expanded"):
        client.page("/v1/subscriptions", {"expand": ["data.nonsense"]})


def test_lists_are_cut_by_created_and_by_type(client: StripeClient) -> None:
    times = sorted(each["created"] for each in client.listed("/v1/invoices"))
    middle = times[len(times) // 2]
    early = list(client.listed("/v1/invoices", {"created": {"lt": middle}}))
    late = list(client.listed("/v1/invoices", {"created": {"gte": middle}}))
    assert len(early) + len(late) == len(times)
    paid = {"types": ["invoice.paid"]}
    assert {each["type"] for each in client.listed("/v1/events", paid)} == {"invoice.paid"}


def test_a_deleted_customer_is_a_stub_and_in_no_list(
    fake: FakeStripe, client: StripeClient
) -> None:
    key = next(client.listed("/v1/customers"))["id"]
    held = fake.account.find(key)
    assert held is not None
    fake.account.delete("customer", key)
    assert key not in {each["id"] for each in client.listed("/v1/customers")}
    assert client.get(f"/v1/customers/{key}") == {"id": key, "object": "customer", "deleted": True}
    fake.account.put(held)


def test_older_versions_keep_facts_where_they_were(fake: FakeStripe) -> None:
    new = _old(fake, "/v1/subscriptions", "2026-10-28.endive")
    old = _old(fake, "/v1/subscriptions", "2024-06-20")
    (item,) = old["items"]["data"][:1]
    assert "current_period_end" not in item
    assert old["current_period_end"] == new["items"]["data"][0]["current_period_end"]


def test_backwards_paging_gives_the_same_objects(client: StripeClient) -> None:
    forward = [each["id"] for each in client.listed("/v1/customers")]
    page = client.page("/v1/customers", {"ending_before": forward[-1], "limit": 5})
    assert [each["id"] for each in page.objects] == forward[-6:-1]
    assert page.has_more
