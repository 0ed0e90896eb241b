"""Starts a new migration: ``python -m tidemill.migrations "add segments"``.

A throw-away embedded server is brought to the newest revision and compared with ``models``; the
difference becomes the next numbered file, to be read and corrected by a person.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command

from tidemill.database import connect
from tidemill.migrations import config, known_revisions

__all__ = ["main"]


def main(name: str) -> None:
    """Write the next revision's file and print where it is."""
    known = known_revisions()
    with (
        tempfile.TemporaryDirectory(prefix="tidemill-") as folder,
        connect(None, data_dir=Path(folder), migrate=bool(known)) as database,
        database.begin() as connection,
    ):
        number = f"{len(known) + 1:04}"
        command.revision(config(connection), name, autogenerate=True, rev_id=number)


if __name__ == "__main__":
    main(sys.argv[1])
