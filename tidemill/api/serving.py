"""Serving the API from this process: where it may listen, and listening there."""

from __future__ import annotations

import gc
import socket
import sys
from ipaddress import ip_address
from typing import Final

import uvicorn

from tidemill.api.app import create_app
from tidemill.api.receiving import Receiving
from tidemill.bus import PostgresBus
from tidemill.engine import Tidemill
from tidemill.errors import AddressUnavailable, AuthRequired
from tidemill.settings import Settings

__all__ = ["listen", "serve", "url_of"]


_SWITCH_S: Final = 0.0005
"""For how long one thread may keep the interpreter while others want it."""
_NEW_OBJECTS: Final = 700
"""After so many new objects it is looked for garbage among them: Python's own default."""


def listen(host: str, port: int, settings: Settings) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises:
        AuthRequired: others could call it, or it should ask who is calling.
        AddressUnavailable: the address is taken, or not one of this machine.
    """
    if settings.auth_enabled:
        raise AuthRequired(
            "AUTH_ENABLED is set, and this version cannot ask who is calling yet.",
            hint="Unset AUTH_ENABLED, serve on 127.0.0.1, and let a proxy ask in front of it.",
        )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _unavailable(host, port, error.strerror or str(error)) from None
    outside = sorted({str(each[4][0]) for each in found if not _is_loopback(str(each[4][0]))})
    if outside:
        raise AuthRequired(
            f"On {outside[0]} anyone who can reach this machine could read the books; that needs "
            "AUTH_ENABLED=true, which this version cannot honour yet.",
            hint="Serve on 127.0.0.1 (`--host 127.0.0.1`), and let a proxy ask who is calling.",
        )
    family, _, _, _, address = found[0]
    try:
        listening = socket.create_server(address, family=family, backlog=128)
        # Connections inherit it. Without it the body of an answer waits until the other side has
        # acknowledged its headers, which it puts off by 40 ms; asyncio sees no need to set it here.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _unavailable(host, port, reason) from None


def _unavailable(host: str, port: int, reason: str) -> AddressUnavailable:
    return AddressUnavailable(
        f"Cannot listen on {host}, port {port}: {reason}.",
        hint="Choose another port with --port, or end the program that uses it.",
    )


def _is_loopback(address: str) -> bool:
    return ip_address(address.partition("%")[0]).is_loopback


def url_of(listening: socket.socket) -> str:
    """The address a browser finds it at."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    tidemill: Tidemill,
    listening: socket.socket,
    *,
    receiving: Receiving | None = None,
    watched: PostgresBus | None = None,
    log_level: str = "warning",
) -> None:
    """Answer until a signal ends it."""
    app = create_app(tidemill, receiving=receiving, watched=watched)
    # Whoever waits for an answer shares the interpreter with what takes deliveries in, and has to
    # get it back several times for one answer.
    sys.setswitchinterval(_SWITCH_S)
    # What is there by now stays. Looking through all of it for garbage, which a busy server does
    # every few seconds, would hold up whoever waits for an answer by a tenth of a second and more.
    gc.collect()
    gc.freeze()
    # The command line looks rarely, and long each time.
    gc.set_threshold(_NEW_OBJECTS)
    config = uvicorn.Config(app, log_level=log_level, access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])
