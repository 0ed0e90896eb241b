"""What is watched: lag, workers and memory, in `/metrics`, `/readyz` and `tidemill doctor`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import httpx
import pytest
from sqlalchemy import func, update

from tests.support.happenings import at, poisoned, state
from tests.support.http import serving
from tidemill.bookkeeping import FACTS
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.doctor import Finding, check
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.heartbeat import SILENT_S, Heart
from tidemill.models import worker
from tidemill.monitoring import Figure, exposition
from tidemill.policy import Policy
from tidemill.state import Books
from tidemill.worker import Drained, drain

BOOKS: Final = Books(FACTS)
_LINE: Final = re.compile(r'([a-z_]+)(?:\{([a-z]+)="((?:[^"\\]|\\.)*)"\})? (\S+)')


@pytest.fixture
def api(database: Database) -> Iterator[httpx.Client]:
    """A client of a server over an empty store."""
    engine = MetricsEngine(database, base_currency="USD", policy=Policy.of())
    with serving(Tidemill(database, engine), watched=PostgresBus(database)) as client:
        yield client


def scraped(client: httpx.Client) -> dict[tuple[str, str], float]:
    """What Prometheus would read: (name, worker) → value."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {}
    told = set()
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            assert line.split()[2] not in told, "figures of one name stand together"
            told.add(line.split()[2])
        elif not line.startswith("#"):
            read = _LINE.fullmatch(line)
            assert read is not None, line
            assert read[1] in told
            found[read[1], read[3] or ""] = float(read[4])
    return found


def findings(database: Database, about: str) -> list[Finding]:
    return [
        each
        for each in check(database, PostgresBus(database), BOOKS)
        if each.about.startswith(about)
    ]


def test_lag_is_what_is_not_applied_yet(database: Database, api: httpx.Client) -> None:
    bus = PostgresBus(database)
    assert scraped(api)["tidemill_log_lag_seconds", ""] == 0
    drain(bus, BOOKS)
    # Learned long ago, and only now handed over.
    bus.append([state("a", at(1), recorded_at=at(2)), poisoned("b", at(1), recorded_at=at(3))])
    waiting = scraped(api)
    assert waiting["tidemill_log_pending_events", ""] == 2
    assert waiting["tidemill_log_lag_seconds", ""] > 86_400
    assert api.get("/readyz").json()["lag_s"] > 86_400
    [log] = findings(database, "log")
    assert re.match(r"2 events are not applied yet, the oldest for [\d,]+ s$", log.found)
    drain(bus, BOOKS)
    done = scraped(api)
    assert done["tidemill_log_pending_events", ""] == done["tidemill_log_lag_seconds", ""] == 0
    assert done["tidemill_quarantine_waiting", ""] == 1
    assert done["tidemill_inbox_pending_deliveries", ""] == 0
    assert done["tidemill_api_memory_peak_bytes", ""] > 1_000_000
    assert api.get("/readyz").json()["lag_s"] == 0


def test_workers_are_seen_until_they_leave(database: Database, api: httpx.Client) -> None:
    assert findings(database, "worker") == []
    good, bad, gone = (Heart(database, name) for name in ("good", 'b"ad\\', "gone"))
    bad.trouble = "The broker does not answer."
    for heart in (good, bad, gone):
        heart.beat(Drained(7, 2, 3))
    with database.begin() as connection:
        old = func.clock_timestamp() - timedelta(seconds=SILENT_S + 1)
        connection.execute(update(worker).where(worker.c.name == "gone").values(heard_at=old))
    seen = scraped(api)
    assert seen["tidemill_workers", ""] == 2
    assert seen["tidemill_worker_applied_events_total", "good"] == 7
    assert seen["tidemill_worker_quarantined_events_total", "good"] == 2
    assert seen["tidemill_worker_batches_total", "good"] == 3
    assert seen["tidemill_worker_memory_peak_bytes", "good"] > 1_000_000
    assert seen["tidemill_worker_troubled", r"b\"ad\\"] == 1
    assert seen["tidemill_worker_heartbeat_age_seconds", "gone"] > SILENT_S
    ready = api.get("/readyz").json()["workers"]
    assert [each["name"] for each in ready] == ['b"ad\\', "gone", "good"]
    levels = {each.about: each.level for each in findings(database, "worker")}
    assert levels == {'worker b"ad\\': "warning", "worker gone": "warning", "worker good": "ok"}
    good.stop()
    assert ("tidemill_worker_troubled", "good") not in scraped(api)


def test_there_is_nothing_to_scrape_where_nobody_asked_for_it(database: Database) -> None:
    engine = MetricsEngine(database, base_currency="USD", policy=Policy.of())
    with serving(Tidemill(database, engine)) as client:
        assert client.get("/metrics").status_code == 404


def test_numbers_are_written_whole() -> None:
    text = exposition([Figure("tidemill_workers", 2), Figure("tidemill_log_lag_seconds", 1.5e-3)])
    assert "tidemill_workers 2\n" in text
    assert text.endswith("tidemill_log_lag_seconds 0.0015\n")
