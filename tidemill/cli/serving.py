"""`tidemill serve` and `tidemill worker`: the two processes that run on."""

from __future__ import annotations

import socket
import time
from typing import Annotated

import typer

from tidemill.api.serving import listen, serve, url_of
from tidemill.cli.output import note, say
from tidemill.cli.session import session_of
from tidemill.engine import Tidemill
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
        until_interrupted(tidemill, listening)


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
        while True:
            done = drain(desk.bus, desk.books)
            if done.batches:
                note(f"{done.applied:,} events applied, {done.quarantined:,} quarantined")
            if once:
                say("Everything in the log is applied.")
                return
            time.sleep(_POLL_S)


def until_interrupted(tidemill: Tidemill, listening: socket.socket) -> None:
    """Serve, after saying where."""
    url = url_of(listening)
    say(f"Tidemill answers at {url}/api/metrics, described at {url}/docs. Ctrl-C ends it.")
    serve(tidemill, listening)
