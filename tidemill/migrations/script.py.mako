"""${message[0].upper() + message[1:]}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
__all__ = ["down_revision", "revision", "upgrade"]

revision = "${up_revision}"
down_revision = ${'"' + down_revision + '"' if down_revision else None}


def upgrade() -> None:
    """${message[0].upper() + message[1:]}."""
    ${upgrades if upgrades else "pass"}
