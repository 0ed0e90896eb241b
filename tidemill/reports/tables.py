"""Styled tables: the rows as people read them, losses in their colour."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tidemill.errors import MissingExtra
from tidemill.metrics.columns import Column
from tidemill.metrics.result import Result, utc_text
from tidemill.reports.palette import LOSS
from tidemill.reports.shape import titled

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["styled"]

_NUMBERS: Final = frozenset({"money", "ratio", "count"})


def styled(result: Result) -> Styler:
    """The answer as a styled pandas table: money with its sign or code, losses in vermilion.

    Its cells are texts. To compute, take `Result.to_pandas`, whose amounts are exact.

    Raises: MissingExtra with the command that installs pandas and Jinja2.
    """
    try:
        import pandas as pd
        from pandas.io.formats.style import Styler
    except ImportError as error:
        raise MissingExtra("notebook", "A styled table") from error
    names = [each.name for each in result.columns]
    table = pd.DataFrame(list(result.cells()), columns=names, dtype="object")
    looks = [[_look(each, row[each.name]) for each in result.columns] for row in result.rows]
    css = pd.DataFrame(looks, columns=names, dtype="object")
    caption = f"{result.metric} {result.question}, policy {result.policy.preset}"
    return (
        Styler(table, escape="html")
        .apply(lambda _: css, axis=None)
        .format_index(lambda name: titled(str(name)), axis=1)
        .hide(axis="index")
        .set_caption(f"{titled(caption)}, as of {utc_text(result.as_of)}")
    )


def _look(column: Column, value: Any) -> str:
    if column.unit not in _NUMBERS:
        return "text-align: left"
    loss = isinstance(value, int | Decimal) and value < 0
    return "text-align: right" + (f"; color: {LOSS}" if loss else "")
