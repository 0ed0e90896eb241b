"""The embedded server between processes: shared, outliving a killed one, gone with the last."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.conftest import TEST_SETTINGS
from tests.integration.processes import kill
from tidemill.embedded import EmbeddedServer

ROOT = Path(__file__).resolve().parents[2]

# Starts the server, says so, and keeps it until its input ends. Prints what the table holds.
USER = """
import pathlib, sys, psycopg
from tidemill.embedded import EmbeddedServer
with EmbeddedServer(pathlib.Path(sys.argv[1])) as server:
    print("ready", flush=True)
    for line in sys.stdin:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            print(connection.execute(line).fetchone()[0], flush=True)
print("left", flush=True)
"""

SERVER_PID = "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)"


class User:
    """Another process that uses the server of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, sql: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(sql + "\n")
        self.process.stdin.flush()
        return self.says()

    def leave(self) -> None:
        out, _ = self.process.communicate(timeout=60)
        assert out == "left\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Callable[[], User]]:
    """Starts other processes that use the server in `tmp_path`; ends them after the test."""
    with ExitStack() as stack:

        def start() -> User:
            started = User(tmp_path)
            stack.callback(started.kill)
            return started

        yield start


def test_processes_that_start_at_once_share_one_server(
    tmp_path: Path, user: Callable[[], User]
) -> None:
    users = [user() for _ in range(3)]
    assert [each.says() for each in users] == ["ready"] * 3
    assert len({each.ask(SERVER_PID) for each in users}) == 1
    for each in users:
        each.leave()
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()


def test_killing_one_process_takes_nothing_from_the_other(
    tmp_path: Path, user: Callable[[], User]
) -> None:
    starter = user()
    assert starter.says() == "ready"
    other = user()
    assert other.says() == "ready"
    server = other.ask(SERVER_PID)
    starter.kill()
    assert other.ask(SERVER_PID) == server
    other.leave()
    assert not (tmp_path / "postgres" / "postmaster.pid").exists(), "the killed one is forgotten"


def test_a_server_left_by_killed_processes_is_taken_over(
    tmp_path: Path, user: Callable[[], User]
) -> None:
    starter = user()
    assert starter.says() == "ready"
    server = starter.ask(SERVER_PID)
    starter.kill()
    heir = user()
    assert heir.says() == "ready"
    assert heir.ask(SERVER_PID) == server
    heir.leave()
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()


def test_ctrl_c_in_one_terminal_does_not_reach_the_server(
    tmp_path: Path, user: Callable[[], User]
) -> None:
    starter, other = user(), user()
    assert (starter.says(), other.says()) == ("ready", "ready")
    server = other.ask(SERVER_PID)
    starter.process.send_signal(signal.SIGINT)
    starter.process.communicate(timeout=60)
    assert other.ask(SERVER_PID) == server
    other.leave()


def test_a_server_with_orphans_is_waited_for(tmp_path: Path) -> None:
    """A killed server's child is still writing when the next server wants to start."""
    with EmbeddedServer(tmp_path, settings=TEST_SETTINGS) as server:
        busy = psycopg.connect(server.url())
        first = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
        child = busy.info.backend_pid
        os.kill(child, signal.SIGSTOP)  # it cannot notice the death of its parent
        kill(first)
        waker = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.5; kill -CONT {child}"])
        server.ensure_running()
        waker.wait()
        second = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
        assert second != first
        busy.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_than_root(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Started by root, the whole life once more as an ordinary user, who may not write anywhere."""
    nobody = pwd.getpwnam("nobody")
    # Its own interpreter and no other of the same version: extension modules fit one build only.
    python = str(Path(sys.executable).resolve())
    try:
        subprocess.run([python, "-c", ""], user=nobody.pw_uid, group=nobody.pw_gid, check=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip(f"other users may not run {python}")
    home = tmp_path_factory.mktemp("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    for parent in home.parents:
        parent.chmod(parent.stat().st_mode | 0o001)
    forbidden = tmp_path_factory.mktemp("forbidden")

    def as_nobody(place: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-c", USER, str(place)],
            input=SERVER_PID + "\n",
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            env={"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )

    done = as_nobody(home / "data")
    assert "ready" in done.stdout, done.stderr
    assert "left" in done.stdout, done.stderr
    assert (home / "data").stat().st_uid == nobody.pw_uid
    done = as_nobody(forbidden / "data")
    assert "EmbeddedDirectoryUnwritable" in done.stderr
    assert "Permission denied" in done.stderr
