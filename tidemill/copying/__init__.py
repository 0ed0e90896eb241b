"""A copy of a billing database in a store of our own, kept up with what changes there.

The copy is of the relations, row by row as the connector gives them. So whatever derives from them
gives what it gives in place, and facts can be kept of it.
"""

from __future__ import annotations

from tidemill.copying.facts import of_copy
from tidemill.copying.holding import Asked, Copy, copy_in, drop_copy, require_same
from tidemill.copying.refreshing import OVERLAP, Billing, Overlap, Refreshed, refresh
from tidemill.copying.relations import copied_relations

__all__ = [
    "OVERLAP",
    "Asked",
    "Billing",
    "Copy",
    "Overlap",
    "Refreshed",
    "copied_relations",
    "copy_in",
    "drop_copy",
    "of_copy",
    "refresh",
    "require_same",
]
