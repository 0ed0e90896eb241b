"""Presets: the definitions other products use, as differences from Tidemill's default policy.

Each knob of a preset says how sure we are that the product really does it this way, and where that
was read. Whatever is only inferred or unknown is a best guess and shown as one.
"""

from __future__ import annotations

from tidemill.presets.preset import EVIDENCE, Choice, Evidence, Preset
from tidemill.presets.products import PRESETS
from tidemill.presets.sources import SOURCES

__all__ = ["EVIDENCE", "PRESETS", "SOURCES", "Choice", "Evidence", "Preset"]
