"""The ledger: from version history to MRR movements, as one SQL statement.

`derive` only builds the statement. It reads relations and a policy and knows nothing of connectors,
metrics or how rows are stored, so the same derivation fills the fact tables, answers under any
other policy or knowledge date, and runs inside a billing engine's own database.

    versions    who holds which state, from when until when
    segments    versions cut at the instants that matter; counted, or not
    levels      what each item of a counted segment is worth a month
    changes     where levels differ from one instant to the next
    movements   changes netted and named
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.ledger.activation import activated
from tidemill.ledger.changes import changes
from tidemill.ledger.discounts import counted_discounts
from tidemill.ledger.facts import Fact, whole_companies
from tidemill.ledger.levels import Measure, item_levels
from tidemill.ledger.movements import named
from tidemill.ledger.renewals import in_base, renewal_timers, renewals
from tidemill.ledger.segments import segments
from tidemill.ledger.support import require_supported
from tidemill.ledger.usage import usage_spans, usage_timers
from tidemill.ledger.versions import versions_in_force

if TYPE_CHECKING:
    from sqlalchemy import Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["Fact", "Measure", "derive", "whole_companies"]


def derive(
    relations: Relations, policy: Policy, *, measure: Measure = "mrr"
) -> Select[tuple[object, ...]]:
    """The MRR movements of a history under a policy.

    measure: what levels measure; the two annual ones serve ARR only.
    Shape:   the columns of `models.metric_mrr_movement`; native currency, exact.
    Raises:  KnobNotSupported when the policy asks for what the ledger does not do yet.
    """
    require_supported(policy)
    versions = activated(relations, policy, versions_in_force(relations, policy))
    discounts = counted_discounts(relations, policy, versions)
    usage = usage_spans(relations, policy)
    renewed = renewals(relations, policy, versions)
    timers = usage_timers(usage, versions) + renewal_timers(renewed)
    pieces = segments(relations, policy, versions, discounts, timers)
    levels = item_levels(relations, policy, pieces, discounts, usage, measure)
    return named(changes(in_base(levels, relations, policy, renewed)), relations, policy)
