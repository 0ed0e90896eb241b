"""Deliveries as Stripe sends them: signed, one event a request."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from tidemill.bus import PostgresBus
from tidemill.connectors.stripe.envelope import read_envelope
from tidemill.connectors.stripe.signature import signed
from tidemill.database import Database
from tidemill.inbox.store import Kept, Received, keep
from tidemill.inbox.work import Worked, take_in
from tidemill.state import Books
from tidemill.worker import drain

__all__ = ["PATH", "SECRET", "arrive", "body_of", "post", "settle"]

SECRET = "whsec_test"
PATH = "/api/webhooks/stripe"


def body_of(raw: object) -> bytes:
    """An event as the bytes of a request."""
    return json.dumps(raw).encode()


def post(
    client: httpx.Client, body: bytes, *, secret: str = SECRET, path: str = PATH, age_s: int = 0
) -> httpx.Response:
    """Deliver a body, signed some time ago."""
    header = signed(body, secret, int(time.time()) - age_s)
    return client.post(path, content=body, headers={"stripe-signature": header})


def arrive(database: Database, raws: Iterable[Mapping[str, Any]], source: str = "stripe") -> Kept:
    """Put events into the inbox, as if they had been delivered in this order."""
    received = []
    for raw in raws:
        body = body_of(raw)
        received.append(Received(source, read_envelope(json.loads(body), body), body))
    with database.begin() as connection:
        return keep(connection, received)


def settle(database: Database, books: Books) -> Worked:
    """Take in what has arrived, and bring the tables up to it."""
    bus = PostgresBus(database)
    worked = take_in(database, bus, wait=True)
    drain(bus, books)
    return worked
