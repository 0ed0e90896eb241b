"""The API as a client has it: a real server on a loopback port of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from tidemill.api import create_app
from tidemill.api.receiving import Receiving
from tidemill.api.serving import listen, url_of
from tidemill.bus import PostgresBus
from tidemill.engine import Tidemill
from tidemill.settings import load_settings

__all__ = ["serving"]


@contextmanager
def serving(
    tidemill: Tidemill, receiving: Receiving | None = None, watched: PostgresBus | None = None
) -> Iterator[httpx.Client]:
    """A client of the API over an open Tidemill."""
    listening = listen("127.0.0.1", 0, load_settings(auth_enabled=False))
    app = create_app(tidemill, receiving=receiving, watched=watched)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        # The socket listens already, so the first request waits until the server is ready.
        with httpx.Client(base_url=url_of(listening), timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
