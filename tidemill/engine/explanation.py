"""An explanation: an answer with its definition, policy, SQL and every movement behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidemill.metrics.result import Result
from tidemill.policy import Policy

__all__ = ["Explanation"]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why an answer is what it is.

    Attributes: ``definition`` the metric's page, heading → text; ``result`` the answer; ``behind``
    the movements it rests on, each with its cause and event, a page of them (`Result.rows_behind`
    gives all); ``customer`` when only one's.
    """

    title: str
    definition: Mapping[str, str]
    result: Result
    behind: Result
    customer: str | None = None

    @property
    def formula(self) -> str:
        """How the metric is computed, as text."""
        return self.definition.get("Formula", "")

    @property
    def source(self) -> str:
        """Where the definition comes from."""
        return self.definition.get("Source", "")

    @property
    def policy(self) -> Policy:
        """The policy it was computed under."""
        return self.result.policy

    @property
    def sql(self) -> str:
        """The statement, formatted."""
        return self.result.sql

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON."""
        turned = self.policy.differences(Policy.of())
        return {
            "metric": self.result.metric,
            "question": self.result.question,
            "title": self.title,
            "formula": self.formula,
            "source": self.source,
            "notes": self.definition.get("Edge cases", ""),
            "policy": {
                "preset": self.policy.preset,
                "set": dict(self.policy.overrides),
                "hash": self.policy.hash,
                "knobs": self.policy.document()["knobs"],
                "differs_from_default": {each.knob: each.value for each in turned},
            },
            "sql": self.sql,
            "customer": self.customer,
            "result": self.result.to_dict(),
            "behind": self.behind.to_dict(),
        }
