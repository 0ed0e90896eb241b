"""The embedded server on a disk that is full: each step says so, and nothing is half done."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from tidemill.database import Database, connect
from tidemill.embedded import EmbeddedServer
from tidemill.errors import DatabaseFull, EmbeddedDiskFull

MEGABYTE = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts small disks in memory, of so many megabytes."""
    with ExitStack() as stack:

        def mount(megabytes: int) -> Path:
            place = tmp_path / f"disk-{megabytes}"
            place.mkdir()
            options = f"size={megabytes}m,mode=0755"
            command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except FileNotFoundError:
                pytest.skip("there is no `mount` here")
            if done.returncode:
                pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", str(place)], check=True)
            return place

        yield mount


def fill(place: Path, *, leave: int = 0) -> Path:
    """Fill a disk up to `leave` bytes; deleting the file returned makes room again."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
        os.posix_fallocate(file.fileno(), 0, max(free - leave, 1))
    return ballast


def test_creating_the_server_on_a_full_disk(disk: Callable[[int], Path]) -> None:
    place = disk(20)
    with pytest.raises(EmbeddedDiskFull) as caught:
        EmbeddedServer(place / "data").start()
    assert str(place / "data") in str(caught.value)
    assert "TIDEMILL_DATA_DIR" in caught.value.hint
    left = sorted(path.name for path in (place / "data").iterdir())
    assert left == ["postgres.start", "postgres.users"], "nothing half-made stays"


def test_starting_on_a_full_disk_and_again_with_room(disk: Callable[[int], Path]) -> None:
    place = disk(100)
    with EmbeddedServer(place / "data"):
        pass
    ballast = fill(place)
    with pytest.raises(EmbeddedDiskFull):
        EmbeddedServer(place / "data").start()
    ballast.unlink()
    with EmbeddedServer(place / "data"):
        pass


def test_not_even_a_directory_fits(disk: Callable[[int], Path]) -> None:
    place = disk(1)
    fill(place)
    with pytest.raises(EmbeddedDiskFull):
        EmbeddedServer(place / "data").start()


def write_too_much(database: Database) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE big AS SELECT i FROM generate_series(1, 5000000) i"
        )


def tables(database: Database) -> list[str]:
    return sa.inspect(database.engine).get_table_names()


def test_a_disk_that_fills_up_while_writing(disk: Callable[[int], Path]) -> None:
    place = disk(150)
    with connect(None, data_dir=place / "data") as database:
        before = tables(database)
        ballast = fill(place, leave=10 * MEGABYTE)
        with pytest.raises(DatabaseFull) as caught:
            write_too_much(database)
        assert "rolled back" in str(caught.value)
        ballast.unlink()
        assert tables(database) == before
