"""`tidemill demo`: a made-up business through the real path, its numbers, and the API.

The business lives where real data would, so that every command can be tried on it. It never stands
among real data: it is refused where there is any, and makes room when some is imported.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Annotated, Any, Final

import typer

from tidemill.api.serving import listen
from tidemill.bookkeeping import DEMO, clear, source_kinds
from tidemill.cli.output import note, say
from tidemill.cli.progress import counting
from tidemill.cli.serving import until_interrupted
from tidemill.cli.session import Desk, Session, session_of
from tidemill.cli.summary import summary_text
from tidemill.connectors.base import Item
from tidemill.connectors.of_events import CONNECTORS
from tidemill.database import Database
from tidemill.demo import costs, fx_rates, generate
from tidemill.errors import BooksInUse, InvalidSettings
from tidemill.ingest import Ingested, ingest
from tidemill.intake import Ignored, Rejected
from tidemill.problems import Problem

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_CURRENCIES: Final = ("USD", "EUR", "GBP")


@app.command("demo")
def _demo(
    context: typer.Context,
    *,
    customers: Annotated[int, typer.Option(min=1, metavar="N", help="How many customers.")] = 500,
    months: Annotated[int, typer.Option(min=1, metavar="N", help="How many months.")] = 24,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, another business.")] = 7,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="End after the summary.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the HTTP API.")] = 8000,
) -> None:
    """A made-up business of Stripe customers, its numbers, and the HTTP API until Ctrl-C.

    It is refused where real data are, replaces an earlier demo, and makes room for an import.
    """
    session = session_of(context)
    with ExitStack() as stack:
        # A port that is taken should be known before the work, not after it.
        wanted = None if no_serve else listen("127.0.0.1", port, session.settings)
        listening = None if wanted is None else stack.enter_context(wanted)
        # The business ends yesterday: nothing in it may happen later than now.
        end = datetime.now(UTC).date() - timedelta(days=1)
        # Open to the end, so that the embedded server need not start twice.
        store = stack.enter_context(session.store())
        _make(session, store, _Business(customers, months, seed, end))
        tidemill = stack.enter_context(session.open(serving=True))
        say("")
        say(summary_text(tidemill.summary(end)))
        say("\nTry: tidemill mrr waterfall · tidemill mrr --by plan · tidemill explain mrr")
        if listening is not None:
            until_interrupted(tidemill, listening)


@dataclass(frozen=True, slots=True)
class _Business:
    """Which business it is: the same four numbers, the same events."""

    customers: int
    months: int
    seed: int
    end: date


def _make(session: Session, store: Database, business: _Business) -> None:
    """Put the business into the books, in place of an earlier one.

    Raises: BooksInUse, InvalidSettings.
    """
    base, months, end = session.settings.base_currency, business.months, business.end
    if base not in _CURRENCIES:
        problem = f"is {base}, and the demo has rates for {', '.join(_CURRENCIES)} only"
        raise InvalidSettings([Problem("TIDEMILL_BASE_CURRENCY", problem)])
    started = time.monotonic()
    desk = session.desk(store)
    _make_room(desk)
    note(
        f"A made-up business of {business.customers:,} customers over {months:,} months, as source "
        f"{DEMO!r} in {store.url_display}; importing data of your own removes it."
    )
    payloads = list(generate(business.customers, months, business.seed, end=end))
    rates = list(fx_rates(months, business.seed, end=end, base=base, source=DEMO))
    spent = list(costs(business.customers, months, business.seed, end=end, base=base, source=DEMO))
    beside = [*rates, *spent]
    with counting("From Stripe events to MRR", len(payloads) + len(beside)) as progress:
        items = chain(beside, _translated(payloads))
        done = ingest(store, desk.bus, items, desk.books, source_kind=DEMO, progress=progress)
    _tell(done, len(payloads), time.monotonic() - started)


def _make_room(desk: Desk) -> None:
    """Remove an earlier demo.

    Raises: BooksInUse when there are other data.
    """
    with desk.store.connect() as connection:
        kinds = source_kinds(connection)
    others = [name for name, kind in kinds.items() if kind != DEMO]
    if others:
        where = desk.store.url_display
        raise BooksInUse(
            f"The books at {where} hold data of {', '.join(others)}; the demo would mix with it.",
            hint="Set TIDEMILL_DATA_DIR to another directory for the demo.",
        )
    if kinds:
        clear(desk.store, desk.bus)


def _translated(payloads: Iterable[dict[str, Any]]) -> Iterator[Item]:
    """What the connector makes of the payloads, as the import of a file would hand it on."""
    stripe = next(each for each in CONNECTORS if each.name == "stripe")
    for translation in stripe.translate_many(payloads, source=DEMO):
        yield from translation.events
        if translation.problems:
            yield Rejected("demo", DEMO, "stripe-events", "", translation.problems)
        elif translation.ignored is not None:
            yield Ignored("demo", "", translation.ignored)


def _tell(done: Ingested, payloads: int, elapsed_s: float) -> None:
    say(
        f"{payloads:,} Stripe events became {done.applied:,} canonical events with exchange rates "
        f"and costs, {done.ignored:,} were of no interest; all in {elapsed_s:.1f} s."
    )
