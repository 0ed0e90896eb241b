"""Errors of taking data in: events, files."""

from __future__ import annotations

from tidemill.errors.root import ManyProblems, Permanent, TidemillError

__all__ = [
    "BodyNotJson",
    "BodyTooLarge",
    "IngestError",
    "InvalidEvent",
    "InvalidFile",
    "MergeRefused",
    "SignatureRefused",
    "UnreadableFile",
]


class IngestError(TidemillError):
    """Something could not be taken in; concrete classes are Transient or Permanent."""

    code = "ingest_error"


class InvalidEvent(ManyProblems, IngestError, Permanent):
    """An event breaks the contract in one or more places; all of them are listed."""

    code = "invalid_event"
    subject = "The event"


class InvalidFile(ManyProblems, IngestError, Permanent):
    """A file that is taken in as a whole, or not at all, has problems; all of them are listed."""

    code = "invalid_file"
    subject = "The file"


class MergeRefused(IngestError, Permanent):
    """Two customers cannot become one company in the way that was asked for."""

    code = "merge_refused"


class UnreadableFile(IngestError, Permanent):
    """A file that is to be imported is not there, may not be read, or is damaged."""

    code = "unreadable_file"

    def __init__(self, file: str, reason: str, *, hint: str = "") -> None:
        """Name the file and why it cannot be read."""
        super().__init__(
            f"{file} cannot be read: {reason}.",
            hint=hint or "Check the name and the permissions of the file.",
            file=file,
            reason=reason,
        )


class SignatureRefused(IngestError, Permanent):
    """A delivery to a webhook does not prove that it comes from the vendor; nothing was stored."""

    code = "signature_refused"

    def __init__(self, source: str, reason: str) -> None:
        """Name the source and why its secrets do not fit."""
        super().__init__(
            f"The delivery for source {source!r} is not believed: {reason}.",
            hint="Compare STRIPE_WEBHOOK_SECRET with the signing secret of the endpoint in Stripe; "
            "a proxy in between must hand on the body untouched.",
            source=source,
            reason=reason,
        )


class BodyTooLarge(IngestError, Permanent):
    """The body of a request is larger than anything that is expected there; it was not read."""

    code = "body_too_large"

    def __init__(self, bytes_max: int) -> None:
        """Say how large it may be."""
        super().__init__(
            f"The body is larger than {bytes_max:,} bytes.",
            hint="Whoever sends it sends something else than events.",
            bytes_max=bytes_max,
        )


class BodyNotJson(IngestError, Permanent):
    """The body of a delivery is not JSON; nothing was stored."""

    code = "body_not_json"

    def __init__(self, reason: str) -> None:
        """Say what is wrong with it."""
        super().__init__(
            f"The body is not JSON: {reason}.",
            hint="Send the event as the vendor sends it, one a request.",
            reason=reason,
        )
