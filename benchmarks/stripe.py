"""``python -m benchmarks stripe``: webhooks that storm in, and an account that is read.

`tidemill serve` is a process of its own, with a `tidemill worker` beside it, as in real life; the
method is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from sqlalchemy import func, select

from benchmarks.books import LAST_DAY
from benchmarks.measure import Measurement
from benchmarks.report import RESULTS, save, show
from tidemill.bookkeeping import books_of
from tidemill.bus import PostgresBus
from tidemill.connectors.stripe.backfill import EVENTS_KEPT_S
from tidemill.connectors.stripe.client import StripeClient, Throttle
from tidemill.connectors.stripe.signature import signed
from tidemill.database import Database, connect
from tidemill.demo import generate
from tidemill.models import delivery
from tidemill.settings import Settings
from tidemill.sync import Asked, Into, Synced, sync_stripe
from tidemill.testing.stripe import FakeAccount, FakeStripe
from tidemill.worker import CONSUMER

__all__ = ["main"]

_SECRET: Final = "whsec_benchmark"  # noqa: S105 - it opens nothing
_PATH: Final = "/api/webhooks/stripe"
_SEED: Final = 7
_WARM_UP: Final = 100
_TARGET_MS: Final = 50.0
_PATIENCE_S: Final = 300.0


# --- webhooks -------------------------------------------------------------------------------------


def webhooks(
    folder: Path, rate: int, seconds: int, say: Callable[[str], None]
) -> Iterator[Measurement]:
    """How long deliveries wait to be acknowledged: in an empty store, and in one that has them."""
    say("making up a business")
    count = rate * seconds
    bodies = _bodies(2 * count + _WARM_UP)
    settings = Settings(data_dir=folder / "data")
    with connect(None, data_dir=settings.data_dir) as store, _running(settings) as port:
        asyncio.run(_storm(port, bodies[:_WARM_UP], rate))
        for name in ("empty store", f"store of {count:,}"):
            done = _WARM_UP if name == "empty store" else _WARM_UP + count
            say(f"{rate} deliveries a second: {name}")
            waited = asyncio.run(_storm(port, bodies[done : done + count], rate))
            ended = time.monotonic()
            _wait_until_applied(store)
            behind = time.monotonic() - ended
            cuts = statistics.quantiles(waited, n=100)
            detail = f"{count:,} deliveries, worst {max(waited) * 1000:.0f} ms"
            detail += f"; in the books {behind:.1f} s after the last"
            for share, target in ((50, None), (95, _TARGET_MS), (99, None)):
                value = cuts[share - 1] * 1000
                yield Measurement(f"webhook p{share}: {name}", value, "ms", detail, target)


def _bodies(count: int) -> list[bytes]:
    """Events of a business in the order in which they happened, each as Stripe writes it."""
    made = generate(max(50, count // 15), 12, _SEED, end=LAST_DAY)
    bodies = [msgspec.json.encode(raw) for raw in made][:count]
    assert len(bodies) == count, "the business is too small"
    return bodies


@contextmanager
def _running(settings: Settings) -> Iterator[int]:
    """`tidemill serve` and `tidemill worker` on a store; the port."""
    ours = ("TIDEMILL", "KAFKA", "DATABASE_URL", "STRIPE")
    clean = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    given = {"TIDEMILL_DATA_DIR": str(settings.data_dir), "STRIPE_WEBHOOK_SECRET": _SECRET}
    program = [sys.executable, "-m", "tidemill"]
    with ExitStack() as stack:
        log = stack.enter_context((settings.data_dir / "programs.log").open("ab"))
        server, worker = (
            stack.enter_context(
                subprocess.Popen([*program, *more], env=clean | given, stdout=out, stderr=log)
            )
            for more, out in ((("serve", "--port", "0"), subprocess.PIPE), (("worker",), log))
        )
        try:
            assert server.stdout is not None
            found = re.search(rb"http://127\.0\.0\.1:(\d+)", server.stdout.readline())
            assert found is not None, "the server did not start"
            yield int(found[1])
        finally:
            for each in (server, worker):
                each.send_signal(signal.SIGTERM)


_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connected(free: list[_Connection], port: int) -> _Connection:
    """A connection that is free and still open, or a new one."""
    while free:
        reader, writer = free.pop()
        if not reader.at_eof():
            return reader, writer
        writer.close()
    return await asyncio.open_connection("127.0.0.1", port)


async def _storm(port: int, bodies: Sequence[bytes], rate: int) -> list[float]:
    """Send deliveries at a rate, whether or not earlier ones are answered; seconds each took.

    Counted from the instant at which it was due: a server that stalls is not spared.
    """
    free: list[_Connection] = []
    began = time.perf_counter() + 0.1

    async def send(number: int, body: bytes) -> float:
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        reader, writer = await _connected(free, port)
        head = (
            f"POST {_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
            f"Stripe-Signature: {signed(body, _SECRET, int(time.time()))}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answer.lower())
        await reader.readexactly(int(length[1]) if length else 0)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        free.append((reader, writer))
        return time.perf_counter() - due

    waited = await asyncio.gather(*(send(number, body) for number, body in enumerate(bodies)))
    for _, writer in free:
        writer.close()
    return waited


def _wait_until_applied(store: Database) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    new = select(func.count()).select_from(delivery).where(delivery.c.state.in_(("new", "held")))
    bus = PostgresBus(store)
    while True:
        with store.connect() as connection:
            left = connection.execute(new).scalar_one() + bus.pending(connection, CONSUMER)
        if not left:
            return
        assert time.monotonic() < deadline, f"{left:,} are not in the books"
        time.sleep(0.05)


# --- backfill -------------------------------------------------------------------------------------


def backfill(folder: Path, customers: int, say: Callable[[str], None]) -> Iterator[Measurement]:
    """How fast an account is read: as fast as it answers, and at the pace a user's key is used."""
    say("making up an account")
    account = _account(customers)
    pace = Settings().stripe_requests_per_second
    for name, throttle, limit in (
        ("unlimited", 0.0, 0),
        (f"{pace:g} requests/s", pace, 0),
        ("25 requests/s refused beyond", 0.0, 25),
    ):
        say(f"reading it: {name}")
        with FakeStripe(account, rate_max=limit) as fake:
            started = time.perf_counter()
            done = _read(folder / re.sub(r"\W+", "-", name), fake, throttle)
            elapsed = time.perf_counter() - started
            objects = sum(done.objects.values())
            detail = f"{objects:,} objects, {len(fake.seen):,} requests, {elapsed:.1f} s in all"
        yield Measurement(f"backfill: {name}", objects / elapsed, "objects/s", detail)


