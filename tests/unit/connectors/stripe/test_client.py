"""Reading from Stripe's API: paging, patience, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tidemill.connectors.stripe.client import API_VERSION, StripeClient, Throttle
from tidemill.errors import (
    ApiAccountRefused,
    ApiKeyRefused,
    ApiKeyWrongMode,
    ApiPermissionMissing,
    ApiRequestRefused,
    ApiUnreachable,
)
from tidemill.testing.stripe import FakeAccount, FakeStripe, Fault, Key

KEY = "rk_live_" + "x" * 24


class Time:
    """A clock that only goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(FakeAccount(map(_product, range(250)))) as server:
        yield server


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def client(fake: FakeStripe, time: Time) -> Iterator[StripeClient]:
    with _client(fake, time) as made:
        yield made


def _client(fake: FakeStripe, time: Time, *, rate: float = 0, key: str = KEY) -> StripeClient:
    throttle = Throttle(rate, clock=time.clock, sleep=time.sleep)
    return StripeClient(key, base_url=fake.url, throttle=throttle)


def _product(number: int) -> dict[str, Any]:
    return {"id": f"prod_{number}", "object": "product", "created": number, "name": str(number)}


def _subscription(items: int) -> dict[str, Any]:
    data = [
        {"id": f"si_{each}", "object": "subscription_item", "created": each, "discounts": []}
        for each in range(items)
    ]
    return {
        "id": "sub_1",
        "object": "subscription",
        "created": 1,
        "status": "active",
        "customer": "cus_1",
        "discounts": [],
        "latest_invoice": None,
        "items": {"object": "list", "data": data, "has_more": False},
    }


def test_a_list_is_read_to_its_end_newest_first(fake: FakeStripe, client: StripeClient) -> None:
    found = [each["id"] for each in client.listed("/v1/products")]
    assert found == [f"prod_{number}" for number in reversed(range(250))]
    assert [each.query.get("limit") for each in fake.seen] == [["100"]] * 3
    assert {each.version for each in fake.seen} == {API_VERSION}


def test_a_list_can_go_on_after_an_object(client: StripeClient) -> None:
    (page,) = client.pages("/v1/products", after="prod_3")
    assert [each["id"] for each in page.objects] == ["prod_2", "prod_1", "prod_0"]
    assert (page.last, page.has_more) == ("prod_0", False)


def test_a_nested_list_is_made_whole(fake: FakeStripe, client: StripeClient) -> None:
    fake.account.put(_subscription(items=23))
    cut = client.get("/v1/subscriptions/sub_1")
    assert (len(cut["items"]["data"]), cut["items"]["has_more"]) == (10, True)
    whole = client.subscription("sub_1")
    assert whole is not None
    assert [each["id"] for each in whole["items"]["data"]] == [f"si_{each}" for each in range(23)]
    assert whole["items"]["has_more"] is False
    assert client.subscription("sub_2") is None


@pytest.mark.parametrize("status", [429, 409, 500, 503])
def test_what_may_pass_is_tried_again(
    fake: FakeStripe, client: StripeClient, time: Time, status: int
) -> None:
    fake.faults = [Fault(status, times=3)]
    assert client.get("/v1/products/prod_1")["name"] == "1"
    assert len(fake.seen) == 4
    longest = [0.5, 1, 2]
    assert all(most / 2 <= slept <= most for slept, most in zip(time.slept, longest, strict=True))


def test_a_broken_connection_is_tried_again(fake: FakeStripe, client: StripeClient) -> None:
    fake.faults = [Fault(-1, times=2)]
    assert client.get("/v1/products/prod_1")["name"] == "1"


def test_the_wait_that_stripe_asks_for_is_kept(
    fake: FakeStripe, client: StripeClient, time: Time
) -> None:
    fake.faults = [Fault(429, headers={"Retry-After": "7"})]
    client.get("/v1/products/prod_1")
    assert time.slept == [7.0]


def test_stripe_may_say_that_another_try_is_no_use(fake: FakeStripe, client: StripeClient) -> None:
    fake.faults = [Fault(500, headers={"Stripe-Should-Retry": "false"})]
    with pytest.raises(ApiRequestRefused):
        client.get("/v1/products/prod_1")
    assert len(fake.seen) == 1


def test_long_waits_are_told(fake: FakeStripe, time: Time) -> None:
    told: list[tuple[str, float]] = []
    throttle = Throttle(0, clock=time.clock, sleep=time.sleep)

    def waiting(reason: str, pause_s: float) -> None:
        told.append((reason, pause_s))

    with StripeClient(KEY, base_url=fake.url, throttle=throttle, waiting=waiting) as client:
        fake.faults = [Fault(503, times=4)]
        client.get("/v1/products/prod_1")
    assert [reason for reason, _ in told] == ["503 On purpose."] * 2
    assert [pause_s for _, pause_s in told] == pytest.approx(time.slept[2:])


def test_patience_ends(fake: FakeStripe, client: StripeClient, time: Time) -> None:
    fake.faults = [Fault(503, times=100)]
    with pytest.raises(ApiUnreachable, match=r"failed 8 times.*503"):
        client.get("/v1/products/prod_1")
    assert len(fake.seen) == 8
    assert sum(time.slept) < 64


def test_requests_are_spaced(fake: FakeStripe, time: Time) -> None:
    with _client(fake, time, rate=10) as client:
        for _ in range(5):
            client.get("/v1/products/prod_1")
    assert time.now == pytest.approx(0.4)


def test_an_unknown_key_is_refused_without_showing_it() -> None:
    with FakeStripe(keys=[Key(KEY)]) as fake, _client(fake, Time(), key="rk_live_wrong") as client:
        with pytest.raises(ApiKeyRefused) as error:
            client.get("/v1/products")
        assert "wrong" not in str(error.value)
        assert len(fake.seen) == 1


def test_a_missing_permission_is_named() -> None:
    keys = [Key(KEY, frozenset({"charges"}))]
    with (
        FakeStripe(keys=keys) as fake,
        _client(fake, Time()) as client,
        pytest.raises(ApiPermissionMissing) as error,
    ):
        client.get("/v1/charges")
    assert "'Charges and Refunds: Read (rak_charge_read)'" in str(error.value)
    assert error.value.context["path"] == "/v1/charges"


def test_an_account_that_the_key_does_not_open_is_named() -> None:
    with FakeStripe() as fake, StripeClient(KEY, base_url=fake.url, account="acct_9") as client:
        with pytest.raises(ApiAccountRefused, match="does not open the account 'acct_9'"):
            client.get("/v1/products")
        assert len(fake.seen) == 1


@pytest.mark.parametrize(("key", "test_mode"), [("sk_test_a", False), ("rk_live_a", True)])
def test_a_key_of_the_wrong_mode_is_refused(fake: FakeStripe, key: str, *, test_mode: bool) -> None:
    with _client(fake, Time(), key=key) as client:
        with pytest.raises(ApiKeyWrongMode, match="nothing was read"):
            client.check_mode("stripe", test_mode=test_mode)
        client.check_mode("stripe", test_mode=not test_mode)
    assert not fake.seen


def test_what_is_not_there_is_told_from_what_is_refused(client: StripeClient) -> None:
    assert client.find("/v1/products/prod_x") is None
    with pytest.raises(ApiRequestRefused) as error:
        client.get("/v1/products", {"nonsense": 1})
    assert error.value.vendor_code == "parameter_unknown"
