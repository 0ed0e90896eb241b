"""Stopwatches: a call once, a call many times, a whole process."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Measurement", "median_of", "once", "process"]

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Measurement:
    """One number of a report.

    name:    stable, because reports are compared by it.
    value:   in `unit`.
    unit:    ``s``, ``ms``, ``events/s`` or ``events``.
    detail:  what the value was made from, for people.
    target:  what it should be at least (rates) or at most (times); None when there is no target.
    """

    name: str
    value: float
    unit: str
    detail: str = ""
    target: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        faster_is_more = self.unit.endswith("/s")
        return self.value >= self.target if faster_is_more else self.value <= self.target


def once(call: Callable[[], Answer]) -> tuple[float, Answer]:
    """How long a call takes, in seconds, and what it gives."""
    start = time.perf_counter()
    answer = call()
    return time.perf_counter() - start, answer


def median_of(call: Callable[[], object], *, repeat: int) -> tuple[float, float]:
    """Median and worst of `repeat` calls, in seconds, after one that is not counted."""
    call()
    taken = [once(call)[0] for _ in range(repeat)]
    return statistics.median(taken), max(taken)


def process(
    command: Sequence[str], *, environment: Mapping[str, str], repeat: int
) -> tuple[float, float]:
    """Median and worst of `repeat` runs of a whole process, in seconds, after one not counted.

    Raises: CalledProcessError when a run fails.
    """

    def run() -> None:
        subprocess.run(
            command, env={**os.environ, **environment}, check=True, capture_output=True, timeout=60
        )

    return median_of(run, repeat=repeat)
