"""What works behind the API and in `tidemill worker`: the inbox, beside the log."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Event, Thread
from typing import Self

from tidemill.bookkeeping import bus_of
from tidemill.bus import PostgresBus
from tidemill.cli.output import complain
from tidemill.cli.session import Session
from tidemill.cli.stripe_accounts import client_for, key_for
from tidemill.cli.tables import printable
from tidemill.connectors.stripe.accounts import account_source
from tidemill.connectors.stripe.completing import Reader
from tidemill.database import Database
from tidemill.errors import TidemillError
from tidemill.following import follow
from tidemill.heartbeat import Heart
from tidemill.inbox.following import follow_inbox
from tidemill.inbox.mending import Readers
from tidemill.settings import Settings
from tidemill.state import Books

__all__ = ["InboxThread", "readers_of", "troubled", "work_behind"]

_STRIPE = "stripe"


def readers_of(settings: Settings, stack: ExitStack) -> Readers:
    """Who reads from Stripe's API for which source and account; they are closed with the stack.

    A key that names no source opens the account of the only source with a webhook, or, with
    several, of the one named `stripe`.
    """
    named = set(settings.stripe_webhook_secrets)
    served = named if len(named) == 1 else {_STRIPE}
    clients: dict[str, Reader] = {}

    def reader(source: str, account: str) -> Reader | None:
        name = account_source(source, account)
        if name not in clients and key_for(settings, source, served=served) is not None:
            clients[name] = stack.enter_context(client_for(settings, name))
        return clients.get(name)

    return reader


class InboxThread:
    """The inbox, followed in a thread of its own; use it in a ``with`` block.

    failed: set when it ended with an error, which has been told.
    """

    def __init__(self, session: Session, store: Database) -> None:
        self._session = session
        self._store = store
        self._stop = Event()
        self._thread = Thread(target=self._run, name="inbox")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with ExitStack() as stack:
            readers = readers_of(self._session.settings, stack)
            bus = PostgresBus(self._store)
            try:
                follow_inbox(self._store, bus, readers, self._stop, troubled=troubled)
            except Exception as error:
                complain(printable(f"Deliveries are kept, but not taken in: {_first(error)}"))
                raise


def work_behind(session: Session, store: Database, books: Books, stop: Event) -> None:
    """Take in what webhooks bring and apply what is in the log, until `stop` is set."""
    bus = bus_of(session.settings, store)
    try:
        with InboxThread(session, store):
            heart = Heart(store, session.settings.worker_name)
            follow(bus, books, stop, heart=heart, troubled=troubled)
    finally:
        bus.close()


def troubled(error: Exception, delay_s: float) -> None:
    """Tell of trouble that may pass."""
    complain(printable(f"{_first(error)} Trying again in {delay_s:g} s."))


def _first(error: Exception) -> str:
    said = error.message if isinstance(error, TidemillError) else str(error)
    return said.partition("\n")[0]
