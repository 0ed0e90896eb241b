"""A reading that is killed again and again, and at last let through, is as one that never was."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.conftest import NewDatabase
from tests.support.import_program import BOOKS
from tests.support.stripe_account import business, clock, reading, recent_account
from tests.support.tables import undated_tables
from tidemill import models, quarantine
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.sync import Asked, Into, sync_stripe
from tidemill.testing.stripe import FakeStripe

ROOT = Path(__file__).resolve().parents[2]


def _start(database: Database, fake: FakeStripe) -> subprocess.Popen[str]:
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.support.sync_program", url, fake.url]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _killed(database: Database, fake: FakeStripe, chance: random.Random, steps: int) -> bool:
    """Let it run for some steps and a moment, and kill it; whether it was still at work."""
    with _start(database, fake) as process:
        assert process.stdout is not None
        for _ in range(steps):
            process.stdout.readline()
        try:
            process.wait(timeout=chance.uniform(0, 0.03))
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    return False


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_and_run_again(database: Database, new_database: NewDatabase, kills: int) -> None:
    chance = random.Random(kills)
    events = business(20, 8)
    with FakeStripe(recent_account(events)) as fake:
        killed = 0
        for _ in range(kills):
            killed += _killed(database, fake, chance, chance.choice((2, 3, 5, 8, 13, 21)))
        assert killed >= 2, "the reading is too short to be killed in the middle"
        with _start(database, fake) as process:
            said, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        last = json.loads(said.splitlines()[-1].removeprefix("done "))
        with new_database() as undisturbed, reading(fake) as client:
            into = Into(undisturbed, PostgresBus(undisturbed), BOOKS)
            whole = sync_stripe(into, client, Asked(), clock=clock)
            assert last["objects"] == whole.objects or last["mode"] != "first"
            with database.connect() as one, undisturbed.connect() as two:
                assert undated_tables(one) == undated_tables(two)
                count = select(func.count()).select_from(models.event_log)
                assert one.execute(count).scalar_one() == two.execute(count).scalar_one()
                assert quarantine.waiting(one) == quarantine.waiting(two) == 0
                assert PostgresBus(database).pending(one, "state") == 0
