"""The ledger of a whole book, derived by two processes of the database at once.

PostgreSQL works out window functions in one process, and the ledger is made of them. But it can run
the branches of a union side by side, if each is safe to run in a process of its own: a statement
with common table expressions never is, a call of a function that is declared so, and that runs the
statement, is (`tidemill_rows`, which the migrations create).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    FromClause,
    Select,
    column,
    func,
    literal,
    literal_column,
    select,
    union_all,
)

from tidemill.engine.sql import written
from tidemill.ledger import Measure, derive, half
from tidemill.models import metric_mrr_movement
from tidemill.policy import Policy
from tidemill.relations import Relations

__all__ = ["derive_side_by_side"]

# Stands in the text where one half differs from the other.
_IS_FIRST: Final = "<is first half>"


# Writing a derivation out takes longer than asking a small book; each may hold 2 MB of memory, and
# each question has its own, of the columns it reads.
@lru_cache(maxsize=16)
def derive_side_by_side(
    relations: Relations,
    policy: Policy,
    *,
    measure: Measure = "mrr",
    columns: Collection[str] | None = None,
) -> Select[Any]:
    """What `ledger.derive` gives of the same, in half the time where a second processor is free.

    Only where our own schema is. What writes its rows somewhere gains nothing: PostgreSQL gives it
    one process.
    Raises: KnobNotSupported.
    """
    either = half(relations, policy, literal_column(_IS_FIRST, Boolean))
    query = derive(either, policy, measure=measure, columns=columns)
    # Putting it together and writing it out takes longer than a small book: once for both.
    text, names = written(query), query.selected_columns.keys()
    rows = [
        _rows(text.replace(_IS_FIRST, is_first), names, f"half_where_{is_first}")
        for is_first in ("true", "false")
    ]
    both = union_all(*(select(*each.c) for each in rows)).subquery("both_halves")
    return select(*both.c)


def _rows(text: str, names: Sequence[str], name: str) -> FromClause:
    """The rows of a query by way of the function, which takes it as a text."""
    columns = [column(each, metric_mrr_movement.c[each].type) for each in names]
    called = func.tidemill_rows(literal(text)).table_valued(*columns, name=name)
    return called.render_derived(name=name, with_types=True)
