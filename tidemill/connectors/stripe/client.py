"""Reading from Stripe's API: one object, or a list page by page, politely and until it works.

Plain HTTP and plain JSON. Objects are given as the dictionaries Stripe sends, of the version in
`API_VERSION`; what they mean is the business of the translation. Nothing is ever written to Stripe.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from tidemill.connectors.stripe.refusals import why_again
from tidemill.errors import ApiKeyWrongMode, ApiRequestRefused, ApiUnreachable

__all__ = [
    "API_BASE",
    "API_VERSION",
    "PAGE_MAX",
    "Json",
    "Page",
    "StripeClient",
    "Throttle",
    "key_is_live",
]

API_VERSION: Final = "2026-10-28.endive"
"""The version of Stripe's API that every request names; the only place it is written."""

API_BASE: Final = "https://api.stripe.com"
"""Where Stripe's API is."""

PAGE_MAX: Final = 100
"""Objects on a page, as many as Stripe gives."""

Json = dict[str, Any]
"""An object as Stripe sends it."""

# As httpx types the values of parameters.
_Plain = str | int | float | bool | None

_ATTEMPTS_MAX: Final = 8
# The failure of one request from which on it is told: two in a row are nothing unusual.
_TOLD_FROM: Final = 3
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 32.0
_NOT_FOUND: Final = 404
_DECODER: Final = msgspec.json.Decoder(Json)


def key_is_live(key: str) -> bool | None:
    """Whether a secret or restricted key is of live mode; None when its prefix does not tell.

    >>> key_is_live("rk_live_x"), key_is_live("sk_test_x"), key_is_live("whatever")
    (True, False, None)
    """
    parts = key.split("_", 2)
    if parts[0] not in {"sk", "rk"} or len(parts) < 3:  # noqa: PLR2004 - sk, mode, secret
        return None
    return {"live": True, "test": False}.get(parts[1])


