"""Progress on standard error while something takes its time; nothing where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tidemill.ingest import Ingested

__all__ = ["counting", "estimating"]


@contextmanager
def counting(doing: str, total: int | None = None) -> Iterator[Callable[[Ingested], None] | None]:
    """A line that counts what has been taken in; `total` pieces make it a bar."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=total and 2 * total, counts="")

        def report(done: Ingested) -> None:
            # Each piece counts twice: when it is in the log, and when it is in the tables.
            settled = done.read + done.applied + done.duplicate + done.quarantined + done.ignored
            counts = f"{done.read:,} read, {done.applied:,} applied"
            progress.update(task, completed=settled, counts=counts)

        yield report


@contextmanager
def estimating(doing: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar that is told (done, total) and says how long the rest may take."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=None)

        def report(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield report
