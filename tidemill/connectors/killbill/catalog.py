"""Kill Bill's catalogue: the XML of each version, and which of them prices a subscription when.

A version is one row of `tenant_kvs`. A later version does not touch those who chose their plan
before it, unless the plan says from when it does (`effectiveDateForExistingSubscriptions`). Price
lists say which plans are offered to whom; the price is the plan's, so they make no difference here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from xml.etree import ElementTree as ET

from sqlalchemy import DateTime, FromClause, Integer, Numeric, Text
from sqlalchemy.types import TypeEngine

from tidemill.connectors.amounts import USUAL_EXPONENT
from tidemill.connectors.rows import relation_of
from tidemill.money import EXPONENTS

__all__ = [
    "NO_PERIOD",
    "PERIODS",
    "CatalogError",
    "CatalogPlan",
    "CatalogVersion",
    "Phase",
    "catalog_prices",
    "parse_catalog",
]

PERIODS: Final = {
    "DAILY": ("day", 1),
    "WEEKLY": ("week", 1),
    "BIWEEKLY": ("week", 2),
    "THIRTY_DAYS": ("day", 30),
    "THIRTY_ONE_DAYS": ("day", 31),
    "SIXTY_DAYS": ("day", 60),
    "NINETY_DAYS": ("day", 90),
    "MONTHLY": ("month", 1),
    "BIMESTRIAL": ("month", 2),
    "QUARTERLY": ("month", 3),
    "TRIANNUAL": ("month", 4),
    "BIANNUAL": ("month", 6),
    "ANNUAL": ("year", 1),
    "SESQUIENNIAL": ("month", 18),
    "BIENNIAL": ("year", 2),
    "TRIENNIAL": ("year", 3),
}
"""Kill Bill's billing periods → interval and how many of it."""
NO_PERIOD: Final = "NO_BILLING_PERIOD"


class CatalogError(ValueError):
    """A catalogue cannot be understood; the text says where."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a plan; what is paid once is not told."""

    type: str
    interval: str
    interval_count: int
    #: Currency → full price of a period, in major units; empty: nothing recurs, or it is free.
    prices: tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True, slots=True)
class CatalogPlan:
    """A plan as one version of the catalogue has it."""

    name: str
    title: str
    product: str
    #: From when it is for those who chose the plan before this version; None: never.
    existing_from: datetime | None
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True)
class CatalogVersion:
    """What is sold from an instant on."""

    effective_at: datetime
    plans: dict[str, CatalogPlan]


def parse_catalog(text: str) -> CatalogVersion:
    """Read one version.

    Raises: CatalogError when it is not XML, has a document type (which could name files or grow
            without end; Kill Bill's catalogues have none), or says something that is not known.
    """
    if "<!DOCTYPE" in text:
        raise CatalogError("it has a document type, which no catalogue needs")
    try:
        root = ET.fromstring(text)  # noqa: S314 - without a document type there are no entities
        plans = [_plan(each) for each in root.iterfind("plans/plan")]
        return CatalogVersion(_instant(_text(root, "effectiveDate")), {p.name: p for p in plans})
    except ET.ParseError as error:
        raise CatalogError(f"it is not XML: {error}") from error


def _plan(node: ET.Element) -> CatalogPlan:
    name = node.get("name", "")
    existing = node.findtext("effectiveDateForExistingSubscriptions")
    phases = [*node.iterfind("initialPhases/phase"), *node.iterfind("finalPhase")]
    try:
        return CatalogPlan(
            name,
            node.get("prettyName") or name,
            (node.findtext("product") or "").strip(),
            _instant(existing) if existing else None,
            tuple(_phase(each) for each in phases),
        )
    except CatalogError as error:
        raise CatalogError(f"plan {name!r}: {error}") from error


