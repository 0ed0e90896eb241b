"""The short form of the campaign: a run without a broker always, the rest with the slow tests."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.campaign import run
from tests.faults.load import load
from tests.faults.verdict import wait_until_applied
from tests.faults.world import Ground, ground, world
from tests.support.broker import broker_or_skip
from tidemill.database import Database, connect
from tidemill.heartbeat import heard


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("faults")) as made:
        yield made


def test_nothing_is_lost_doubled_or_wrong(here: Ground) -> None:
    dire = ("kill_worker", "kill_api", "kill_postgres")
    outcome = run(here, seed=1, customers=6, workers=1, only=dire)
    assert not outcome.wrong, outcome
    assert "kill_postgres" in outcome.happened


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_whatever_happens(here: Ground, seed: int) -> None:
    outcome = run(here, seed)
    assert not outcome.wrong, outcome


@pytest.mark.slow
def test_through_a_broker_that_dies_as_well(tmp_path: Path) -> None:
    with broker_or_skip() as running, ground(tmp_path, running) as there:
        only = ("kill_broker", "pause_broker", "crowd_of_workers", "kill_postgres")
        outcome = run(there, seed=4, only=only)
    assert not outcome.wrong, outcome


@pytest.mark.slow
def test_a_disk_that_is_full_and_a_clock_that_jumps(here: Ground) -> None:
    reasons = [each for each in (here.no_disk, here.clock.missing) if each]
    if reasons:
        pytest.skip("; ".join(reasons))
    outcome = run(here, seed=5, only=("fill_disk", "set_clock", "kill_worker"))
    assert not outcome.wrong, outcome


@pytest.mark.slow
@pytest.mark.parametrize("brokers", ["there", "away"])
def test_a_clock_that_is_set_back_stops_no_worker(tmp_path: Path, brokers: str) -> None:
    """The brokers' client waits by the clock of the day, so it must never be the one to wait."""
    events = load(random.Random(1), 2).events
    with (
        broker_or_skip() as running,
        ground(tmp_path, running) as there,
        world(there, workers=1) as here,
        connect(here.url, migrate=False) as database,
    ):
        if there.clock.missing:
            pytest.skip(there.clock.missing)
        here.wait_for_api()
        while not _at_work(database):
            time.sleep(0.1)
        if brokers == "away":
            running.stop()
        there.clock.set(3_600)
        time.sleep(3)
        there.clock.set(0)
        if brokers == "away":
            running.start()
            bus = here.bus(database)
            bus.append(events)
            wait_until_applied(here, database, bus)
            bus.close()
        else:
            here.end(*here.processes)
    assert not here.surprises


def _at_work(database: Database) -> bool:
    with database.connect() as connection:
        return any(not each.silent for each in heard(connection))
