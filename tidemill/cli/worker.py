"""`tidemill worker`: applies what is in the log, and what comes, until it is told to end."""

from __future__ import annotations

from threading import Event, Thread
from typing import Annotated

import typer

from tidemill.bookkeeping import bus_of, differing
from tidemill.bus import PostgresBus
from tidemill.cli.nightly import compare_nightly
from tidemill.cli.output import note, say
from tidemill.cli.session import Desk, Session, session_of
from tidemill.cli.signals import end_in_good_order
from tidemill.cli.working import InboxThread, troubled
from tidemill.following import follow
from tidemill.heartbeat import Heart
from tidemill.inbox.work import take_in
from tidemill.worker import Drained, drain

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command("worker")
def _worker(
    context: typer.Context,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="End when everything in the log is applied.")
    ] = False,
    skip_missing: Annotated[
        bool,
        typer.Option("--skip-missing", help="Go on where a Kafka topic has lost messages."),
    ] = False,
) -> None:
    """Apply what is in the log to the tables, and what comes, until Ctrl-C.

    Any number of workers share the work. One that is ended finishes its batch first.
    """
    session = session_of(context)
    with session.store() as store:
        desk = session.desk(store)
        bus = bus_of(session.settings, store)
        try:
            if skip_missing:
                _skip(bus)
            if once:
                take_in(store, desk.bus, wait=True)
                _told(drain(bus, desk.books))
                say("Everything in the log is applied.")
            else:
                _follow_until_ended(Desk(store, bus, desk.books), session)
        finally:
            bus.close()


def _skip(bus: PostgresBus) -> None:
    """Say which messages are given up."""
    for partition, (stood, goes_on) in sorted(bus.skip_missing().items()):
        note(f"Partition {partition}: {stood} came next and is not there; going on at {goes_on}.")


def _follow_until_ended(desk: Desk, session: Session) -> None:
    """Work until a signal comes; the batch at hand is finished first."""
    stop = Event()
    comparing = Thread(target=compare_nightly, args=(session, stop), daemon=True)
    comparing.start()
    end_in_good_order(stop)
    said = Drained()
    differed: tuple[str, ...] = ()

    def told(total: Drained) -> None:
        nonlocal said, differed
        if total.batches > said.batches:
            _told(total, said)
            said, differed = total, _follow(desk, differed)

    heart = Heart(desk.store, session.settings.worker_name)
    with InboxThread(session, desk.store):
        follow(desk.bus, desk.books, stop, heart=heart, told=told, troubled=troubled)
    note("Ended in good order.")


def _told(total: Drained, before: Drained | None = None) -> None:
    before = before or Drained()
    applied, aside = total.applied - before.applied, total.quarantined - before.quarantined
    if total.batches > before.batches:
        note(f"{applied:,} events applied, {aside:,} quarantined")


def _follow(desk: Desk, before: tuple[str, ...]) -> tuple[str, ...]:
    """On what the policy in force differs from the configured one; said once when it changes."""
    differs = differing(desk.store, desk.books)
    if differs and differs != before:
        note(
            f"Another process keeps the facts under another policy ({', '.join(differs)}); this "
            f"one follows it. Configure both alike, and start this one again."
        )
    return differs
