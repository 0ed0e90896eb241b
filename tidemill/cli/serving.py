"""`tidemill serve`: answers over HTTP, and works behind it."""

from __future__ import annotations

import socket
from threading import Event, Thread
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from tidemill.api.receiving import Receiving
from tidemill.api.serving import listen, serve, url_of
from tidemill.bookkeeping import bus_of
from tidemill.bus import PostgresBus
from tidemill.cli.output import complain, say
from tidemill.cli.session import Session, session_of
from tidemill.cli.tables import printable
from tidemill.cli.working import work_behind
from tidemill.database import Database
from tidemill.engine import Tidemill
from tidemill.errors import TidemillError

__all__ = ["app", "until_interrupted"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command("serve")
def _serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
) -> None:
    """Answer over HTTP until Ctrl-C; /docs describes every route."""
    session = session_of(context)
    if session.settings.reads_in_place:
        with (
            listen(host, port, session.settings) as listening,
            session.open(serving=True) as tidemill,
        ):
            until_interrupted(tidemill, listening)
        return
    with (
        listen(host, port, session.settings) as listening,
        session.open(serving=True) as tidemill,
        session.store() as store,
    ):
        # It answers meanwhile: what is asked is derived until the facts are those of the policy.
        stop = Event()
        working = Thread(target=_work, args=(session, store, stop))
        working.start()
        receiving = Receiving(store, session.settings.stripe_webhook_secrets)
        watched = bus_of(session.settings, store) if session.settings.metrics_enabled else None
        try:
            until_interrupted(tidemill, listening, receiving, watched)
        finally:
            stop.set()
            working.join()


def _work(session: Session, store: Database, stop: Event) -> None:
    """Make the facts those of the configured policy, then keep the books up to what comes.

    A store that may only be read stays as it is.
    """
    try:
        desk = session.desk(store)
    except (TidemillError, SQLAlchemyError) as error:
        said = str(error).partition("\n")[0]
        complain(printable(f"The facts could not be brought up to the configured policy: {said}"))
        return
    work_behind(session, store, desk.books, stop)


def until_interrupted(
    tidemill: Tidemill,
    listening: socket.socket,
    receiving: Receiving | None = None,
    watched: PostgresBus | None = None,
) -> None:
    """Serve, after saying where."""
    url = url_of(listening)
    say(f"Tidemill answers at {url}/api/metrics, described at {url}/docs. Ctrl-C ends it.")
    serve(tidemill, listening, receiving=receiving, watched=watched)
