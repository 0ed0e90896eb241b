"""`tidemill serve` and `tidemill worker`: the two processes that run on."""

from __future__ import annotations

import socket
import time
from threading import Thread
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from tidemill.api.serving import listen, serve, url_of
from tidemill.bookkeeping import differing
from tidemill.cli.output import complain, note, printable, say
from tidemill.cli.session import Desk, Session, session_of
from tidemill.engine import Tidemill
from tidemill.errors import TidemillError
from tidemill.worker import drain

__all__ = ["app", "until_interrupted"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_POLL_S = 1.0


@app.command("serve")
def _serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
) -> None:
    """Answer over HTTP until Ctrl-C; /docs describes every route."""
    session = session_of(context)
    with listen(host, port, session.settings) as listening, session.open(serving=True) as tidemill:
        # It answers meanwhile: what is asked is derived until the facts are those of the policy.
        settling = Thread(target=_settle, args=(session,))
        settling.start()
        try:
            until_interrupted(tidemill, listening)
        finally:
            settling.join()


@app.command("worker")
def _worker(
    context: typer.Context,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="End when everything in the log is applied.")
    ] = False,
) -> None:
    """Apply what is in the log to the tables, and what comes, until Ctrl-C."""
    session = session_of(context)
    with session.store() as store:
        desk = session.desk(store)
        followed: tuple[str, ...] = ()
        while True:
            done = drain(desk.bus, desk.books)
            if done.batches:
                note(f"{done.applied:,} events applied, {done.quarantined:,} quarantined")
                followed = _follow(desk, followed)
            if once:
                say("Everything in the log is applied.")
                return
            time.sleep(_POLL_S)


def _settle(session: Session) -> None:
    """Make the facts those of the configured policy; a store that may only be read stays as is."""
    try:
        with session.store() as store:
            session.desk(store)
    except (TidemillError, SQLAlchemyError) as error:
        said = str(error).partition("\n")[0]
        complain(printable(f"The facts could not be brought up to the configured policy: {said}"))


def _follow(desk: Desk, before: tuple[str, ...]) -> tuple[str, ...]:
    """On what the policy in force differs from the configured one; said once when it changes."""
    differs = differing(desk.store, desk.books)
    if differs and differs != before:
        note(
            f"Another process keeps the facts under another policy ({', '.join(differs)}); this "
            f"one follows it. Configure both alike, and start this one again."
        )
    return differs


def until_interrupted(tidemill: Tidemill, listening: socket.socket) -> None:
    """Serve, after saying where."""
    url = url_of(listening)
    say(f"Tidemill answers at {url}/api/metrics, described at {url}/docs. Ctrl-C ends it.")
    serve(tidemill, listening)
