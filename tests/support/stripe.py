"""The Stripe fixtures, and short ways to make events around objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill.connectors.base import Translation
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.translate import Setting, translate

__all__ = ["AT", "ROOT", "SHARED", "data", "event", "fixture", "known", "only", "subscription"]

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "facts" / "stripe" / "fixtures"
"""Samples of others, which are not part of this repository; tests that use them may skip."""
AT = 1_776_643_200  # 2026-04-20T00:00:00Z


def fixture(name: str) -> Any:
    """A fixture of `tests/data/stripe`, read anew each time."""
    return json.loads((ROOT / "tests" / "data" / "stripe" / f"{name}.json").read_text("utf-8"))


def event(kind: str, found: object, **extra: Any) -> dict[str, Any]:
    """A raw event around an object; `previous` becomes its previous attributes."""
    inside: dict[str, Any] = {"object": found}
    if "previous" in extra:
        inside["previous_attributes"] = extra.pop("previous")
    return {
        "id": "evt_1",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": AT,
        "livemode": True,
        "type": kind,
        "data": inside,
        **extra,
    }


def subscription(**changes: Any) -> dict[str, Any]:
    """The new-shape subscription fixture with some keys changed."""
    return {**fixture("subscription.new_shape"), **changes}


def known(*events: Mapping[str, Any]) -> Known:
    """What these events say about others."""
    found = Known()
    for each in events:
        found.add(each)
    return found


def only(kind: str, found: object, *, more: Known | None = None, **extra: Any) -> Translation:
    """The translation of a single event around an object."""
    return translate(event(kind, found, **extra), Setting("stripe", known=more or Known()))


def data(translation: Translation) -> dict[str, Any]:
    """The payload of the one event a translation gave; allocations only where there is no other."""
    assert not translation.problems, [str(each) for each in translation.problems]
    others = [each for each in translation.events if not each.type.startswith("allocation.")]
    (made,) = others or translation.events
    payload: dict[str, Any] = json.loads(made.data)
    return payload
