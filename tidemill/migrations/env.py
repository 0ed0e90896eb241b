"""Alembic's entry: runs the revisions on the connection ``database.migrate`` hands over."""

from __future__ import annotations

from alembic import context

from tidemill.migrations import VERSION_TABLE
from tidemill.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    compare_type=True,
    compare_server_default=True,
)
# The caller holds the transaction, so that all revisions and the lock end together.
context.run_migrations()
