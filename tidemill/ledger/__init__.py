"""The ledger: from version history to MRR movements, as one SQL statement.

`derive` only builds the statement. It reads relations and a policy and knows nothing of connectors,
metrics or how rows are stored, so the same derivation fills the fact tables, answers under any
other policy or knowledge date, and runs inside a billing engine's own database.

    versions    who holds which state, from when until when
    segments    versions cut at the instants that matter; counted, or not
    levels      what each item of a counted segment is worth a month
    changes     where levels differ from one instant to the next
    movements   changes netted and named

What stands on one day needs no more than the levels (`standing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.ledger.changes import changes, turns_of
from tidemill.ledger.facts import Fact, RollUp, tables_of, whole_companies
from tidemill.ledger.halves import half
from tidemill.ledger.levels import Measure
from tidemill.ledger.movements import named, of_lines
from tidemill.ledger.renewals import Revaluations, in_base
from tidemill.ledger.standing import held_before, standing, stands_by_itself
from tidemill.ledger.steps import segment_levels, steps
from tidemill.ledger.trials import trials

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = [
    "Fact",
    "Measure",
    "RollUp",
    "derive",
    "half",
    "held_before",
    "segment_levels",
    "standing",
    "stands_by_itself",
    "tables_of",
    "trials",
    "whole_companies",
]


def derive(
    relations: Relations,
    policy: Policy,
    *,
    measure: Measure = "mrr",
    columns: Collection[str] | None = None,
) -> Select[tuple[object, ...]]:
    """The MRR movements of a history under a policy.

    measure: what levels measure; the two annual ones serve ARR only.
    columns: which are wanted beside the customer, where not all are; fewer take less time.
    Shape:   the columns of `models.metric_mrr_movement`; native currency, exact.
    Raises:  KnobNotSupported when the policy asks for what the ledger does not do yet.
    """
    wanted = of_lines(policy, columns)
    made = steps(relations, policy, measure, told="causes" if wanted is None else "spans")
    more = (made.segments, made.renewing, made.usage)
    levels, renewals = in_base(made.levels, relations, policy, more)
    turns = turns_of(levels, wanted)
    revaluations = None if renewals is None else Revaluations(turns, renewals)
    return named(changes(turns, wanted), revaluations, relations, policy, columns)
