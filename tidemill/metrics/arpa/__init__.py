"""The metric `arpa`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.arpa.metric import Arpa

__all__ = ["Arpa"]
