"""The API as its own description says it can be called, and as it says it cannot: no fault of ours.

Requests are made from `/openapi.json`. A run tries a good hundred of them, others each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import NewDatabase
from tests.support.webhooks import SECRET
from tidemill.api import create_app
from tidemill.api.receiving import Receiving
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.policy import Policy


class SecretOfEverySource(dict[str, tuple[str, ...]]):
    """A secret whatever the source is called: without one the answer is 503, and has to be."""

    def get(self, key: str, default: object = None) -> Any:
        return (SECRET,)


@pytest.fixture(scope="module")
def operations(new_database: NewDatabase) -> Iterator[list[Any]]:
    """Every operation of an API over an empty database."""
    with new_database() as database:
        engine = MetricsEngine(database, base_currency="USD", policy=Policy.of())
        receiving = Receiving(database, SecretOfEverySource())
        app = create_app(Tidemill(database, engine), receiving=receiving, hosts=["*"])
        described: Any = schemathesis.openapi.from_asgi("/openapi.json", app)
        yield [each.ok() for each in described.get_all_operations()]


@given(data=st.data())
@settings(
    max_examples=120,
    # What is drawn goes over many routes; making it smaller would take longer than reading it.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_is_answered_with_an_error_of_ours(
    operations: list[Any], data: st.DataObject
) -> None:
    operation = data.draw(st.sampled_from(operations))
    case = data.draw(operation.as_strategy())
    response = case.call()
    assert response.status_code < 500, response.text


def test_every_route_is_described(operations: list[Any]) -> None:
    labels = {each.label for each in operations}
    assert {"POST /api/webhooks/stripe", "GET /api/sources", "GET /api/metrics/mrr"} <= labels
    assert len(labels) > 100
