"""Webhooks storm at `tidemill serve`, killed again and again: what was acknowledged is there once.

Whoever sends does as Stripe does: what was not acknowledged is sent again.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from tests.conftest import NewDatabase
from tests.support.storm import Storm, free_port
from tests.support.tables import undated_tables
from tests.support.webhooks import SECRET, arrive, body_of, settle
from tidemill import models, quarantine
from tidemill.bookkeeping import FACTS
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.demo import generate
from tidemill.state import Books

ROOT = Path(__file__).resolve().parents[2]
BOOKS = Books(FACTS, base_currency="USD")


@contextmanager
def _served(database: Database, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`tidemill serve`, once it answers; killed at the end."""
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    environment = os.environ | {"TIDEMILL_DATABASE_URL": url, "STRIPE_WEBHOOK_SECRET": SECRET}
    command = [sys.executable, "-m", "tidemill", "serve", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while not _answers(port):
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server never answered"
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def _wait_for(storm: Storm, wanted: int) -> None:
    deadline = time.monotonic() + 120
    while storm.acknowledged < wanted:
        assert time.monotonic() < deadline, "the storm has died down"
        time.sleep(0.002)


@pytest.mark.slow  # the short form of it is in tests/faults
@pytest.mark.parametrize("kills", [20])
def test_what_was_acknowledged_is_there_once(
    database: Database, new_database: NewDatabase, kills: int
) -> None:
    chance = random.Random(kills)
    raws = list(generate(customers=4 * kills + 10, months=6, seed=kills, end=date(2026, 6, 30)))
    raws += [{"id": "evt_no_event", "type": "customer.created"}]
    port = free_port()
    storm = Storm(f"http://127.0.0.1:{port}", [body_of(each) for each in raws])
    marks = sorted(chance.sample(range(1, len(raws) - 20), kills))
    storm.start()
    for mark in marks:
        with _served(database, port) as process:
            _wait_for(storm, mark)
            time.sleep(chance.uniform(0, 0.3))
            process.kill()
    with _served(database, port):
        storm.join()
    assert storm.acknowledged == len(raws)
    settle(database, BOOKS)

    with new_database() as undisturbed:
        arrive(undisturbed, raws)
        settle(undisturbed, BOOKS)
        with database.connect() as one, undisturbed.connect() as two:
            for table in (models.delivery, models.event_log):
                count = select(func.count()).select_from(table)
                assert one.execute(count).scalar_one() == two.execute(count).scalar_one()
            once = select(func.count(models.delivery.c.event.distinct()))
            assert one.execute(once).scalar_one() == len(raws)
            assert undated_tables(one) == undated_tables(two)
            assert quarantine.waiting(one) == quarantine.waiting(two) == 1
            assert PostgresBus(database).pending(one, "state") == 0
