"""The command line: parses, calls, prints. Commands of metrics are generated from the catalogue."""

from __future__ import annotations

import atexit
import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_NEW_OBJECTS: Final = 300_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's own; the exit code."""
    # What loading and asking make, some 200,000 objects, stays. Looking through them for garbage
    # with every 700 new ones would take a tenth of the time until there is an answer.
    gc.set_threshold(_NEW_OBJECTS)
    # And it all goes with the process: Python would look through it once more as it ends, which
    # takes a quarter of the time that loading it did.
    atexit.register(gc.freeze)
    from tidemill.cli.run import main as run

    return run(arguments)
