"""What a run leaves behind: a table for people and a JSON file for comparing."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Measurement

__all__ = ["RESULTS", "machine", "save", "show"]

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> dict[str, object]:
    """What the numbers depend on besides the code; no names, no paths."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
    }


def save(
    measurements: Sequence[Measurement],
    *,
    parameters: Mapping[str, object],
    at: datetime,
    folder: Path = RESULTS,
) -> Path:
    """Write one JSON file named after the instant; returns its path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{at:%Y%m%dT%H%M%SZ}.json"
    document = {
        "at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "machine": machine(),
        "parameters": dict(parameters),
        "measurements": [asdict(each) for each in measurements],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def show(measurements: Sequence[Measurement], console: Console) -> None:
    """Print the table; numbers that miss their target are red."""
    table = Table(title="Tidemill benchmarks", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("what", no_wrap=True)
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("target", justify="right", no_wrap=True)
    table.add_column("made from", style="dim")
    for each in measurements:
        colour = {True: "green", False: "red", None: ""}[each.met]
        value = f"{_number(each.value)} {each.unit}"
        sign = "≥" if each.unit.endswith("/s") else "≤"
        target = "" if each.target is None else f"{sign} {_number(each.target)} {each.unit}"
        table.add_row(each.name, f"[{colour}]{value}[/]" if colour else value, target, each.detail)
    console.print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"  # noqa: PLR2004 - three digits