def _phase(node: ET.Element) -> Phase:
    kind = node.get("type", "")
    recurring = node.find("recurring")
    period = NO_PERIOD if recurring is None else _text(recurring, "billingPeriod")
    if recurring is None or period == NO_PERIOD:
        return Phase(kind, "month", 1, ())
    if period not in PERIODS:
        raise CatalogError(f"phase {kind} has the billing period {period!r}, which is not known")
    prices = recurring.iterfind("recurringPrice/price")
    told = tuple((_text(each, "currency").upper(), _amount(each)) for each in prices)
    return Phase(kind, *PERIODS[period], told)


def _minor(price: Decimal, currency: str | None) -> Decimal:
    return price if currency is None else price.scaleb(EXPONENTS.get(currency, USUAL_EXPONENT))


def _text(node: ET.Element, name: str) -> str:
    found = (node.findtext(name) or "").strip()
    if not found:
        raise CatalogError(f"<{node.tag}> has no <{name}>")
    return found


def _amount(node: ET.Element) -> Decimal:
    said = _text(node, "value")
    try:
        return Decimal(said)
    except InvalidOperation as error:
        raise CatalogError(f"{said!r} is not a price") from error


def _instant(said: str) -> datetime:
    try:
        found = datetime.fromisoformat(said.strip())
    except ValueError as error:
        raise CatalogError(f"{said!r} is not a date") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def catalog_prices(versions: Iterable[CatalogVersion]) -> FromClause:
    """What a phase of a plan costs, by when the plan was chosen, over time.

    Shape: plan, phase_type, product, currency (null: whatever it is), price (minor units, of a
           period), interval, interval_count; chosen_from ≤ choice < chosen_until, and
           valid_from ≤ time < valid_until, where null is no bound; span: which of the plan's
           bounds these are, from 1.
    """
    types: dict[str, type[TypeEngine[Any]] | TypeEngine[Any]] = {
        "plan": Text,
        "phase_type": Text,
        "product": Text,
        "currency": Text,
        "price": Numeric,
        "interval": Text,
        "interval_count": Integer,
        "chosen_from": DateTime(timezone=True),
        "chosen_until": DateTime(timezone=True),
        "valid_from": DateTime(timezone=True),
        "valid_until": DateTime(timezone=True),
        "span": Integer,
    }
    ordered = sorted(versions, key=lambda each: each.effective_at)
    names = sorted({name for each in ordered for name in each.plans})
    rows = [
        (
            *(name, phase.type, plan.product, currency, _minor(price, currency)),
            *(phase.interval, phase.interval_count, *chosen, *valid, span),
        )
        for name in names
        for span, (chosen, valid, plan) in enumerate(_spans(_dated(ordered, name)), start=1)
        for phase in plan.phases
        for currency, price in phase.prices or ((None, Decimal(0)),)
    ]
    return relation_of("killbill_catalog", types, rows)


def _dated(versions: Sequence[CatalogVersion], name: str) -> list[tuple[datetime, CatalogPlan]]:
    return [(each.effective_at, each.plans[name]) for each in versions if name in each.plans]


_Bounds = tuple[datetime | None, datetime | None]


def _spans(
    dated: Sequence[tuple[datetime, CatalogPlan]],
) -> Iterator[tuple[_Bounds, _Bounds, CatalogPlan]]:
    """Which version of one plan is for whom: by when it was chosen, then from when until when.

    dated: versions that have the plan, oldest first. Who chose before the oldest has the oldest.
    """
    for place, (effective, plan) in enumerate(dated):
        later = dated[place + 1 :]
        chosen = (effective if place else None, later[0][0] if later else None)
        steps: list[tuple[datetime | None, int, CatalogPlan]] = [(None, place, plan)]
        reaches = [
            (max(each.existing_from, at), number, each)
            for number, (at, each) in enumerate(later, place + 1)
            if each.existing_from is not None
        ]
        for step in sorted(reaches, key=lambda each: each[:2]):
            if step[1] > steps[-1][1]:
                steps.append(step)
        ends = [step[0] for step in steps[1:]] + [None]
        for (valid_from, _, priced), until in zip(steps, ends, strict=True):
            yield chosen, (valid_from, until), priced
