"""The HTTP API: parses, calls, answers in JSON. Routes of metrics come from the catalogue."""

from __future__ import annotations

from tidemill.api.app import create_app

__all__ = ["create_app"]
