"""Kill Bill: its own PostgreSQL, read in place."""

from __future__ import annotations
