"""JSON responses."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

__all__ = ["answer"]


def answer(
    document: Any, status: int = HTTPStatus.OK, media_type: str = "application/json"
) -> Response:
    """A document as a JSON response."""
    return Response(msgspec.json.encode(document), int(status), media_type=media_type)
