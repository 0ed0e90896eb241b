"""The routes of attributes: which there are, their values, setting and pinning them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from tidemill.api.answers import answer
from tidemill.api.documents import PROBLEMS
from tidemill.engine import Tidemill
from tidemill.engine.attributes import VALUES_MAX as ATTRIBUTE_VALUES_MAX

__all__ = ["attribute_routes"]

_KnownAt = Annotated[str | None, Query(description="As it was known at this instant.")]


class _Pin(BaseModel):
    """Of which kind an attribute is."""

    model_config = ConfigDict(extra="forbid")
    kind: str | None = Field(
        description="string, number, bool or instant; null lets the first value decide again."
    )


class _Setting(BaseModel):
    """What is set of one customer."""

    model_config = ConfigDict(extra="forbid")
    customer: str = Field(description="The customer as source:id, such as stripe:cus_1.")
    attributes: dict[str, Any] = Field(
        description="Texts, numbers, booleans; null takes back what was set."
    )
    at: str | None = Field(default=None, description="When it became so; now when left out.")


def attribute_routes(tidemill: Tidemill) -> APIRouter:
    """Every route about attributes."""
    router = APIRouter(prefix="/api/attributes", tags=["attributes"], responses=PROBLEMS)

    @router.get("")
    def attributes(known_at: _KnownAt = None) -> Response:
        """Every attribute with its kind, and how many customers have a value."""
        found = tidemill.attributes.list(known_at=known_at)
        return answer({"attributes": [each.document() for each in found]})

    @router.post("")
    def set_attributes(setting: _Setting) -> Response:
        """Set attributes of a customer; they stand before what the billing system says."""
        tidemill.attributes.set(setting.customer, setting.attributes, at=setting.at)
        return answer({"customer": setting.customer, "attributes": setting.attributes})

    @router.get("/{name}")
    def attribute(name: str, known_at: _KnownAt = None) -> Response:
        """One attribute."""
        return answer(tidemill.attributes.show(name, known_at=known_at).document())

    @router.get("/{name}/values")
    def values(
        name: str,
        like: Annotated[str, Query(description="Only values that contain this text.")] = "",
        limit: Annotated[int, Query(ge=0, le=10_000)] = ATTRIBUTE_VALUES_MAX,
        known_at: _KnownAt = None,
    ) -> Response:
        """The different values of an attribute, the most frequent first."""
        found = tidemill.attributes.values(name, like=like, limit=limit, known_at=known_at)
        return answer({"attribute": name, "values": [each.document() for each in found]})

    @router.put("/{name}/kind")
    def pin(name: str, pinned: _Pin) -> Response:
        """Say of which kind an attribute is, whatever its first value was."""
        return answer(tidemill.attributes.pin(name, pinned.kind).document())

    return router
