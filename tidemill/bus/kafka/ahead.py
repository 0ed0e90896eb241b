"""Moving messages in a thread of its own, while what came before is applied.

Applying keeps the database busy and leaves the brokers alone; moving does both. What is moved ahead
stands in the log as a backlog, which is read a partition at a time: so a batch holds much of the
history of some customers, and not a little of everybody's.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Self

__all__ = ["Ahead"]


class Ahead:
    """The thread, for the length of a ``with`` block; what goes wrong in it waits to be raised."""

    def __init__(self, move: Callable[[], object]) -> None:
        """move: moves what there is, or waits a moment for something to come."""
        self._move = move
        self._trouble: Exception | None = None
        self._told = Event()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="messages", daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End with the move at hand."""
        self._stop.set()
        self._told.set()
        self._thread.join()

    def raise_trouble(self) -> None:
        """Raise what stopped the last move, if anything; then the next one is tried."""
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            self._told.set()
            raise trouble

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._move()
            # Whatever it is, it must not be lost with the thread.
            except Exception as error:  # noqa: BLE001 - raised by `raise_trouble`
                self._told.clear()
                self._trouble = error
                if not self._stop.is_set():
                    self._told.wait()