@dataclass(slots=True)
class Throttle:
    """Requests a second, evenly spaced; shared by all threads that use a client.

    rate: requests a second; 0 for as many as come. Stripe allows 100 a second in live mode, and 25
          to each endpoint; ten leave room for whatever else uses the account.
    """

    rate: float = 10.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self) -> None:
        """Return when it is the caller's turn."""
        with self._lock:
            now = self.clock()
            turn = max(now, self._next)
            self._next = turn + (1 / self.rate if self.rate else 0.0)
        if turn > now:
            self.sleep(turn - now)

    def hold(self, seconds: float) -> None:
        """Let nobody have a turn for a while: the other side has had enough."""
        with self._lock:
            self._next = max(self._next, self.clock() + seconds)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, newest object first as Stripe lists them."""

    objects: tuple[Json, ...]
    has_more: bool

    @property
    def last(self) -> str | None:
        """The id to go on after; None when the page is empty."""
        return str(self.objects[-1]["id"]) if self.objects else None


class StripeClient:
    """Reads from one Stripe account. Safe to share between threads; close it when done.

    key:       a secret or restricted key. It is sent nowhere but to `base_url`.
    base_url:  another server than Stripe's, for tests.
    account:   a connected account to read instead of the key's own.
    throttle:  how many requests a second.
    timeout_s: how long to wait for an answer before trying again.
    waiting:   called with the reason, and the seconds until the next attempt, when a request has
               failed so often that whoever waits should know; once for all that wait meanwhile.
    """

    def __init__(
        self,
        key: str,
        *,
        base_url: str = API_BASE,
        account: str | None = None,
        throttle: Throttle | None = None,
        timeout_s: float = 60.0,
        waiting: Callable[[str, float], None] | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}", "Stripe-Version": API_VERSION}
        if account is not None:
            headers["Stripe-Account"] = account
        self.live = key_is_live(key)
        self._account = account
        self._throttle = throttle or Throttle()
        self._waiting = waiting
        self._told_until = -math.inf
        self._dice = random.Random()  # noqa: S311 - jitter, not a secret
        self._http = httpx.Client(
            base_url=base_url, headers=headers, timeout=timeout_s, follow_redirects=False
        )

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
        """Let go of the connections."""
        self._http.close()

    def check_mode(self, source: str, *, test_mode: bool) -> None:
        """Refuse a key of the mode that a source does not take for its books.

        Raises: ApiKeyWrongMode.
        """
        if self.live is not None and self.live is test_mode:
            raise ApiKeyWrongMode(key_is_live=self.live, source=source)

    # --- what can be read ---------------------------------------------------------------------

    def get(self, path: str, params: Mapping[str, object] | None = None) -> Json:
        """One answer, such as ``get("/v1/subscriptions/sub_1", {"expand": ["discounts"]})``.

        Tried again, with growing pauses and some chance in them, after failures of the network, of
        Stripe (5xx) and when it asks to slow down (429); what it says of when to come is kept to.
        Raises: ApiKeyRefused, ApiPermissionMissing, ApiAccountRefused, ApiRequestRefused,
            ApiUnreachable.
        """
        query = httpx.QueryParams(list(_query(params or {})))
        reason = ""
        for attempt in range(_ATTEMPTS_MAX):
            self._throttle.wait()
            try:
                answer = self._http.get(path, params=query)
            except httpx.TransportError as error:
                reason, ordered = str(error) or type(error).__name__, None
            else:
                if answer.is_success:
                    return self._decoded(path, answer)
                reason, ordered = why_again(path, answer, self._account)
            if attempt + 1 < _ATTEMPTS_MAX:
                pause = self._pause(attempt, ordered)
                if attempt + 1 >= _TOLD_FROM:
                    self._tell(reason, pause)
                self._throttle.hold(pause)
        raise ApiUnreachable(path, reason, _ATTEMPTS_MAX)

    def find(self, path: str, params: Mapping[str, object] | None = None) -> Json | None:
        """As `get`, but None when there is no such object (any more)."""
        try:
            return self.get(path, params)
        except ApiRequestRefused as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def page(
        self, path: str, params: Mapping[str, object] | None = None, *, after: str | None = None
    ) -> Page:
        """One page of a list: the newest objects, or those that follow the object `after`."""
        asked: dict[str, object] = {"limit": PAGE_MAX, **(params or {})}
        if after is not None:
            asked["starting_after"] = after
        answer = self.get(path, asked)
        objects = answer.get("data")
        if not isinstance(objects, list):
            raise ApiRequestRefused(path, 200, "the answer is not a list")
        return Page(tuple(objects), answer.get("has_more") is True)

    def pages(
        self, path: str, params: Mapping[str, object] | None = None, *, after: str | None = None
    ) -> Iterator[Page]:
        """A whole list page by page, newest first, from the beginning or from after an object."""
        while True:
            page = self.page(path, params, after=after)
            yield page
            # An empty page that promises more would be asked for again forever.
            if not page.has_more or page.last is None:
                return
            after = page.last

    def listed(self, path: str, params: Mapping[str, object] | None = None) -> Iterator[Json]:
        """Every object of a list, newest first."""
        for page in self.pages(path, params):
            yield from page.objects

    def completed(self, found: Json, key: str, path: str, expand: tuple[str, ...] = ()) -> Json:
        """The object with a nested list made whole, where Stripe sent only its first ten members.

        key:  the name of the nested list, such as ``items``.
        path: where its members are listed, such as ``/v1/invoices/in_1/lines``; a query may follow.
        """
        nested = found.get(key)
        if not isinstance(nested, dict) or nested.get("has_more") is not True:
            return found
        address, _, query = path.partition("?")
        params: dict[str, object] = {}
        for each in query.split("&") if query else ():
            name, _, value = each.partition("=")
            params[name] = value
        if expand:
            params["expand"] = list(expand)
        members = list(self.listed(address, params))
        return {**found, key: {**nested, "data": members, "has_more": False}}

    # --- what people ask for ------------------------------------------------------------------

    def subscription(self, key: str) -> Json | None:
        """A subscription as it is now, whole: all its items, discounts with their coupons.

        Tiers of prices are not part of it; see `price`. None when Stripe does not know it.
        """
        expand = ["discounts.source.coupon", "items.data.discounts", "latest_invoice"]
        found = self.find(f"/v1/subscriptions/{key}", {"expand": expand})
        if found is None:
            return None
        return self.completed(
            found, "items", f"/v1/subscription_items?subscription={key}", ("data.discounts",)
        )

    def price(self, key: str) -> Json | None:
        """A price with its tiers and other currencies."""
        return self.find(f"/v1/prices/{key}", {"expand": ["tiers", "currency_options"]})

    def invoice(self, key: str) -> Json | None:
        """An invoice as it is now with all its lines."""
        found = self.find(f"/v1/invoices/{key}", {"expand": ["discounts", "payments"]})
        return found and self.completed(found, "lines", f"/v1/invoices/{key}/lines")

    def thin_event(self, key: str) -> Json | None:
        """A thin event as the API keeps it, with `changes` and, where there is one, its twin."""
        return self.find(f"/v2/core/events/{key}")

    # --- trying again -------------------------------------------------------------------------

    def _decoded(self, path: str, answer: httpx.Response) -> Json:
        try:
            return _DECODER.decode(answer.content)
        except msgspec.DecodeError as error:
            said = f"the answer is not a JSON object: {error}"
            raise ApiRequestRefused(path, answer.status_code, said) from None

    def _tell(self, reason: str, pause: float) -> None:
        """Say once for all requests under way that they wait."""
        now = self._throttle.clock()
        if self._waiting is not None and now >= self._told_until:
            # Half of it: whoever fails after that has tried again.
            self._told_until = now + pause / 2
            self._waiting(reason, pause)

    def _pause(self, attempt: int, ordered: float | None) -> float:
        """How long to wait: twice as long each time, half of it chance, never less than told."""
        longest: float = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S)
        return max(longest * (0.5 + self._dice.random() / 2), ordered or 0.0)


def _query(params: Mapping[str, object]) -> Iterator[tuple[str, _Plain]]:
    """Parameters as Stripe wants them: ``expand[]=a``, ``created[gte]=1``.

    >>> list(_query({"expand": ["data.tiers"], "created": {"gte": 1}, "active": True}))
    [('expand[]', 'data.tiers'), ('created[gte]', '1'), ('active', 'true')]
    """
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}[{key}]", _plain(each)) for key, each in value.items())
        elif isinstance(value, list | tuple):
            yield from ((f"{name}[]", _plain(each)) for each in value)
        elif value is not None:
            yield name, _plain(value)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
