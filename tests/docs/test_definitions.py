"""Definitions: every metric says its formula, its source, what vendors do, and its edge cases."""

from __future__ import annotations

import pytest

from tidemill.metrics import METRICS
from tidemill.metrics.base import Metric
from tidemill.metrics.catalogue import catalogue

PARTS = ("Formula", "Source", "Vendor variants", "Edge cases")


@pytest.mark.parametrize("kind", METRICS, ids=lambda each: each.name)
def test_every_definition_has_the_same_parts(kind: type[Metric]) -> None:
    said = catalogue([kind])[kind.name].definition
    assert tuple(name for name in said if name) == PARTS
    assert all(said[part] for part in PARTS)
