"""`tidemill mrr` answers in well under a second only while it loads nothing it does not need."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("alembic", "babel", "fastapi", "msgspec", "pandas", "polars", "rich", "sqlalchemy.orm",
         "sqlglot", "uvicorn")  # fmt: skip
# What takes in, writes and repairs.
OWN = ("bookkeeping", "bus", "connectors.stripe", "copying.refreshing", "events", "inbox.mending",
       "ingest", "state")  # fmt: skip


def test_asking_loads_no_heavy_library() -> None:
    program = f"""
import sys
import tidemill.cli
from tidemill.cli import reading, session
reading.resolve("mrr", ["waterfall", "--start", "2025-01-01"])
print(*sorted(set({HEAVY!r}) & sys.modules.keys()))
print(*sorted(set({[f"tidemill.{each}" for each in OWN]!r}) & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_an_ending_process_does_not_look_for_garbage() -> None:
    program = """
import atexit, gc
from tidemill.cli import main
atexit.register(lambda: print("frozen", gc.get_freeze_count() > 0))
main(["--version"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "frozen True"
