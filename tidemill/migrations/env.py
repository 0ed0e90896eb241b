"""Alembic's entry: runs the revisions on the connection ``migrations.config`` was given."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy.dialects.postgresql import JSONB

from tidemill.migrations import VERSION_TABLE
from tidemill.models import metadata

__all__ = ["render"]


def render(kind: str, value: Any, generating: AutogenContext) -> str | Literal[False]:
    """Write a type into a new revision the way people do; False leaves it to Alembic."""
    if kind == "type" and isinstance(value, JSONB):
        generating.imports.add("from sqlalchemy.dialects import postgresql")
        return "postgresql.JSONB()"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    compare_server_default=True,
    render_item=render,
)
# The caller holds the transaction, so that all revisions and the lock end together.
context.run_migrations()
