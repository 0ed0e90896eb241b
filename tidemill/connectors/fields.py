"""Reading somebody else's JSON: typed values out of it, and every problem on the way.

`Fields` wraps one JSON object. Each reading method gives the value in our type, or None when the
key is absent or null; a value that cannot be what it should be is noted as a problem and read as
None, so that one pass over an object finds everything that is wrong with it. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from tidemill.problems import Problem

__all__ = ["Fields"]

# No amount of money, quantity or rate in a subscription business is as large; such a number is an
# accident, and one of them would drown every total it is part of.
_MAGNITUDE_MAX: Final = 10**15
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# 1990-01-01 and 2200-01-01 in Unix seconds: what lies outside is an error, not a date.
_SECONDS_MIN: Final = 631_152_000
_SECONDS_MAX: Final = 7_258_118_400
# Python refuses to print integers beyond some thousands of digits.
_SHOWN_BITS_MAX: Final = 512

# As long as a word that is kept may be.
_WORD_MAX: Final = 255
_NOTHING: Final[Mapping[str, Any]] = {}


class Fields:
    """One JSON object that is being read, where it stands, and the problems found so far.

    Objects inside it share its list of problems, so the outermost one knows them all.

    >>> price = Fields({"id": "price_1", "unit_amount": "ten"})
    >>> price.text("id"), price.decimal("unit_amount")
    ('price_1', None)
    >>> [str(each) for each in price.problems]
    ["unit_amount: must be a number, not 'ten'."]
    """

    __slots__ = ("_key", "_outer", "problems", "value")

    def __init__(
        self,
        value: object,
        path: str = "",
        problems: list[Problem] | None = None,
        outer: Fields | None = None,
    ) -> None:
        self._outer = outer
        self._key = path
        self.problems: list[Problem] = [] if problems is None else problems
        # Exact types are asked for first, here and below: it is what JSON gives, and much faster.
        if type(value) is dict or isinstance(value, Mapping):
            self.value: Mapping[str, Any] = value
            return
        self.value = _NOTHING
        if value is not None:
            self.problems.append(Problem(self.path, f"must be an object, not {_shown(value)}"))

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.value)

    @property
    def path(self) -> str:
        """Where the object stands, as problems name it."""
        # Put together only when somebody asks: most objects are read without a problem.
        return self._key if self._outer is None else self._outer.at(self._key)

    def at(self, key: str) -> str:
        """The path of one of its keys, as problems name it."""
        path = self.path
        return f"{path}.{key}" if path else key

    def refuse(self, key: str, problem: str, hint: str = "") -> None:
        """Note a problem with one of its keys, or with itself when the key is empty."""
        self.problems.append(Problem(self.at(key) if key else self.path, problem, hint))

    def has(self, key: str) -> bool:
        """Whether the key is there with a value other than null."""
        return self.value.get(key) is not None

    def text(self, key: str) -> str | None:
        """A string that PostgreSQL can keep."""
        value = self.value.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self.refuse(key, f"must be text, not {_shown(value)}")
        elif value.isprintable() or _storable(value):
            return value
        else:
            self.refuse(key, "must not contain NUL characters or broken Unicode")
        return None

    def word(self, key: str, known: Container[str]) -> dict[str, str]:
        """The word under a key that is none of those known, by that key; else nothing."""
        said = self.text(key)
        return {} if said is None or said in known else {key: said[:_WORD_MAX]}

    def needed(self, key: str) -> str:
        """A string that must be there and must not be empty; empty after noting the problem."""
        value = self.text(key)
        if not value and (value is not None or not self.has(key)):
            self.refuse(key, "is missing" if value is None else "must not be empty")
        return value or ""

    def reference(self, key: str) -> str | None:
        """The id of another object, whether it is given as the id or as the object itself."""
        value = self.value.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            return self.text(key) or None
        return self.fields(key).text("id")

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self.value.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.refuse(key, f"must be true or false, not {_shown(value)}")
        return None

    def decimal(self, key: str) -> Decimal | None:
        """An exact number, given as a JSON number or as text.

        Floats are read through their shortest text, which is what stood in the JSON: 25.5 is 25.5.
        """
        value = self.value.get(key)
        if value is None:
            return None
        number = _number(value)
        if number is None:
            self.refuse(key, f"must be a number, not {_shown(value)}")
        elif number.copy_abs() > _MAGNITUDE_MAX:
            self.refuse(key, f"must not be as large as {_shown(value)}")
        else:
            return number
        return None

    def integer(self, key: str) -> int | None:
        """A whole number."""
        value = self.value.get(key)
        if type(value) is int and -_MAGNITUDE_MAX <= value <= _MAGNITUDE_MAX:
            return value
        number = self.decimal(key)
        if number is None:
            return None
        if number != number.to_integral_value():
            self.refuse(key, f"must be a whole number, not {_shown(value)}")
            return None
        return int(number)

    def instant(self, key: str) -> datetime | None:
        """A UTC instant, given in Unix seconds."""
        value = self.value.get(key)
        if type(value) is not int:
            value = self.integer(key)
        if value is None:
            return None
        if not _SECONDS_MIN <= value <= _SECONDS_MAX:
            self.refuse(key, f"must be an instant between 1990 and 2200, not {value}")
            return None
        # Not `fromtimestamp`: adding to the epoch is exact and the same on every platform.
        return _EPOCH + timedelta(seconds=value)

    def fields(self, key: str) -> Fields:
        """The object under a key; an empty one when there is none."""
        return Fields(self.value.get(key), key, self.problems, self)

    def entries(self, key: str) -> Iterator[Fields]:
        """The objects of a list, each with its own path; anything else in the list is a problem."""
        for place, value in enumerate(self.values(key)):
            yield Fields(value, f"{key}[{place}]", self.problems, self)

    def values(self, key: str) -> list[Any]:
        """The raw members of a list; empty when there is none."""
        value = self.value.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.refuse(key, f"must be a list, not {_shown(value)}")
            return []
        return value


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, int | float | str):
        try:
            number = Decimal(repr(value) if isinstance(value, float) else value)
        except InvalidOperation:
            return None
    else:
        return None
    return number if number.is_finite() else None


def _storable(text: str) -> bool:
    """Whether PostgreSQL can keep the text: no NUL, and encodable as UTF-8 (no lone surrogates)."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    """A value as a message shows it: short, whatever was sent."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    longest = 40
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS_MAX:
        return "a number of hundreds of digits"
    shown = ascii(value) if isinstance(value, str) else str(value)
    return shown if len(shown) <= longest else f"{shown[:longest]}…"
