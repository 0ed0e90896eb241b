"""An import that is killed again and again, and at last let through, is as one that never was."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from sqlalchemy import func, select

from tests.conftest import NewDatabase
from tests.support.books import random_book
from tests.support.import_program import BOOKS, items
from tests.support.tables import named_tables
from tidemill import models, quarantine
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.ingest import ingest

ROOT = Path(__file__).resolve().parents[2]
KILLS = 8


def _file(folder: Path, seed: int) -> Path:
    """A book of events with some bad lines and repeated ones among them."""
    lines = [json.dumps(event) for event in random_book(seed, customers=25)]
    chance = random.Random(seed)
    lines += [*chance.sample(lines, 20), '{"id": 1', "not JSON", lines[0][:-2] + ', "x": }}']
    chance.shuffle(lines)
    path = folder / "book.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def _start(database: Database, path: Path) -> subprocess.Popen[str]:
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.support.import_program", url, str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _killed(database: Database, path: Path, chance: random.Random) -> bool:
    """Run the import up to a random moment after a random step; whether it was still at work."""
    with _start(database, path) as process:
        assert process.stdout is not None
        for _ in range(chance.choice((1, 2, 3, 5, 8, 12))):
            process.stdout.readline()
        try:
            process.wait(timeout=chance.uniform(0, 0.03))
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    return False


def test_kill_and_run_again(database: Database, new_database: NewDatabase, tmp_path: Path) -> None:
    path, chance = _file(tmp_path, seed=1), random.Random(1)
    kills = sum(_killed(database, path, chance) for _ in range(KILLS))
    assert kills >= KILLS // 2, "the import is too short to be killed in the middle"
    with _start(database, path) as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    last = json.loads(said.splitlines()[-1].removeprefix("done "))
    assert last["read"] == len(path.read_text().splitlines())
    assert last["quarantined"] == 3

    log = models.event_log
    with new_database() as undisturbed:
        ingest(undisturbed, PostgresBus(undisturbed), items(path), BOOKS)
        with database.connect() as one, undisturbed.connect() as two:
            assert named_tables(one) == named_tables(two)
            for query in (
                select(func.count()).select_from(log),
                select(func.count(log.c.id.distinct())),
            ):
                assert one.execute(query).scalar_one() == two.execute(query).scalar_one()
            assert quarantine.waiting(one) == quarantine.waiting(two) == 3
            assert PostgresBus(database).pending(one, "state") == 0
