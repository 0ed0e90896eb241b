"""What is said beside every number: how fresh and how whole the data are.

Two statements, whatever the size of the log; they also tell under which policy facts were kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.in_force import differing_knobs
from tidemill.inbox.unsettled import as_unsettled, unsettled_lists
from tidemill.knobs import KNOBS, LEDGER_LAYERS
from tidemill.metrics.result import Freshness, utc_text
from tidemill.models import event_log, policy_in_use, quarantine, reconciliation, source
from tidemill.policy import Policy
from tidemill.unknown_words import unknown_events

__all__ = ["LEDGER_LAYERS", "Notices", "ledger_of", "read_notices"]


_NAMED_MAX: Final = 5


@dataclass(frozen=True)
class Notices:
    """What the store says of itself in one snapshot."""

    freshness: tuple[Freshness, ...]
    quarantined_count: int
    test_event_count: int
    #: The policy document the facts were derived under, with the books' base currency; None when
    #: nobody has noted it.
    facts_policy: Mapping[str, Any] | None
    #: Subscriptions that differed when the books were last compared with their billing systems.
    differing_count: int = 0
    #: Events with a word of their billing system that this version does not know.
    unknown_count: int = 0
    #: What a billing system read in place has beyond what is counted, in sentences.
    left_out: tuple[str, ...] = ()
    #: The knowledge date of the freshness; None = now.
    known_at: datetime | None = None
    #: Subscriptions whose latest state cannot be taken in yet, and those in doubt about it.
    unresolved: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is missing from every number, in sentences."""
        said = list(self.left_out)
        if self.known_at and self.freshness and not any(e.last_event_at for e in self.freshness):
            said.append(f"Nothing had been recorded yet at {utc_text(self.known_at)}.")
        if self.quarantined_count:
            what = _counted(self.quarantined_count, "event is", "events are")
            said.append(f"{what} in quarantine and not counted; see `tidemill quarantine list`.")
        if self.test_event_count:
            what = _counted(self.test_event_count, "test-mode event is", "test-mode events are")
            said.append(f"{what} not counted.")
        if self.differing_count:
            what = _counted(self.differing_count, "subscription", "subscriptions")
            said.append(f"{what} differed from Stripe when last compared; see `tidemill doctor`.")
        if self.unknown_count:
            what = _counted(self.unknown_count, "event holds a word", "events hold words")
            said.append(
                f"{what} that this version does not know; see `tidemill doctor`, and upgrade."
            )
        if self.unresolved:
            what = _counted(len(self.unresolved), "subscription is", "subscriptions are")
            said.append(
                f"{what} unresolved, so their latest state is not counted: "
                f"{_listed(self.unresolved)}; `tidemill doctor` says why."
            )
        if self.doubtful:
            what = _counted(len(self.doubtful), "subscription", "subscriptions")
            said.append(
                f"Of {what} nothing tells which of two changes in one second came last: "
                f"{_listed(self.doubtful)}."
            )
        return tuple(said)

    def stale(self, policy: Policy, base_currency: str) -> tuple[str, ...]:
        """What to say where the facts are not those of the configured policy, `policy`."""
        if self.facts_policy is None:
            return ()
        differing = differing_knobs(policy, base_currency, self.facts_policy)
        if not differing:
            return ()
        said = (
            f"The facts are kept under another policy than the configured one "
            f"({', '.join(differing)}), so this was derived from the whole history. A worker that "
            f"starts derives them again, or `tidemill rebuild --metric mrr`."
        )
        return (said,)


def read_notices(connection: Connection, known_at: datetime | None) -> Notices:
    """The notices of a snapshot; freshness as it was known at `known_at`."""
    refused = select(func.count()).where(quarantine.c.replayed_at.is_(None)).scalar_subquery()
    tested = select(func.count()).where(event_log.c.livemode.is_(False)).scalar_subquery()
    kept = (
        select(policy_in_use.c.document)
        .order_by(policy_in_use.c.configured_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    compared = (
        select(reconciliation.c.source, reconciliation.c.difference_count)
        .ext(distinct_on(reconciliation.c.source))
        .order_by(reconciliation.c.source, reconciliation.c.compared_at.desc())
        .subquery()
    )
    differing = select(func.coalesce(func.sum(compared.c.difference_count), 0)).scalar_subquery()
    counted = connection.execute(
        select(refused, tested, kept, differing, unknown_events(), *unsettled_lists())
    ).one()
    latest = select(func.max(event_log.c.occurred_at)).where(
        event_log.c.source_id == source.c.id,
        event_log.c.livemode,
        *([] if known_at is None else [event_log.c.recorded_at <= known_at]),
    )
    sources = connection.execute(
        select(source.c.name, latest.scalar_subquery()).order_by(source.c.name)
    )
    unresolved, doubtful = as_unsettled(*counted[5:])
    return Notices(
        freshness=tuple(Freshness(name, at) for name, at in sources),
        quarantined_count=counted[0],
        test_event_count=counted[1],
        facts_policy=counted[2],
        differing_count=int(counted[3]),
        unknown_count=counted[4],
        known_at=known_at,
        unresolved=tuple(each.subscription for each in unresolved),
        doubtful=tuple(doubtful),
    )


def ledger_of(policy: Policy) -> tuple[str, ...]:
    """The values of the knobs that change the ledger's rows: equal ones, equal rows."""
    return tuple(str(getattr(policy, each.name)) for each in KNOBS if each.layer in LEDGER_LAYERS)


def _listed(names: Sequence[str]) -> str:
    """The names, or the first of them."""
    more = len(names) - _NAMED_MAX
    shown = ", ".join(names[:_NAMED_MAX])
    return f"{shown} and {more:,} more" if more > 0 else shown


def _counted(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"
