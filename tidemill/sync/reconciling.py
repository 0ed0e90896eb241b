"""`tidemill reconcile stripe`: whether the books agree with what Stripe says now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, insert

from tidemill import worker
from tidemill.connectors.base import Item
from tidemill.connectors.fields import Fields
from tidemill.connectors.files.tables.stripe_exports import read_stripe_exports
from tidemill.connectors.stripe.backfill import (
    EVENTS_KEPT_S,
    Unit,
    basic_units,
    read_unit,
    schedule_unit,
    staged,
    subscription_unit,
)
from tidemill.connectors.stripe.client import Json, StripeClient
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.reconcile import Difference, compare, compare_plans
from tidemill.connectors.stripe.shapes import customer_key
from tidemill.connectors.stripe.told import Teller, items_of, learn, slim, wrapped
from tidemill.connectors.stripe.translate import Setting, translate
from tidemill.events import Event
from tidemill.ingest import Ingested, ingest
from tidemill.intake import Rejected
from tidemill.models import reconciliation
from tidemill.sync.reading import KIND, Asked, Into, alone
from tidemill.sync.runs import last_position
from tidemill.sync.states import latest_plans, latest_states

__all__ = ["Reconciled", "compare_export", "reconcile_stripe"]

# A state or plan as the books have it, and its place in the log.
_Ours = tuple[dict[str, Any], int]

_KEPT_MAX: Final = 1_000
_DECODER: Final = msgspec.json.Decoder(dict[str, Any])
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a comparison found.

    differences: between the books and Stripe when they were compared.
    taken:       what became of the corrections; None when none were asked for.
    """

    source: str
    compared_at: datetime
    subscriptions: int
    differences: tuple[Difference, ...]
    taken: Ingested | None = None

    @property
    def left(self) -> tuple[Difference, ...]:
        """What differs still: what could not be mended, or everything."""
        if self.taken is None:
            return self.differences
        return tuple(each for each in self.differences if each.field == "unresolved")

    def document(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return {
            "source": self.source,
            "compared_at": self.compared_at.isoformat(),
            "subscriptions": self.subscriptions,
            "differences": [each.document() for each in self.differences[:_KEPT_MAX]],
            "corrections": None if self.taken is None else self.taken.document(),
        }


def reconcile_stripe(
    into: Into,
    client: StripeClient,
    asked: Asked,
    *,
    fix: bool = False,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Reconciled:
    """Compare every subscription, and what is planned for it, with the books; mend them if `fix`.

    A correction is an event like any other: the whole state as Stripe shows it, dated by its end
    where it has ended, and by the comparison where nothing tells when it changed. The outcome is
    kept.

    Raises: as `sync_stripe`.
    """
    client.check_mode(asked.source, test_mode=asked.test_mode)
    with alone(into.database, asked.source):
        worker.drain(into.bus, into.books)
        compared_at = clock()
        comparison = _Comparison(into, client, asked, compared_at)
        found = list(comparison.differences())
        taken = None
        if fix and comparison.corrections:
            taken = ingest(
                into.database, into.bus, comparison.corrections, into.books, source_kind=KIND
            )
        done = Reconciled(asked.source, compared_at, comparison.count, tuple(found), taken)
        with into.database.begin() as connection:
            _note(connection, done)
    return done


def compare_export(into: Into, files: Sequence[str], source_name: str, now: datetime) -> Reconciled:
    """Compare the books with an export of subscriptions from Stripe's dashboard, without its API.

    Only what an export shows is compared, and of items only where the books have a single one.
    Raises: InvalidFile, UnreadableFile.
    """
    worker.drain(into.bus, into.books)
    shown: dict[str, Event] = {}
    for event in read_stripe_exports(files, source_name, now):
        if event.type.startswith("subscription."):
            shown[event.subject] = event
    found: list[Difference] = []
    with into.database.connect() as connection:
        ours = latest_states(connection, source_name, list(shown))
    for key, event in shown.items():
        said = _DECODER.decode(event.data)
        if key not in ours:
            status = str(said["status"])
            found.append(Difference(key, event.customer, "missing", "not in the books", status))
            continue
        state = ours[key][0]
        fields = {"status", "currency", "ended_at"}
        if len(state.get("items") or ()) == 1 and said["status"] != "canceled":
            fields.add("items")
        whole = compare(state, said, customer=event.customer, now=now)
        found += [each for each in whole if each.field in fields]
    return Reconciled(source_name, now, len(shown), tuple(found))


def _note(connection: Connection, done: Reconciled) -> None:
    connection.execute(
        insert(reconciliation).values(
            source=done.source,
            compared_at=done.compared_at,
            subscription_count=done.subscriptions,
            difference_count=len({each.subscription for each in done.left}),
            report=done.document(),
        )
    )


class _Comparison:
    """The comparison of one account, page by page."""

    def __init__(
        self, into: Into, client: StripeClient, asked: Asked, compared_at: datetime
    ) -> None:
        self._into = into
        self._client = client
        self._asked = asked
        self._at = compared_at
        self._known = Known()
        self.count = 0
        self.corrections: list[Item] = []

    def differences(self) -> Iterator[Difference]:
        """Every difference; what would mend them is in `corrections` afterwards."""
        for unit in basic_units():
            if unit.kind in {"price", "coupon"}:
                for reading in read_unit(self._client, unit, None):
                    for each in reading.objects:
                        learn(self._known, each)
        for objects, keys, heard in self._pages(subscription_unit()):
            self.count += len(objects)
            with self._into.database.connect() as connection:
                ours = latest_states(connection, self._asked.source, keys)
            for raw in objects:
                yield from self._of(raw, ours.get(str(raw["id"])), heard)
        for objects, keys, heard in self._pages(schedule_unit()):
            with self._into.database.connect() as connection:
                plans = latest_plans(connection, self._asked.source, keys)
                # A subscription that is to begin goes by the id of its schedule.
                states = latest_states(connection, self._asked.source, keys)
            for raw in objects:
                key = str(raw["id"])
                yield from self._of_schedule(raw, plans.get(key), states.get(key), heard)

    def _pages(self, unit: Unit) -> Iterator[tuple[list[Json], list[str], int]]:
        """The objects of a list, their ids, and the end of the log when they were asked for."""
        heard = self._last_position()
        for reading in read_unit(self._client, unit, None):
            for each in reading.objects:
                learn(self._known, each)
            objects = [each.value() for each in reading.objects]
            yield objects, [str(each["id"]) for each in objects], heard
            heard = self._last_position()

    def _last_position(self) -> int:
        with self._into.database.connect() as connection:
            return last_position(connection)

    def _of(self, raw: Json, ours: _Ours | None, heard: int) -> Iterator[Difference]:
        key, payer = str(raw["id"]), customer_key(Fields(raw)) or ""
        items = self._meaning(self._told(raw))
        problems = _problems(items)
        if problems is not None:
            yield Difference(key, payer, "unresolved", "known" if ours else "missing", problems)
            return
        theirs = next((each for each in items if isinstance(each, Event)), None)
        if theirs is None:
            return
        said = _DECODER.decode(theirs.data)
        if ours is None:
            yield Difference(key, payer, "missing", "not in the books", str(said["status"]))
            self.corrections += self._past(raw)
            return
        state, position = ours
        if position > heard:
            # Something has come in since the page was asked for; it knows better.
            return
        found = compare(state, said, customer=payer, now=self._at)
        if found:
            self.corrections += items
        yield from found

    def _of_schedule(
        self, raw: Json, plan: _Ours | None, state: _Ours | None, heard: int
    ) -> Iterator[Difference]:
        """What lies ahead by a schedule, and of the subscription that it is to begin."""
        key, payer, at = str(raw["id"]), customer_key(Fields(raw)) or "", self._seconds()
        event = wrapped("subscription_schedule.updated", _named(raw, at), at, raw)
        items = self._meaning(event)
        problems = _problems(items)
        if problems is not None:
            yield Difference(key, payer, "unresolved", "known" if plan else "missing", problems)
            return
        if any(ours is not None and ours[1] > heard for ours in (plan, state)):
            return
        found: list[Difference] = []
        for each in items:
            if not isinstance(each, Event):
                continue
            said = _DECODER.decode(each.data)
            if each.type.startswith("schedule."):
                found += compare_plans(plan and plan[0], said, customer=payer, now=self._at)
            elif state is not None:
                whole = compare(state[0], said, customer=payer, now=self._at)
                # One that never began is over since somebody said so.
                found += [one for one in whole if one.field != "ended_at"]
            elif said["status"] != "canceled":
                found.append(Difference(key, payer, "missing", "not in the books", "is to begin"))
        if found:
            self.corrections += items
        yield from found

    def _meaning(self, event: Json) -> list[Item]:
        return list(items_of(event, translate(event, self._setting()), self._asked.source))

    def _seconds(self) -> int:
        return int(self._at.timestamp())

    def _setting(self) -> Setting:
        return Setting(self._asked.source, self._asked.test_mode, self._known)

    def _told(self, raw: Json) -> Json:
        """The event that would have told of the state as it is."""
        ended, at = raw.get("ended_at"), self._seconds()
        kind, sure = "customer.subscription.updated", "inferred"
        if isinstance(ended, int) and raw.get("status") in {"canceled", "incomplete_expired"}:
            kind, at, sure = "customer.subscription.deleted", ended, "reconstructed"
        event = wrapped(kind, _named(raw, at), at, slim(raw))
        return {**event, "confidence": sure}

    def _past(self, raw: Json) -> list[Item]:
        """A subscription the books do not know, with as much of its past as it tells itself."""
        now, asked = self._seconds(), self._asked
        teller = Teller(asked.source, asked.test_mode, self._known, now - EVENTS_KEPT_S, now)
        return list(teller.histories(list(staged("subscription", [raw])), after={}))


def _named(raw: Json, at: int) -> str:
    """The id of the event that would have told of an object: the same for the same state only."""
    state = blake2b(_ENCODER.encode(raw), digest_size=8).hexdigest()
    return f"reconcile/{raw['id']}/{at}/{state}"


def _problems(items: Sequence[Item]) -> str | None:
    """What keeps an object from being understood; None when nothing does."""
    refused = next((each for each in items if isinstance(each, Rejected)), None)
    return None if refused is None else " ".join(map(str, refused.problems))
