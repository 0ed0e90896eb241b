"""State: from events to core tables, version history and facts, a batch in a transaction."""

from __future__ import annotations

from tidemill.state.apply import LOGGED, Applied, apply
from tidemill.state.facts import derive_all
from tidemill.state.in_force import Books
from tidemill.state.statistics import keep_statistics

__all__ = ["LOGGED", "Applied", "Books", "apply", "derive_all", "keep_statistics"]
