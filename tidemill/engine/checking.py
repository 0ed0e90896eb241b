"""From what was asked in words to a checked question: whatever is wrong is said before answering.

Parameters, dimensions, filters and the policy are looked at without the ledger. The database is
opened only where a question speaks of attributes or segments, which users name themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tidemill.attributes import attribute_names, known_attributes, with_attributes
from tidemill.database import Database
from tidemill.engine.answering import Asked, require_honoured
from tidemill.engine.providing import Provider
from tidemill.errors import InvalidQuery
from tidemill.metrics.binding import Around, bind
from tidemill.metrics.catalogue import Catalogue
from tidemill.metrics.cube import Cube
from tidemill.metrics.paging import Page
from tidemill.metrics.spec import QuerySpec
from tidemill.periods import day_of
from tidemill.policy import Policy
from tidemill.problems import Problem
from tidemill.segments import asked_segments

__all__ = ["Checker", "Under", "refuse_parts", "refuse_range", "whole"]


@dataclass(frozen=True, kw_only=True)
class Under:
    """The circumstances of a question."""

    policy: Policy
    known_at: datetime | None
    as_of: datetime


@dataclass(frozen=True)
class Checker:
    """Makes checked questions of what is asked of a database."""

    database: Database
    provider: Provider
    catalogue: Catalogue

    def asked(
        self,
        metric: str,
        question: str | None,
        spec: QuerySpec | None,
        under: Under,
        params: Mapping[str, Any],
    ) -> Asked:
        """The question, checked before the database is opened."""
        asked = self.bound(metric, question, spec, under, params)
        require_honoured(asked.info, under.policy)
        return asked

    def bound(
        self,
        metric: str,
        question: str | None,
        spec: QuerySpec | None,
        under: Under,
        params: Mapping[str, Any],
    ) -> Asked:
        """The question, checked but for what its policy asks for."""
        info = self.catalogue.metric(metric)
        declared = info.declared(info.question(question).name)
        today = day_of(under.as_of, under.policy.tz)
        spec = spec or QuerySpec()
        around = self._around(info.kind.cube, spec, under.policy)
        bound = bind(info.kind, declared, params, spec, today, around)
        return Asked(
            info, declared, bound, under.policy, under.known_at, under.as_of, self.provider
        )

    def _around(self, cube: Cube, spec: QuerySpec, policy: Policy) -> Around:
        """The attributes and segments there are, where the question speaks of any."""
        by_segment = spec.segment is not None or spec.compare
        if not by_segment and not attribute_names(spec):
            return Around(cube)
        self.provider.require_own("Attributes and segments of customers", written=False)
        with self.database.snapshot() as connection:
            attributes = known_attributes(connection)
            if attribute_names(spec):
                cube = with_attributes(cube, attributes, policy.tz)
            if by_segment:
                return asked_segments(connection, spec, cube, attributes)
        return Around(cube)


def whole(asked: Asked) -> Asked:
    """The question with all rows, also of a list."""
    return replace(asked, bound=replace(asked.bound, page=Page()))


def refuse_parts(spec: QuerySpec | None, what: str) -> None:
    """Refuse an earlier range, and a page of a list, where they would be ignored.

    Raises: InvalidQuery.
    """
    refuse_range(spec, what)
    if spec is not None and (given := spec.page.given()):
        problem = f"is no part of {what}"
        raise InvalidQuery([Problem(name, problem, "It looks at all rows.") for name in given])


def refuse_range(spec: QuerySpec | None, what: str) -> None:
    """Refuse an earlier range where it would be ignored.

    Raises: InvalidQuery.
    """
    if spec is not None and spec.compare_to is not None:
        hint = "Ask the question itself, or of each range."
        raise InvalidQuery([Problem("compare_to", f"is no part of {what}", hint)])
