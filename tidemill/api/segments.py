"""The routes of segments: which there are, saving, checking and deleting them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from tidemill.api.answers import answer
from tidemill.api.documents import PROBLEMS
from tidemill.engine import Tidemill

__all__ = ["segment_routes"]


class _Definition(BaseModel):
    """Conditions on customers."""

    model_config = ConfigDict(extra="forbid")
    definition: dict[str, Any] = Field(
        description='A condition `{"field", "operator", "value"}`, or `and`, `or`, `not` over such.'
    )
    description: str = Field(default="", max_length=1000)


def segment_routes(tidemill: Tidemill) -> APIRouter:
    """Every route about segments."""
    router = APIRouter(prefix="/api/segments", tags=["segments"], responses=PROBLEMS)

    @router.get("")
    def segments() -> Response:
        """The latest version of every segment."""
        found = tidemill.segments.list()
        return answer({"segments": [each.document() for each in found]})

    @router.get("-fields")
    def fields() -> Response:
        """Everything that conditions may speak of, with the operators that fit."""
        return answer({"fields": [each.document() for each in tidemill.segments.fields()]})

    @router.post("-check")
    def check(wanted: _Definition) -> Response:
        """Read a definition without saving it."""
        tidemill.segments.check(wanted.definition)
        return answer({"valid": True})

    @router.get("/{name}")
    def segment(name: str) -> Response:
        """A segment: the latest version, or with `NAME@2` that one."""
        return answer(tidemill.segments.show(name).document())

    @router.get("/{name}/versions")
    def versions(name: str) -> Response:
        """Every version of a segment, the oldest first."""
        found = tidemill.segments.history(name)
        return answer({"versions": [each.document() for each in found]})

    @router.put("/{name}")
    def save(name: str, wanted: _Definition) -> Response:
        """Save a segment; under a name that exists it becomes the next version."""
        saved = tidemill.segments.save(name, wanted.definition, description=wanted.description)
        return answer(saved.document())

    @router.delete("/{name}")
    def delete(name: str) -> Response:
        """Delete a segment; its versions can still be asked for."""
        tidemill.segments.delete(name)
        return answer({"name": name, "deleted": True})

    return router
