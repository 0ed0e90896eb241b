"""Whatever is posted to the webhook, signed or not: never an error of ours, and nothing is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from tests.conftest import NewDatabase
from tests.support.damage import anything, damaged
from tests.support.http import serving
from tests.support.stripe import fixture
from tests.support.webhooks import PATH, SECRET, post, settle
from tidemill.api.receiving import Receiving
from tidemill.bookkeeping import FACTS
from tidemill.database import Database
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.models import delivery
from tidemill.policy import Policy
from tidemill.state import Books

BOOKS = Books(FACTS, base_currency="USD")
THIN = fixture("event.thin_v1_subscription_updated")["pushed_notification"]


@dataclass(frozen=True)
class Place:
    """A server with its database."""

    client: httpx.Client
    database: Database


@pytest.fixture(scope="module")
def place(new_database: NewDatabase) -> Iterator[Place]:
    with new_database() as database:
        engine = MetricsEngine(database, base_currency="USD", policy=Policy.of())
        receiving = Receiving(database, {"stripe": (SECRET,)})
        with serving(Tidemill(database, engine), receiving) as client:
            yield Place(client, database)


def kept(place: Place) -> int:
    with place.database.connect() as connection:
        return connection.execute(select(func.count()).select_from(delivery)).scalar_one()


def taken_in(place: Place, body: bytes) -> None:
    """A signed body is JSON and kept, or refused; and it never stops what takes it in."""
    before = kept(place)
    response = post(place.client, body)
    assert response.status_code in {200, 400}, response.text
    if response.status_code == 400:
        assert response.json()["code"] == "body_not_json"
        assert kept(place) == before
    settle(place.database, BOOKS)
    with place.database.connect() as connection:
        states = connection.execute(select(delivery.c.state).distinct()).scalars()
        assert set(states) <= {"stored", "ignored", "waiting", "held"}


@given(body=st.binary(max_size=200))
@settings(max_examples=40)
def test_any_bytes(place: Place, body: bytes) -> None:
    taken_in(place, body)


@given(raw=anything)
@settings(max_examples=60)
def test_any_json(place: Place, raw: Any) -> None:
    taken_in(place, json.dumps(raw).encode())


@given(raw=damaged())
@settings(max_examples=100, suppress_health_check=[HealthCheck.data_too_large])
def test_damaged_events(place: Place, raw: Any) -> None:
    taken_in(place, json.dumps(raw).encode())


@given(key=st.sampled_from(sorted(THIN)), value=anything)
@settings(max_examples=40)
def test_damaged_thin_events(place: Place, key: str, value: Any) -> None:
    taken_in(place, json.dumps({**THIN, key: value}).encode())


@given(header=st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n\0")))
@settings(max_examples=60)
def test_any_signature(place: Place, header: str) -> None:
    before = kept(place)
    sent = [(b"stripe-signature", header.encode("latin-1").strip())]
    try:
        response = place.client.post(PATH, content=b"{}", headers=sent)
    except httpx.HTTPError:
        return  # no header that can be sent
    assert response.status_code in {400, 401}
    assert kept(place) == before


def test_what_was_good_is_still_there(place: Place) -> None:
    """After all that, an event is taken in as ever."""
    raw = {**fixture("events.subscription_story")["events"][0], "id": f"evt_{time.time_ns()}"}
    before = kept(place)
    assert post(place.client, json.dumps(raw).encode()).status_code == 200
    settle(place.database, BOOKS)
    assert kept(place) == before + 1
