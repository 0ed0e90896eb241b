"""SQL as text: a statement with its values written in, and formatted for people.

What answers a question is run with bound parameters. The one text that is run is a derivation that
a function of the database is given (`side_by_side`); it has no values but those of policies.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects.postgresql.base import PGDialect

__all__ = ["readable", "written"]


def readable(statement: Select[Any]) -> str:
    """The statement as one could paste it into psql."""
    # Loading sqlglot takes longer than answering, and few ask for the SQL.
    import sqlglot

    text = written(statement)
    pretty: str = sqlglot.transpile(text, read="postgres", write="postgres", pretty=True)[0]
    return pretty


def written(statement: Select[Any]) -> str:
    """The statement as PostgreSQL takes it without parameters."""
    # Named parameters, of which none is left, so that no sign in a text is doubled for them.
    # SQLAlchemy leaves its dialects without types.
    dialect = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
