"""Webhooks: a delivery is believed, kept, and only then acknowledged."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from tidemill.api.answers import answer
from tidemill.api.documents import ProblemDocument
from tidemill.api.errors import MEDIA_TYPE
from tidemill.api.receiving import Receiving, Writer
from tidemill.connectors.stripe.envelope import read_envelope
from tidemill.connectors.stripe.signature import refusal
from tidemill.errors import BodyNotJson, BodyTooLarge, SignatureRefused, WebhookSecretMissing
from tidemill.inbox.store import Received

__all__ = ["BODY_BYTES_MAX", "PATH", "webhook_routes"]

PATH: Final = "/api/webhooks/"
"""How the paths of webhooks begin. They are called from outside, and believed by signature alone.
"""

BODY_BYTES_MAX: Final = 2_000_000
"""A larger body is not read. Stripe's events hold one object and at most ten of a list in it."""

_STRIPE: Final = "stripe"
_PROBLEM: Final[dict[str, Any]] = {"model": ProblemDocument, "content": {MEDIA_TYPE: {}}}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The delivery is durable.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"status": {"const": "received"}},
                    "required": ["status"],
                }
            }
        },
    },
    400: _PROBLEM | {"description": "The body is not JSON."},
    401: _PROBLEM | {"description": "The signature is missing or wrong; nothing was stored."},
    413: _PROBLEM | {"description": "The body is too large."},
    503: _PROBLEM | {"description": "No signing secret is configured; nothing is accepted."},
}
_DESCRIBED: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "Stripe-Signature",
            "in": "header",
            "required": True,
            "schema": {"type": "string"},
            "description": "Time and HMAC-SHA256 of the body, as Stripe signs it.",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
        "description": "An event, snapshot or thin, as Stripe sends it.",
    },
}


def webhook_routes(receiving: Receiving) -> APIRouter:
    """The routes to which vendors send what has happened."""
    router = APIRouter(tags=["webhooks"])
    writer = None if receiving.database is None else Writer(receiving.database)

    async def receive(request: Request, source: str) -> Response:
        """Believe a delivery, keep it, acknowledge it."""
        secrets = receiving.secrets.get(source)
        if not secrets or writer is None:
            given = "whsec_…" if source == _STRIPE else f"{source[:63]}=whsec_…"
            raise WebhookSecretMissing(source[:63], given)
        body = await _body(request)
        header = request.headers.get("stripe-signature")
        refused = refusal(header, body, secrets, time.time())
        if refused is not None:
            raise SignatureRefused(source, refused)
        await writer.put(Received(source, read_envelope(_json(body), body), body))
        return answer({"status": "received"})

    @router.post(
        f"{PATH}stripe",
        summary="Stripe's webhook",
        operation_id="webhook_stripe",
        responses=_RESPONSES,
        openapi_extra=_DESCRIBED,
    )
    async def stripe(request: Request) -> Response:
        """Take in an event of Stripe, for the source `stripe`."""
        return await receive(request, _STRIPE)

    @router.post(
        f"{PATH}stripe/{{source}}",
        summary="Stripe's webhook of another source",
        operation_id="webhook_stripe_source",
        responses=_RESPONSES,
        openapi_extra=_DESCRIBED,
    )
    async def of_source(request: Request, source: str) -> Response:
        """Take in an event of Stripe, for a source with a signing secret of its own."""
        return await receive(request, source)

    return router


async def _body(request: Request) -> bytes:
    """The body, byte by byte as it was signed.

    Raises: BodyTooLarge; BodyNotJson when only a part of it came.
    """
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said) > BODY_BYTES_MAX:
        raise BodyTooLarge(BODY_BYTES_MAX)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise BodyTooLarge(BODY_BYTES_MAX)
    except ClientDisconnect:
        raise BodyNotJson("the sender went away in the middle of it") from None
    return bytes(body)


def _json(body: bytes) -> Any:
    """The body as JSON.

    Raises: BodyNotJson.
    """
    try:
        return msgspec.json.decode(body)
    except UnicodeDecodeError as error:
        raise BodyNotJson(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise BodyNotJson("it is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise BodyNotJson(str(error)) from None
