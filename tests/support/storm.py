"""Webhooks that come in a storm, sent as Stripe does: what was not acknowledged is sent again."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Sequence
from typing import Final

import httpx

from tests.support.webhooks import post

__all__ = ["Storm", "free_port"]

_SENDERS: Final = 4


class Storm:
    """Sends bodies until each is acknowledged, however often the server goes away."""

    def __init__(
        self, url: str, bodies: Sequence[bytes], *, patient: bool = False, pause_s: float = 0
    ) -> None:
        """patient: a refusal is no surprise, either, but sent again.

        pause_s: how long each sender waits before its next delivery.
        """
        self.acknowledged = 0
        self._url = url
        self._patient = patient
        self._pause_s = pause_s
        self._left: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        for body in bodies:
            self._left.put(body)
        self._lock = threading.Lock()
        self._given_up = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(_SENDERS)]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    @property
    def is_sending(self) -> bool:
        """Whether anything is left that is not acknowledged."""
        return any(thread.is_alive() for thread in self._threads)

    def give_up(self) -> None:
        """Send nothing again, and return when nothing is under way any more."""
        self._given_up.set()
        for thread in self._threads:
            thread.join()

    def join(self, patience_s: float = 120) -> None:
        """Return when everything is acknowledged."""
        deadline = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(timeout=max(0, deadline - time.monotonic()))
            assert not thread.is_alive(), "deliveries are never acknowledged"

    def _send(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._given_up.is_set():
                try:
                    body = self._left.get_nowait()
                except queue.Empty:
                    return
                while not (self._delivered(client, body) or self._given_up.is_set()):
                    time.sleep(0.02)
                time.sleep(self._pause_s)

    def _delivered(self, client: httpx.Client, body: bytes) -> bool:
        try:
            status = post(client, body).status_code
        except httpx.HTTPError:
            return False
        assert self._patient or status == 200
        with self._lock:
            self.acknowledged += status == 200
        return status == 200


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
