"""Where the API listens, and how."""

from __future__ import annotations

import socket

from tidemill.api.serving import listen
from tidemill.settings import load_settings


def test_answers_are_sent_at_once() -> None:
    """Else each waits 40 ms for the acknowledgement of its own headers."""
    with (
        listen("127.0.0.1", 0, load_settings()) as listening,
        socket.create_connection(listening.getsockname()[:2]),
    ):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
