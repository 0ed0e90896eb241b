"""What can go wrong between a client and Stripe, on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Fault", "Key"]


@dataclass(frozen=True, slots=True)
class Key:
    """An API key that the fake accepts.

    denied: resources it may not read, by the third part of their path, such as ``charges``.
    """

    secret: str
    denied: frozenset[str] = frozenset()


@dataclass(slots=True)
class Fault:
    """Something that happens to requests instead of, or before, an answer.

    status:  the HTTP status of a failure; 0 for an answer that is only slow; -1 hangs up.
    path:    only requests whose path begins like this.
    times:   how many requests it happens to.
    after:   how many requests pass before.
    headers: of the failure, such as ``Retry-After``.
    delay_s: how long an answer is held back.
    """

    status: int
    path: str = "/"
    times: int = 1
    after: int = 0
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0

    def strikes(self, path: str) -> bool:
        """Whether it happens to a request; counts it."""
        if self.times <= 0 or not path.startswith(self.path):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True
