"""The command line as processes of their own: what only shows there."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.cli import Cli
from tests.support.known_book import as_lines, subscription
from tidemill.embedded import EmbeddedServer

# An import puts 10,000 events at a time into the log: it can be cut off twice.
MANY = 21_000


def test_a_new_user_gets_from_nothing_to_a_number(cold_cli: Cli) -> None:
    """The first command makes the store, each starts and stops the server, without a word of it."""
    counts = cold_cli.json("import", "events", "-", stdin=as_lines())
    assert counts["applied"] == 8
    done = cold_cli.run("mrr", "--at", "2025-02-28")
    assert (done.returncode, done.stdout, done.stderr) == (0, "$111.00\n", "")
    refused = cold_cli.run("mrr", "wiaterfall")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "error[unknown_question]: No question is named 'wiaterfall'.",
        "hint: Did you mean 'waterfall'?",
    ]


def test_a_server_that_cannot_start_is_exit_code_3(cold_cli: Cli) -> None:
    cluster = cold_cli.data_dir / "postgres"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("12\n", encoding="utf-8")
    done = cold_cli.run("mrr")
    assert done.returncode == 3
    assert done.stderr.startswith("error[embedded_version_mismatch]: ")
    assert "hint: " in done.stderr


def test_a_reader_that_goes_away_ends_it_quietly(cli: Cli) -> None:
    lines = (_state(number) for number in range(1_500))
    cli.text("import", "events", "-", stdin="".join(lines))
    with cli.start("mrr", "movements", "--start", "2025-01-01", "--format", "csv") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("day,")
        process.stdout.close()
        assert process.wait(60) == 141
        assert "Error" not in process.stderr.read()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "kill"]
)
def test_a_signal_ends_a_worker_quietly(cli: Cli, number: signal.Signals, code: int) -> None:
    with cli.start("worker") as process, EmbeddedServer(cli.data_dir) as server:
        _until(server, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tidemill'")
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert stderr == ""


@pytest.mark.parametrize("command", [("serve",), ("demo", "--customers", "5", "--months", "2")])
def test_ctrl_c_ends_serving_quietly(cli: Cli, command: tuple[str, ...]) -> None:
    with cli.start(*command, "--port", "0") as process:
        assert process.stdout is not None
        said = next(line for line in process.stdout if "http://" in line)
        url = said.split("http://")[1].split("/")[0]
        answer = httpx.get(f"http://{url}/api/metrics/customers", timeout=60)
        assert answer.json()["rows"][0]["customers"] >= 0
        taken = cli.run("serve", "--port", url.split(":")[1])
        assert taken.returncode == 1
        assert "error[address_unavailable]" in taken.stderr
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGKILL, id="kill -9"),
        pytest.param(signal.SIGINT, id="ctrl-c", marks=pytest.mark.slow),
    ],
)
def test_an_import_that_was_cut_off_is_completed_by_the_next(
    cli: Cli, tmp_path: Path, number: signal.Signals
) -> None:
    file = tmp_path / "books.jsonl"
    file.write_text("".join(_state(each) for each in range(MANY)), encoding="utf-8")
    with (
        cli.start("import", "events", str(file)) as process,
        EmbeddedServer(cli.data_dir) as server,
    ):
        # Some of it is in the log, and not all.
        _until(server, "SELECT count(*) FROM event_log")
        process.send_signal(number)
        process.wait(60)
        with psycopg.connect(server.url()) as connection:
            [stored] = connection.execute("SELECT count(*) FROM event_log").fetchone() or (0,)
    assert process.returncode == (-9 if number is signal.SIGKILL else 130)
    assert 0 < stored < MANY
    counts = cli.json("import", "events", str(file))
    assert counts["read"] == MANY
    assert counts["duplicate"] == stored
    # Each of them pays 1.00 a month.
    assert cli.text("mrr", "--at", "2025-06-30") == f"${MANY:,}.00\n"
    assert cli.text("customers", "--at", "2025-06-30") == f"{MANY:,}\n"
    assert cli.run("doctor").returncode == 0


def test_the_demo_is_the_same_twice_and_makes_room(cli: Cli) -> None:
    made = ("demo", "--customers", "25", "--months", "6", "--no-serve")
    first = cli.text(*made)
    assert "closing" in first
    waterfall = cli.json("mrr", "waterfall")["rows"]
    assert any(row["new"] != "0.000000" for row in waterfall)
    for row in waterfall:
        parts = ("new", "expansion", "reactivation", "contraction", "churn", "fx")
        moved = sum(_micros(row[part]) for part in parts)
        assert _micros(row["opening"]) + moved == pytest.approx(_micros(row["closing"]), abs=6)
    cli.text(*made)
    assert cli.json("mrr", "waterfall")["rows"] == waterfall
    assert cli.run("doctor").returncode == 0

    taken = cli.run("import", "events", "-", stdin=as_lines())
    assert taken.returncode == 0
    assert "demo business" in taken.stderr
    assert cli.text("mrr", "--at", "2025-02-28") == "$111.00\n"
    assert [each["name"] for each in cli.json("sources")["sources"]] == ["books"]
    refused = cli.run(*made)
    assert refused.returncode == 1
    assert "error[books_in_use]" in refused.stderr


def _micros(amount: str) -> int:
    return int(amount.replace(".", ""))


def _state(number: int) -> str:
    started = "2025-01-10T12:00:00Z"
    return as_lines([subscription(f"c{number}", started, plan="basic", unit_amount="100")])


def _until(server: EmbeddedServer, counting: str, timeout_s: float = 60) -> None:
    """Wait until a query counts something."""
    deadline = time.monotonic() + timeout_s
    with psycopg.connect(server.url(), autocommit=True) as connection:
        while time.monotonic() < deadline:
            try:
                row = connection.execute(counting.encode()).fetchone()
            except psycopg.errors.UndefinedTable:
                continue
            if row and row[0]:
                return
    pytest.fail(f"nothing happened: {counting}")
