"""What a worker does at night: compare the books with the billing system, and say what differs."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Event
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from tidemill.cli.output import complain, note
from tidemill.cli.session import Session
from tidemill.cli.stripe_accounts import client_for, key_for
from tidemill.cli.tables import printable
from tidemill.errors import SyncUnderway, TidemillError
from tidemill.sync import Asked, Into, due, reconcile_stripe
from tidemill.sync.runs import takes_test_mode

__all__ = ["compare_nightly"]

# How often it is asked whether a comparison is due.
_EVERY_S: Final = 600.0


def compare_nightly(session: Session, stop: Event) -> None:
    """Compare each night until told to stop; trouble is said, and tried again later."""
    settings = session.settings
    if settings.stripe_api_key is None or not settings.stripe_reconcile_nightly:
        return
    while True:
        try:
            _compare(session)
        except SyncUnderway:
            pass
        except (TidemillError, SQLAlchemyError) as error:
            said = str(error).partition("\n")[0]
            complain(printable(f"The books could not be compared with Stripe: {said}"))
        if stop.wait(_EVERY_S):
            return


def _compare(session: Session) -> None:
    """Compare every source whose turn it is."""
    with session.store() as store:
        with store.connect() as connection:
            names = due(connection, datetime.now(UTC))
        desk = session.desk(store, settled=False)
        for name in names:
            with store.connect() as connection:
                test_mode = takes_test_mode(connection, name)
            if key_for(session.settings, name) is None:
                continue
            with client_for(session.settings, name) as client:
                asked = Asked(name, test_mode=test_mode)
                done = reconcile_stripe(Into(store, desk.bus, desk.books), client, asked)
            differing = len({each.subscription for each in done.left})
            note(f"Compared {done.subscriptions:,} subscriptions of {name}: {differing:,} differ.")
