"""Which columns of its rows a question reads."""

from __future__ import annotations

from sqlalchemy import column, func, select, table

from tidemill.engine.reading import columns_read

ROWS = table("movement", column("day"), column("amount"), column("plan"))


def test_columns_are_found_wherever_they_are_mentioned() -> None:
    early = select(ROWS.c.day, func.sum(ROWS.c.amount)).group_by(ROWS.c.day).cte("early")
    assert columns_read([select(func.count()).select_from(early)], ROWS) == {"day", "amount"}
    assert columns_read([select(ROWS.c.day).where(ROWS.c.plan == "team")], ROWS) == {"day", "plan"}


def test_rows_that_are_selected_whole_are_read_whole() -> None:
    """Such as those of some customers, of which more is asked afterwards."""
    theirs = select(ROWS).where(ROWS.c.plan == "team").cte("theirs")
    assert columns_read([select(func.sum(theirs.c.amount))], ROWS) == {"day", "amount", "plan"}