def _account(customers: int) -> FakeAccount:
    """The account of a business today, with the events of its last thirty days."""
    events: list[dict[str, Any]] = list(generate(customers, 24, _SEED, end=LAST_DAY))
    account = FakeAccount.of_events(events)
    first = _day_after().timestamp() - EVENTS_KEPT_S
    for event in events:
        if event["created"] < first:
            account.delete("event", event["id"])
    return account


def _day_after() -> datetime:
    return datetime(LAST_DAY.year, LAST_DAY.month, LAST_DAY.day, tzinfo=UTC) + timedelta(days=1)


def _read(folder: Path, fake: FakeStripe, pace: float) -> Synced:
    settings = Settings(data_dir=folder)
    with (
        connect(None, data_dir=folder) as store,
        StripeClient("rk_live_any", base_url=fake.url, throttle=Throttle(pace)) as client,
    ):
        into = Into(store, PostgresBus(store), books_of(settings))
        return sync_stripe(into, client, Asked(), clock=_day_after)


def main(arguments: list[str]) -> int:
    """Measure, print a table, save the JSON; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rate", type=int, default=200, help="deliveries a second")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--customers", type=int, default=500, help="of the account that is read")
    parser.add_argument("--only", choices=("webhooks", "backfill"))
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON file")
    given = parser.parse_args(arguments)
    begun = datetime.now(UTC)
    console = Console(width=None if sys.stdout.isatty() else 120)
    done: list[Measurement] = []
    with (
        tempfile.TemporaryDirectory(prefix="tidemill-bench-") as name,
        console.status("") as status,
    ):
        if given.only != "backfill":
            done += webhooks(Path(name), given.rate, given.seconds, status.update)
        if given.only != "webhooks":
            done += backfill(Path(name), given.customers, status.update)
    show(done, console)
    parameters = {"rate": given.rate, "seconds": given.seconds, "customers": given.customers}
    path = save(done, parameters=parameters, at=begun, folder=given.results)
    console.print(f"Saved as {path.name} in {given.results.name}.")
    return 0
