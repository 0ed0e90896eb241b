"""Query specs and filters, as people write them."""

from __future__ import annotations

import pytest

from tidemill.errors import InvalidQuery
from tidemill.metrics.spec import Filter, QuerySpec


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("plan=pro", ("plan", "=", "pro")),
        (" plan = pro ", ("plan", "=", "pro")),
        ("plan!=pro", ("plan", "!=", "pro")),
        ("plan~=pro", ("plan", "~=", "pro")),
        ("plan=a=b", ("plan", "=", "a=b")),
        ("plan=!=x", ("plan", "=", "!=x")),
        ("plan=", ("plan", "=", "")),
        ("plan=a\nb", ("plan", "=", "a\nb")),
    ],
)
def test_filters_are_read(written: str, parts: tuple[str, str, str]) -> None:
    read = Filter.parse(written)
    assert (read.dimension, read.operator, read.value) == parts


@pytest.mark.parametrize("written", ["", "plan", "=pro", "!=pro", "plan>3", "plan~pro", "plan!pro"])
def test_what_is_no_filter_is_refused(written: str) -> None:
    with pytest.raises(InvalidQuery, match="is not a filter"):
        Filter.parse(written)


def test_specs_take_what_people_have() -> None:
    assert QuerySpec("plan").dimensions == ("plan",)
    assert QuerySpec(["plan", "country"]).dimensions == ("plan", "country")
    assert QuerySpec(filters="plan=a").filters == ("plan=a",)
    assert QuerySpec(filters={"plan": ["a", "b"], "country": "US", "cohort_month": 3}).filters == (
        Filter("plan", "=", "a"),
        Filter("plan", "=", "b"),
        Filter("country", "=", "US"),
        Filter("cohort_month", "=", "3"),
    )


def test_specs_are_values() -> None:
    assert QuerySpec(["plan"], ["a=b"]) == QuerySpec(("plan",), ("a=b",))
    assert hash(QuerySpec(["plan"])) == hash(QuerySpec(["plan"]))
    more = QuerySpec(["plan"], ["a=b"], grain="week").where("c=d")
    assert more == QuerySpec(["plan"], ["a=b", "c=d"], grain="week")
