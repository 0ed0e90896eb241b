"""Start a migration: ``python -m tidemill.migrations "what it does"`` (that is ``make migration``).

The file gets the next number and empty hands; write its statements with ``op`` and declare the same
in ``models.py``. A test compares the two.
"""

from __future__ import annotations

import sys

from alembic import command
from alembic.config import Config

from tidemill.migrations import HOME, head

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Write the new file; the exit code."""
    if len(arguments) != 1 or not arguments[0].strip():
        sys.stderr.write('Usage: python -m tidemill.migrations "what it does"\n')
        return 2
    config = Config()
    config.set_main_option("script_location", str(HOME))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    command.revision(config, message=arguments[0].strip(), rev_id=f"{int(head()) + 1:04d}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
