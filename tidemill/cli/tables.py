"""Tables for people, and texts that a terminal may be given."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["as_table", "printable"]

# What could move a terminal's cursor, colour it or break a row in two.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Tables are as wide as they need to be, like those of psql: folded cells cannot be read or piped.
_WIDTH: Final = 10_000


def as_table(
    names: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[bool] = ()
) -> str:
    """Rows for people, below their column names; `right` says which columns align to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    sides = [*right, *[False] * (len(names) - len(right))]
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name, is_right in zip(names, sides, strict=True):
        made.add_column(Text(name), justify="right" if is_right else "left", no_wrap=True)
    for row in rows:
        # Text, not markup: a plan may be called "[red]".
        made.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(width=_WIDTH, file=io.StringIO(), force_terminal=sys.stdout.isatty())
    with console.capture() as captured:
        console.print(made)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def printable(text: str) -> str:
    r"""The text with control characters as escapes, so that data cannot drive the terminal.

    >>> printable("a\x1b[2J")
    'a\\x1b[2J'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
