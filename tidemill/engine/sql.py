"""SQL for people: an answer's statement with its values written in, formatted.

What is shown is never what is run: statements run with bound parameters only.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects.postgresql.base import PGDialect

__all__ = ["readable"]


def readable(statement: Select[Any]) -> str:
    """The statement as one could paste it into psql."""
    # Loading sqlglot takes longer than answering, and few ask for the SQL.
    import sqlglot

    # SQLAlchemy leaves its dialects without types.
    dialect = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]
    written = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    pretty: str = sqlglot.transpile(written, read="postgres", write="postgres", pretty=True)[0]
    return pretty
