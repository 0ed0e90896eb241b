"""The HTTP edge of the fake Stripe: keys, versions, and what goes wrong on purpose."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from urllib.parse import parse_qs, urlsplit

from tidemill.testing.stripe.account import FakeAccount
from tidemill.testing.stripe.answers import Refusal, answer_to
from tidemill.testing.stripe.faults import Fault, Key

__all__ = ["FakeStripe", "Seen"]

_NEWEST: Final = "2026-10-28.endive"
_HANG_UP: Final = -1


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that arrived: path, parameters, and the API version and account it named."""

    path: str
    query: Mapping[str, Sequence[str]]
    version: str | None
    account: str | None = None


class FakeStripe:
    """Serves an account over HTTP on this machine until it is closed.

    connected:     accounts that the key may read in the header ``Stripe-Account``, by their ids.
    keys:          what is accepted; any key when there are none.
    rate_max:      requests a second; what comes faster gets a 429. 0 takes everything.
    before_answer: called with each request before it is answered, to change the account meanwhile.

    >>> with FakeStripe() as fake:
    ...     fake.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self,
        account: FakeAccount | None = None,
        *,
        connected: Mapping[str, FakeAccount] | None = None,
        keys: Sequence[Key] = (),
        rate_max: int = 0,
        before_answer: Callable[[Seen], None] | None = None,
    ) -> None:
        self.account = account or FakeAccount()
        self.connected = dict(connected or {})
        self.keys = {key.secret: key for key in keys}
        self.rate_max = rate_max
        self.before_answer = before_answer
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self._recent: list[float] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, seen: Seen, secret: str) -> tuple[int, Any, Mapping[str, str]]:
        """Status, document and headers of the answer to a request; a status of -1 hangs up."""
        with self._lock:
            self.seen.append(seen)
            fault = next((each for each in self.faults if each.strikes(seen.path)), None)
            crowded = self._crowded()
        if fault is not None:
            time.sleep(fault.delay_s)
            if fault.status:
                return fault.status, _error("On purpose.", fault.code), fault.headers
        if crowded:
            return 429, _error("Too many requests."), {"Stripe-Rate-Limited-Reason": "global-rate"}
        with self._lock:
            if self.before_answer is not None:
                self.before_answer(seen)
            try:
                self._admit(seen.path, secret)
                version = seen.version or _NEWEST
                return 200, answer_to(self._of(seen), seen.path, seen.query, version), {}
            except Refusal as refusal:
                return refusal.status, _error(refusal.message, refusal.code), {}

    def _of(self, seen: Seen) -> FakeAccount:
        if seen.account is None:
            return self.account
        if seen.account not in self.connected:
            said = f"The provided key does not have access to account '{seen.account}'."
            raise Refusal(403, said, "account_invalid")
        return self.connected[seen.account]

    def _crowded(self) -> bool:
        now = time.monotonic()
        self._recent = [each for each in self._recent if now - each < 1]
        if self.rate_max and len(self._recent) >= self.rate_max:
            return True
        self._recent.append(now)
        return False

    def _admit(self, path: str, secret: str) -> None:
        if not secret:
            raise Refusal(401, "You did not provide an API key.")
        if not self.keys:
            return
        key = self.keys.get(secret)
        if key is None:
            raise Refusal(401, f"Invalid API Key provided: {secret[:8]}*****")
        resource = path.split("/")[2]
        if resource in key.denied:
            right = f"rak_{resource.rstrip('s')}_read"
            raise Refusal(
                403,
                f"The provided key '{secret[:8]}*****' does not have the required permissions for "
                f"this endpoint. Having the '{right}' permission would allow this request to "
                "continue.",
            )


def _error(message: str, code: str = "") -> dict[str, Any]:
    return {"error": {"type": "invalid_request_error", "message": message, "code": code or None}}


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    fake: ClassVar[FakeStripe]
    protocol_version = "HTTP/1.1"
    # Headers and body go out together: else the other side waits for the rest of a short answer.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a request."""
        address = urlsplit(self.path)
        query = parse_qs(address.query, keep_blank_values=True)
        secret = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        version, account = self.headers.get("Stripe-Version"), self.headers.get("Stripe-Account")
        seen = Seen(address.path, query, version, account)
        status, document, headers = self.fake.answer(seen, secret)
        if status == _HANG_UP:
            self.close_connection = True
            return
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Request-Id", f"req_{len(self.fake.seen)}")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a test's output is its own."""
