"""`tidemill import csv KIND FILE`: tables of what people know, as events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from tidemill.connectors.base import Item
from tidemill.connectors.files.attributes import read_attributes
from tidemill.periods import parse_instant

__all__ = ["At", "Kind", "Source", "reading"]

Kind = Annotated[
    Literal["attributes"],
    typer.Argument(
        metavar="KIND",
        help="attributes: a column customer with the ids, and a column for each attribute.",
    ),
]
Source = Annotated[
    str,
    typer.Option("--source", metavar="NAME", help="The source whose customers the file names."),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="INSTANT", help="When it became so.", show_default="the time of the import"
    ),
]


def reading(kind: str, file: str, source: str, at: str | None) -> Iterator[Item]:
    """The events of a file, read before the first of them is taken in."""
    assert kind == "attributes"
    moment = datetime.now(UTC) if at is None else parse_instant(at)
    yield from read_attributes(file, source=source, at=moment)
