"""The JSON documents of the API as types: they describe answers in `/docs` and `/openapi.json`.

Answers are made by the results themselves; a test holds the two equal.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from tidemill.api.errors import MEDIA_TYPE

__all__ = [
    "PROBLEMS",
    "ColumnDocument",
    "FreshnessDocument",
    "PolicyDocument",
    "ProblemDocument",
    "ProblemItem",
    "ResultDocument",
]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ColumnDocument(_Document):
    """One column of an answer."""

    name: str
    unit: Literal["money", "ratio", "count", "day", "instant", "text"]
    currency: str | None = Field(
        default=None, description="Of money; null when each row has a currency of its own."
    )
    currency_column: str | None = Field(
        default=None, description="The column that holds each row's currency."
    )
    dimension: bool = Field(default=False, description="Whether the answer is grouped by it.")


class PolicyDocument(_Document):
    """Under which definition an answer was computed."""

    preset: str
    set: dict[str, str]
    hash: str


class FreshnessDocument(_Document):
    """How far the events of a source reach."""

    source: str
    last_event_at: str | None


class ResultDocument(_Document):
    """The answer to a question."""

    metric: str
    question: str
    params: dict[str, Any]
    dimensions: list[str]
    filters: list[str]
    segments: list[str] = Field(description="The segments it was asked of, as name@version.")
    compared: dict[str, str] | None = Field(
        default=None, description="The range whose figures stand beside: start and end."
    )
    columns: list[ColumnDocument]
    next: str | None = Field(
        default=None,
        description="Where a list goes on, to be passed as `after`; null at its end.",
    )
    rows: list[dict[str, str | int | None]] = Field(
        description="Money: decimal strings in minor units, exact. Ratios: decimal strings. Days: "
        "YYYY-MM-DD. Instants: ISO 8601 in UTC."
    )
    policy: PolicyDocument
    as_of: str
    known_at: str | None
    complete: bool = Field(description="False while the last period can still change.")
    warnings: list[str]
    freshness: list[FreshnessDocument]


class ProblemItem(_Document):
    """One thing that is wrong with a request."""

    path: str
    problem: str
    hint: str


class ProblemDocument(_Document):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    hint: str
    errors: list[ProblemItem]


PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    400: {
        "model": ProblemDocument,
        "description": "What is wrong, with every problem and what to do about it.",
        "content": {MEDIA_TYPE: {}},
    }
}
"""How a route that can refuse describes it in the OpenAPI document."""
