"""Every request our client makes is accepted by Stripe's own mock, which knows the whole API.

It is built with Go into a scratch folder. Its answers are the same for everybody and say nothing
about our reading; for that there is the fake in `tidemill.testing`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.connectors.stripe.backfill import (
    Unit,
    basic_units,
    event_units,
    money_units,
)
from tidemill.connectors.stripe.client import StripeClient, Throttle
from tidemill.errors import ApiRequestRefused

pytestmark = pytest.mark.slow

PROGRAM = "github.com/stripe/stripe-mock@latest"
JULY = 1_782_864_000
UNITS = [*basic_units(), *money_units(JULY - 1, JULY), *event_units(JULY)]


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running stripe-mock."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed, so Stripe's mock server cannot be built")
    folder = tmp_path_factory.mktemp("go")
    environment = os.environ | {"GOBIN": str(folder), "GOFLAGS": "-modcacherw"}
    environment.setdefault("GOPATH", str(folder / "path"))
    environment.setdefault("GOCACHE", str(folder / "cache"))
    built = subprocess.run(
        ["go", "install", PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    if built.returncode:
        reason = built.stderr.strip().splitlines()[-1:] or ["no reason given"]
        pytest.skip(f"Stripe's mock server cannot be built here: {reason[0]}")
    yield from _running(folder / "stripe-mock")


def _running(program: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(program), "-http-addr", f"127.0.0.1:{port}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Listening for HTTP" in line:
                break
        else:
            raise AssertionError("".join(said))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def client(mock: str) -> Iterator[StripeClient]:
    with StripeClient("sk_test_123", base_url=mock, throttle=Throttle(0)) as made:
        yield made


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: f"{unit.path} {unit.params}")
def test_every_list_is_accepted(client: StripeClient, unit: Unit) -> None:
    for after in (None, "obj_1"):
        assert isinstance(client.page(unit.path, unit.params, after=after).objects, tuple)


def test_every_object_is_accepted(client: StripeClient) -> None:
    assert client.subscription("sub_1") is not None
    assert client.price("price_1") is not None
    assert client.invoice("in_1") is not None
    assert client.find("/v1/customers/cus_1") is not None
    expand = {"expand": ["data.discounts"], "subscription": "sub_1"}
    assert client.page("/v1/subscription_items", expand).objects
    assert client.page("/v1/invoices/in_1/lines").objects


def test_the_mock_does_refuse_what_is_wrong(client: StripeClient) -> None:
    with pytest.raises(ApiRequestRefused):
        client.page("/v1/subscriptions", {"nonsense": True})
