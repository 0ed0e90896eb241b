"""Errors of taking data in: events, files."""

from __future__ import annotations

from tidemill.errors.root import ManyProblems, Permanent, TidemillError

__all__ = [
    "IngestError",
    "InvalidEvent",
    "InvalidFile",
    "MergeRefused",
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
