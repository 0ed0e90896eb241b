"""The schema's history: one numbered file per change, shipped in the package, run by Alembic.

``schema.migrate`` runs them. Files are named ``0001_what_it_does.py`` and form one line: the
highest number is the newest schema this program knows. ``make migration NAME="…"`` starts the next
one from what ``models`` says and the migrated schema lacks.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine import Connection

__all__ = ["HOME", "VERSION_TABLE", "config", "head", "known_revisions"]

HOME = Path(__file__).parent
"""The folder of this package, which Alembic reads."""

VERSION_TABLE = "tidemill_schema_version"
"""Where a database says which revision it is at.

Not Alembic's default name: the database may be shared with an application that uses it.
"""


@cache
def known_revisions() -> tuple[str, ...]:
    """The revisions this program knows, oldest first.

    Read from the file names, because loading Alembic to learn that there is nothing to do would
    take as long as most commands.
    """
    return tuple(sorted(path.name[:4] for path in (HOME / "versions").glob("[0-9]*_*.py")))


def head() -> str:
    """The newest revision this program knows."""
    return known_revisions()[-1]


def config(connection: Connection) -> Config:
    """What Alembic's commands need to work on an open connection."""
    from alembic.config import Config

    made = Config(attributes={"connection": connection})
    # Alembic reads the value as a format string.
    made.set_main_option("script_location", str(HOME).replace("%", "%%"))
    made.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    made.set_main_option("path_separator", "os")
    return made
