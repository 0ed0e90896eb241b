"""Keeping deliveries durable while their senders wait: many that come at once in one transaction.

A commit costs a write to disk. So one writer is at work at a time, and takes along everything that
has come in meanwhile: the more comes, the more a commit carries, and nobody waits for two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from tidemill.database import Database
from tidemill.inbox.store import Received, keep

__all__ = ["Receiving", "Writer"]


@dataclass(frozen=True)
class Receiving:
    """What webhooks need to be received: where deliveries are kept, and who may send them.

    database: one that may be written; None where nothing is received.
    secrets:  source → the signing secrets that are valid for it.
    """

    database: Database | None = None
    secrets: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Writer:
    """Writes deliveries in the order of their arrival; for one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: list[tuple[Received, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        # A thread of its own: questions that take long must not keep webhooks waiting.
        self._thread = anyio.CapacityLimiter(1)

    async def put(self, received: Received) -> None:
        """Return when the delivery is durable; a copy of one that is already here is so at once.

        Raises: whatever kept the transaction from being committed; then nothing was stored.
        """
        future = asyncio.get_running_loop().create_future()
        self._queue.append((received, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())
        await future

    async def _write(self) -> None:
        while self._queue:
            batch, self._queue = self._queue, []
            error: Exception | None = None
            try:
                deliveries = [received for received, _ in batch]
                await anyio.to_thread.run_sync(self._store, deliveries, limiter=self._thread)
            except Exception as caught:  # noqa: BLE001 - it is raised where it is waited for
                error = caught
            for _, future in batch:
                # Whoever has gone meanwhile no longer waits.
                if future.done():
                    continue
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)

    def _store(self, deliveries: Sequence[Received]) -> None:
        with self._database.begin() as connection:
            keep(connection, deliveries)
