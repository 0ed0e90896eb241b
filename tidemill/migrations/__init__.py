"""The schema's history: one numbered file per change, shipped in the package, run by Alembic.

``database.migrate`` is the way to run them. Files are named ``0001_what_it_does.py`` and form one
line: the highest number is the newest schema this program knows.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["HOME", "VERSION_TABLE", "head", "known_revisions"]

HOME = Path(__file__).parent
# Not Alembic's default name: the database may be shared with an application that uses it.
VERSION_TABLE = "tidemill_schema_version"


@cache
def known_revisions() -> tuple[str, ...]:
    """The revisions this program knows, oldest first.

    Read from the file names, because loading Alembic to learn that nothing is to be done would
    take longer than most commands.
    """
    return tuple(sorted(path.name[:4] for path in (HOME / "versions").glob("[0-9]*_*.py")))


def head() -> str:
    """The newest revision this program knows."""
    return known_revisions()[-1]
