"""The command line: parses, calls, prints. Commands of metrics are generated from the catalogue."""

from __future__ import annotations

from tidemill.cli.run import main

__all__ = ["main"]
