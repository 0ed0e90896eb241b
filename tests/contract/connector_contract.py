"""What every connector of payloads promises; one passes by inheriting these tests.

Its samples are the files ``events.*.json`` of ``tests/data/<name>``, each beside what must come
of it, ``*.expected.json``. Run ``python -m tests.contract.connector_contract`` to write these
anew, then read the difference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tidemill.connectors.base import EventConnector, Translation
from tidemill.connectors.of_events import CONNECTORS

__all__ = ["ConnectorContract", "samples_of"]

_DATA = Path(__file__).resolve().parents[1] / "data"


def samples_of(name: str) -> list[Path]:
    """The sample files of a connector."""
    found = sorted((_DATA / name).glob("events.*.json"))
    return [path for path in found if not path.name.endswith(".expected.json")]


def _expected(sample: Path) -> Path:
    return sample.with_name(sample.name.removesuffix(".json") + ".expected.json")


def _events(sample: Path) -> list[Any]:
    events: list[Any] = json.loads(sample.read_text("utf-8"))["events"]
    return events


def _document(raw: Mapping[str, Any], translation: Translation) -> dict[str, Any]:
    """A translation as it stands in a file, under the vendor's name for the event."""
    document: dict[str, Any] = {"of": raw["id"]}
    if translation.ignored is not None:
        document["ignored"] = translation.ignored
    if translation.problems:
        document["problems"] = [problem.document() for problem in translation.problems]
    if translation.events:
        document["events"] = [
            {
                "id": str(made.id),
                "source": made.source,
                "type": made.type,
                "occurred_at": made.occurred_at.isoformat(),
                "sequence": made.sequence,
                "customer": made.customer,
                "livemode": made.livemode,
                "data": json.loads(made.data),
            }
            for made in translation.events
        ]
    return document


def _documents(connector: EventConnector, events: list[Any]) -> list[dict[str, Any]]:
    found = connector.translate_many(events, source=connector.name)
    return [_document(raw, each) for raw, each in zip(events, found, strict=True)]


class ConnectorContract:
    """Inherit, and give the fixture `connector`."""

    def test_samples_mean_what_is_written_beside_them(self, connector: EventConnector) -> None:
        assert samples_of(connector.name)
        for sample in samples_of(connector.name):
            expected = json.loads(_expected(sample).read_text("utf-8"))
            assert _documents(connector, _events(sample)) == expected, sample.name

    def test_the_order_of_the_input_changes_nothing(self, connector: EventConnector) -> None:
        for sample in samples_of(connector.name):
            events = _events(sample)
            forwards = _documents(connector, events)
            backwards = _documents(connector, events[::-1])
            assert backwards[::-1] == forwards

    def test_translating_leaves_the_input_alone(self, connector: EventConnector) -> None:
        for sample in samples_of(connector.name):
            events = _events(sample)
            before = deepcopy(events)
            _documents(connector, events)
            for each in events:
                connector.translate(each, source="x", test_mode=True)
            assert events == before

    def test_alone_or_among_others_it_is_the_same_event(self, connector: EventConnector) -> None:
        for sample in samples_of(connector.name):
            for raw, together in zip(
                _events(sample), _documents(connector, _events(sample)), strict=True
            ):
                alone = connector.translate(raw, source=connector.name)
                ids = [str(made.id) for made in alone.events]
                assert ids in ([], [made["id"] for made in together.get("events", [])])

    def test_sources_do_not_share_events(self, connector: EventConnector) -> None:
        for sample in samples_of(connector.name):
            for raw in _events(sample):
                one = {made.id for made in connector.translate(raw, source="a").events}
                other = {made.id for made in connector.translate(raw, source="b").events}
                assert one.isdisjoint(other)

    @pytest.mark.parametrize(
        "raw", [{}, {"id": None}, {"type": 5}, {"type": "x", "data": []}, {"data": {"object": 1}}]
    )
    def test_nonsense_is_told_apart(self, connector: EventConnector, raw: dict[str, Any]) -> None:
        found = connector.translate(raw, source="x")
        assert not found.events
        assert found.problems or found.ignored


def _write() -> None:
    for connector in CONNECTORS:
        for sample in samples_of(connector.name):
            documents = _documents(connector, _events(sample))
            text = json.dumps(documents, indent=1, ensure_ascii=False)
            _expected(sample).write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    _write()
