"""Every listed connector keeps the contract."""

from __future__ import annotations

import pytest

from tests.contract.connector_contract import ConnectorContract
from tidemill.connectors.base import EventConnector
from tidemill.connectors.of_events import CONNECTORS


class TestConnectors(ConnectorContract):
    @pytest.fixture(params=CONNECTORS, ids=lambda each: str(each.name))
    def connector(self, request: pytest.FixtureRequest) -> EventConnector:
        connector: EventConnector = request.param
        return connector


def test_names_are_unique() -> None:
    names = [each.name for each in CONNECTORS]
    assert len(set(names)) == len(names)
