"""Sources over HTTP: what is connected, how to connect Stripe, connecting another."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from tidemill.api.answers import answer
from tidemill.api.documents import ProblemDocument
from tidemill.api.errors import MEDIA_TYPE
from tidemill.api.receiving import Receiving
from tidemill.api.webhooks import PATH
from tidemill.database import Database
from tidemill.sources import Connected, connect_source, overview, webhook_help

__all__ = ["NewSource", "source_routes"]

_PROBLEM: Final[dict[str, Any]] = {"model": ProblemDocument, "content": {MEDIA_TYPE: {}}}


class NewSource(BaseModel):
    """A source to connect."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(description="Lower-case letters, digits, - and _; such as `stripe-eu`.")
    kind: str = Field(default="stripe", description="The connector: `stripe`.")
    test_mode: bool = Field(
        default=False, description="Whether the vendor's test mode is its books."
    )


def source_routes(database: Database, receiving: Receiving) -> APIRouter:
    """The routes about sources; connecting one needs a database that may be written."""
    router = APIRouter(tags=["sources"])

    @router.get("/api/sources", operation_id="sources")
    def listed() -> Response:
        """Every source, what came from it, and how Stripe is connected."""
        with database.snapshot() as connection:
            found = overview(connection, receiving.secrets)
        return answer({"sources": found, "webhooks": webhook_help(PATH)})

    @router.post(
        "/api/sources",
        operation_id="connect_source",
        status_code=201,
        responses={400: _PROBLEM | {"description": "The source cannot be connected so."}},
    )
    def connect(wanted: NewSource) -> Response:
        """Connect a source, before anything comes from it. Repeating it changes nothing."""
        writable = receiving.database or database
        with writable.begin() as connection:
            made = connect_source(connection, Connected(wanted.name, wanted.kind, wanted.test_mode))
        return answer({"name": made.name, "kind": made.kind, "test_mode": made.test_mode}, 201)

    return router
