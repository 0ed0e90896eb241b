"""The segments of one question: whom it is about, and the branches it compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Text, cast, literal, select, union_all

from tidemill.attributes import AttributeInfo
from tidemill.errors import InvalidSegment, UnknownSegment
from tidemill.metrics.binding import Around
from tidemill.metrics.cube import Cube, Dimension
from tidemill.metrics.query import BRANCHES, Members, Query
from tidemill.metrics.spec import QuerySpec
from tidemill.problems import Issue
from tidemill.segments.fields import fields_of
from tidemill.segments.members import Ground
from tidemill.segments.store import SavedSegment, load_segments
from tidemill.segments.tree import Node, read_tree

__all__ = ["BRANCHES_MAX", "asked_segments"]

BRANCHES_MAX: Final = 10
"""More segments than this are not compared at once."""

_BRANCH: Final = Dimension(
    "segment",
    "The segment; a customer who is in several is counted in each.",
    "customer",
    lambda scope: scope[BRANCHES].c.segment,
    order=lambda scope: scope[BRANCHES].c.branch,
)


def asked_segments(
    connection: Connection,
    spec: QuerySpec,
    cube: Cube,
    attributes: Mapping[str, AttributeInfo],
) -> Around:
    """What the segments that a spec names add to a question; problems are noted, not raised."""
    issues = list(_number_issues(spec))
    names = [*([spec.segment] if spec.segment is not None else []), *spec.compare]
    loaded = load_segments(connection, names)
    trees: dict[str, Node] = {}
    fields = fields_of(attributes)
    for written, found in loaded.items():
        if isinstance(found, UnknownSegment):
            issues.append(Issue("segment", found.message, found.hint))
            continue
        try:
            trees[written] = read_tree(found.definition, fields)
        except InvalidSegment as error:
            # It was fine when it was saved: an attribute is of another kind now.
            issues += [Issue(f"segment {found.label}", str(each)) for each in error.problems]
    if issues:
        return Around(cube, issues=tuple(issues))
    labels = tuple(each.label for each in loaded.values() if isinstance(each, SavedSegment))
    return Around(
        cube,
        first=(_BRANCH,) if spec.compare else (),
        members=_Membership(spec.segment, spec.compare, trees),
        segments=labels,
    )


def _number_issues(spec: QuerySpec) -> Any:
    twice = {each for each in spec.compare if spec.compare.count(each) > 1}
    for each in sorted(twice):
        yield Issue("compare_segments", f"{each!r} is given more than once")
    if len(spec.compare) > BRANCHES_MAX:
        yield Issue(
            "compare_segments",
            f"names {len(spec.compare)} segments, more than {BRANCHES_MAX}",
            "Compare fewer at once.",
        )


class _Membership:
    """Builds the sets of a question's segments on the question's own rows."""

    def __init__(
        self, only: str | None, branches: tuple[str, ...], trees: Mapping[str, Node]
    ) -> None:
        self._only = only
        self._branches = branches
        self._trees = trees

    def __call__(self, q: Query) -> Members:
        ground = Ground(q, q.bound.members_on)
        trees = self._trees
        only = branches = None
        if self._only is not None:
            only = ground.members(trees[self._only]).cte("segment_member")
        if self._branches:
            sets = [
                select(
                    cast(literal(name), Text).label("segment"),
                    literal(place).label("branch"),
                    ground.members(trees[name]).subquery(f"branch_{place}").c.customer_id,
                )
                for place, name in enumerate(self._branches, 1)
            ]
            branches = union_all(*sets).cte("segment_branch")
        asked = dict.fromkeys((*([self._only] if self._only else []), *self._branches))
        needs = tuple(need for name in asked for need in ground.needs(trees[name]))
        return Members(only, branches, needs[:1])
