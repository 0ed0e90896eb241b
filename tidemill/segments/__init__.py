"""Segments: saved conditions on customers that any question can be asked of, or compared by.

A segment is a set of *customers*, never of rows: whoever is in it is in it with all of their rows.
That is why the sums over segments that share nobody and leave nobody out are the totals.
"""

from __future__ import annotations

from tidemill.segments.asked import BRANCHES_MAX, asked_segments
from tidemill.segments.fields import Field, fields_of
from tidemill.segments.store import (
    SavedSegment,
    delete_segment,
    history_of,
    load_segments,
    require_name,
    save_segment,
    saved_segments,
)
from tidemill.segments.tree import Node, read_tree

__all__ = [
    "BRANCHES_MAX",
    "Field",
    "Node",
    "SavedSegment",
    "asked_segments",
    "delete_segment",
    "fields_of",
    "history_of",
    "load_segments",
    "read_tree",
    "require_name",
    "save_segment",
    "saved_segments",
]
