"""What all errors share: their parts, whether a retry can help, and how problems are listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from tidemill.problems import Problem, did_you_mean

__all__ = [
    "ManyProblems",
    "Permanent",
    "TidemillError",
    "Transient",
    "UnknownName",
]


class TidemillError(Exception):
    """The root: anything Tidemill raises on purpose.

    Attributes: ``code`` stable and documented; ``message`` what is wrong; ``hint`` the remedy, may
    be empty; ``context`` the values both were made from.
    """

    code: ClassVar[str] = "tidemill_error"

    def __init__(self, message: str, *, hint: str = "", **context: Any) -> None:
        """Keep the parts apart, so that each front end can lay them out its own way."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context: Mapping[str, Any] = context

    def __str__(self) -> str:
        """The message followed by the hint: what a traceback or a notebook shows."""
        return f"{self.message} {self.hint}" if self.hint else self.message

    def document(self) -> dict[str, Any]:
        """The error for programs: its code, what is wrong, the hint, and each single problem."""
        return {"code": self.code, "detail": self.message, "hint": self.hint, "errors": []}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state, because subclasses take other arguments than the message."""
        return _revive, (type(self), self.args), self.__dict__


def _revive(kind: type[TidemillError], args: tuple[object, ...]) -> TidemillError:
    error = kind.__new__(kind)
    error.args = args
    return error


class Transient:
    """Mixin: trying the same thing again later may work."""


class Permanent:
    """Mixin: trying the same thing again cannot work; something must change first."""


class ManyProblems(TidemillError):
    """Base of errors that report every problem found, not only the first."""

    code = "many_problems"
    subject: ClassVar[str] = "Input"

    def __init__(self, problems: Sequence[Problem], *, hint: str = "", **context: Any) -> None:
        """Take all problems; the message shows each of them."""
        assert problems, "an error about problems needs at least one"
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            message = f"{self.subject} is not valid: {self.problems[0]}"
        else:
            lines = "".join(f"\n  - {each}" for each in self.problems)
            message = f"{self.subject} is not valid; {len(self.problems)} problems:{lines}"
        super().__init__(message, hint=hint, **context)

    def document(self) -> dict[str, Any]:
        """The error for programs, with its problems as a list instead of in the text."""
        detail, _, listed = self.message.partition(":\n")
        return super().document() | {
            "detail": f"{detail}." if listed else detail,
            "errors": [each.document() for each in self.problems],
        }


class UnknownName(TidemillError):
    """Base of errors about a name that is not known; the hint suggests a near one."""

    code = "unknown_name"
    kind: ClassVar[str] = "thing"
    otherwise: ClassVar[str] = ""

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        """Name what is unknown and suggest the nearest of the `known` names."""
        names = sorted(known)
        fallback = self.otherwise or (f"Known: {', '.join(names)}." if names else "")
        hint = did_you_mean(name, names, otherwise=fallback)
        super().__init__(f"No {self.kind} is named {name!r}.", hint=hint, name=name)
        self.name = name
