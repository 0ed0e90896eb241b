"""Everything that is wrong with an event, listed.

Two halves. The *rules* say what types cannot: which currencies exist, which dates are absurd, what
must not come before what; they run on every event, so they are quick. The *listing* runs only on
events that were refused already: it reads them key by key, keeps going after a mistake, and says
for each one where it is, what it should have been and what may have been meant.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from enum import EnumType
from functools import cache
from operator import attrgetter
from types import NoneType, SimpleNamespace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from tidemill.errors import Problem, did_you_mean
from tidemill.money import EXPONENTS
from tidemill.payloads import EVENT_TYPES, Currency, Discount, FxRate, Invoice, InvoiceLine, Item
from tidemill.payloads import Subscription as _Subscription

__all__ = [
    "field_problems",
    "keepable_number",
    "likely_type",
    "repeated_keys",
    "rule_problems",
    "text_problems",
]

_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_LATEST_EXCLUSIVE = datetime(2201, 1, 1, tzinfo=UTC)
_OFFSET_MAX = timedelta(hours=15, minutes=59)  # PostgreSQL reads no larger one
_NO_TIME = timedelta(0)
_NUMBER_LENGTH_MAX = 300
_EXPONENT_MAX = 300
_SHOWN_LENGTH = 60

# --- rules ---------------------------------------------------------------------------------------

_ORDER: dict[type[Struct], tuple[tuple[str, str], ...]] = {
    Discount: (("starts_at", "ends_at"),),
    Invoice: (("period_start", "period_end"),),
    InvoiceLine: (("period_start", "period_end"),),
    _Subscription: (("trial_start", "trial_end"), ("current_period_start", "current_period_end")),
}
"""Instants of which the second must not come before the first."""


def _tax_within_price(item: Any, path: str) -> list[Problem]:
    tax = item.tax_inclusive_amount
    if tax == "0" or Decimal(tax) <= Decimal(item.unit_amount):
        return []
    where, hint = f"{path}.tax_inclusive_amount", "It is the tax on one unit."
    return [Problem(where, "is more than the unit_amount that contains it", hint)]


def _one_kind_of_discount(discount: Any, path: str) -> list[Problem]:
    if (discount.percent_off is None) != (discount.amount_off is None):
        return []
    return [Problem(path, "needs either percent_off or amount_off", "Leave the other null.")]


def _rate_between_two(rate: Any, path: str) -> list[Problem]:
    found = []
    if rate.base.upper() == rate.quote.upper():
        found.append(Problem(f"{path}.quote", "is the same currency as base"))
    if Decimal(rate.rate) == 0:
        found.append(Problem(f"{path}.rate", "must be more than zero"))
    return found


_ACROSS: dict[type[Struct], Callable[[Any, str], list[Problem]]] = {
    Discount: _one_kind_of_discount,
    FxRate: _rate_between_two,
    Item: _tax_within_price,
}


@dataclass(frozen=True, slots=True)
class _Rules:
    """What is to be looked at in one kind of object, found once from its types."""

    instants: tuple[str, ...]
    instants_of: Callable[[Any], tuple[datetime | None, ...]]
    days: tuple[str, ...]
    currencies: tuple[str, ...]
    nested: tuple[tuple[str, type[Struct]], ...]
    order: tuple[tuple[str, str], ...]
    across: Callable[[Any, str], list[Problem]] | None


def rule_problems(thing: Any, kind: type[Struct], path: str) -> list[Problem]:
    """What is wrong with an object of the right types.

    `thing` is a `kind`, or a stand-in whose unreadable fields are None and which is marked as
    ``flawed``; rules over several fields are left out for such a one.
    """
    rules = _rules(kind)
    found: list[Problem] = []
    for moment in rules.instants_of(thing):
        # Parsed with a Z, the zone is this very object: the offset needs no look.
        if moment is not None and not (
            _EARLIEST <= moment < _LATEST_EXCLUSIVE
            and (moment.tzinfo is UTC or abs(moment.utcoffset() or _NO_TIME) <= _OFFSET_MAX)
        ):
            names = (name for name in rules.instants if getattr(thing, name) is moment)
            found.append(_absurd(_join(path, next(names)), moment))
    for name in rules.currencies:
        code = getattr(thing, name)
        if code is not None and code.upper() not in EXPONENTS:
            hint = did_you_mean(code.upper(), EXPONENTS, otherwise="Use an ISO 4217 code.")
            found.append(Problem(_join(path, name), f"{code!r} is not a currency", hint))
    for first, second in rules.order:
        start, end = getattr(thing, first), getattr(thing, second)
        if start is not None and end is not None and end < start:
            found.append(Problem(_join(path, second), f"is before {first}"))
    for name in rules.days:
        day = getattr(thing, name)
        if day is not None and not _EARLIEST.date() <= day < _LATEST_EXCLUSIVE.date():
            found.append(_absurd(_join(path, name), day))
    if rules.across and not (isinstance(thing, SimpleNamespace) and thing.flawed):
        found += rules.across(thing, path)
    for name, inner in rules.nested:
        for index, each in enumerate(getattr(thing, name) or ()):
            found.extend(rule_problems(each, inner, f"{path}.{name}[{index}]"))
    return found


def _absurd(path: str, moment: datetime | date) -> Problem:
    if isinstance(moment, datetime) and _EARLIEST <= moment < _LATEST_EXCLUSIVE:
        return Problem(path, "has an offset of 16 hours or more", "Write it in UTC, with a Z.")
    return Problem(path, f"{moment.isoformat()} cannot be right", "Dates are from 1990 to 2200.")


@cache
def _rules(kind: type[Struct]) -> _Rules:
    hints = _hints(kind)
    bare = {name: _without_none(hint) for name, hint in hints.items()}
    nested = ((name, _item_type(hint)) for name, hint in bare.items())
    instants = tuple(name for name, hint in bare.items() if _base(hint) is datetime)
    return _Rules(
        instants=instants,
        # With one name attrgetter gives no tuple, and with none it fails.
        instants_of=attrgetter(*instants) if len(instants) > 1 else _each(instants),
        days=tuple(name for name, hint in bare.items() if _base(hint) is date),
        currencies=tuple(name for name, hint in bare.items() if hint == Currency),
        nested=tuple((name, inner) for name, inner in nested if inner is not None),
        order=_ORDER.get(kind, ()),
        across=_ACROSS.get(kind),
    )


def _each(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda thing: tuple(getattr(thing, name) for name in names)


# --- listing -------------------------------------------------------------------------------------


def field_problems(
    value: Mapping[str, Any], kind: type[Struct], path: str = ""
) -> tuple[list[Problem], SimpleNamespace]:
    """What is wrong with each key of a JSON object that should be a `kind`, and a stand-in for it.

    The stand-in has every field of `kind`; what is missing or unreadable is None in it.
    """
    found: list[Problem] = []
    stand_in = SimpleNamespace()
    hints = _hints(kind)
    strangers = [name for name in value if name not in hints]
    for info in msgspec.structs.fields(kind):
        name, hint = info.name, hints[info.name]
        setattr(stand_in, name, None if info.required else _default(info))
        where = _join(path, name)
        if name not in value:
            if info.required:
                found.append(_missing(where, name, strangers))
        elif hint is not msgspec.Raw:
            problems, read = _read(value[name], hint, where)
            found.extend(problems)
            setattr(stand_in, name, read)
    stand_in.flawed = bool(found)
    return found, stand_in


def _default(info: msgspec.structs.FieldInfo) -> Any:
    return None if info.default is msgspec.NODEFAULT else info.default


def _missing(where: str, name: str, strangers: Iterable[str]) -> Problem:
    near = get_close_matches(name, strangers, n=1)
    return Problem(where, "is missing", f"Was it written {near[0]!r}?" if near else "")


def _read(value: Any, hint: Any, path: str) -> tuple[list[Problem], Any]:
    """One value as its type wants it, or what keeps it from being so."""
    bare = _without_none(hint)
    if value is None and bare is not hint:
        return [], None
    inner, base = _item_type(bare), _base(bare)
    if inner is not None:
        return _read_list(value, bare, path)
    if isinstance(base, type) and issubclass(base, Struct):
        if not isinstance(value, Mapping):
            return [Problem(path, f"must be an object, not {_shown(value)}")], None
        return field_problems(value, base, path)
    try:
        return [], msgspec.convert(value, hint)
    except msgspec.ValidationError:
        return [_wrong(path, value, bare, base)], None


def _read_list(value: Any, hint: Any, path: str) -> tuple[list[Problem], Any]:
    if not isinstance(value, list):
        return [Problem(path, f"must be a list, not {_shown(value)}")], None
    longest = next((m.max_length for m in _metas(hint) if m.max_length), len(value))
    if len(value) > longest:
        return [Problem(path, f"has {len(value)} entries, more than {longest}")], None
    found: list[Problem] = []
    read = []
    for index, each in enumerate(value):
        problems, one = _read(each, _item_type(hint), f"{path}[{index}]")
        found.extend(problems)
        if one is not None:
            read.append(one)
    return found, read


def _wrong(path: str, value: Any, hint: Any, base: Any) -> Problem:
    if isinstance(base, EnumType):
        members: Iterable[Any] = base
        known = [str(member.value) for member in members]
        wanted = f"one of {', '.join(known)}"
        advice = did_you_mean(value, known) if isinstance(value, str) else ""
    else:
        wanted = next((m.description for m in _metas(hint) if m.description), "")
        wanted = wanted or {str: "a text", bool: "true or false"}.get(base, "something else")
        advice = _advice(value, base)
    return Problem(path, f"must be {wanted}, not {_shown(value)}", advice)


def _advice(value: Any, base: Any) -> str:
    if base is datetime and isinstance(value, str):
        try:
            if datetime.fromisoformat(value).tzinfo is None:
                return "Add the offset; Z for UTC."
        except ValueError:
            pass
    if base is datetime and isinstance(value, int):
        return "Unix time is not accepted here."
    if isinstance(value, float) and base is not datetime:
        return "Floating-point numbers are not exact; write a decimal string, or a whole number."
    return ""


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[: _SHOWN_LENGTH - 1]}…"


def likely_type(data: Mapping[str, Any], type: str) -> Problem | None:
    """A remark when a payload looks like that of another kind of event."""
    carried = EVENT_TYPES.get(type)
    families = {name.split(".")[0]: kind for name, kind in EVENT_TYPES.items()}
    if carried is None or _required(carried) <= data.keys():
        return None
    # The more keys a kind requires, the less likely it fits by accident.
    fitting = [f for f, kind in families.items() if _required(kind) <= data.keys()]
    fitting = [f for f in fitting if len(_required(families[f])) > 1]
    if not fitting:
        return None
    best = max(fitting, key=lambda family: len(_required(families[family])))
    return Problem("type", f"is {type!r}, but data looks like a {best}'s", "Check the type.")


@cache
def _required(kind: type[Struct]) -> frozenset[str]:
    return frozenset(info.name for info in msgspec.structs.fields(kind) if info.required)


# --- text ----------------------------------------------------------------------------------------


def keepable_number(literal: str) -> bool:
    """Whether a JSON number has an extent that the log, and anyone's books, can have.

    >>> keepable_number("1.5e3"), keepable_number("1e-20000")
    (True, False)
    """
    mantissa, _, power = literal.lower().partition("e")
    return len(mantissa) <= _NUMBER_LENGTH_MAX and abs(int(power[:9] or 0)) <= _EXPONENT_MAX


def text_problems(text: bytes) -> list[Problem]:
    """What JSON allows but the log cannot keep: the NUL character, and absurd numbers."""
    found: list[Problem] = []

    def number(literal: str) -> None:
        if not keepable_number(literal):
            found.append(Problem("", f"holds a number out of range, {literal[:20]}"))

    def pairs(members: list[tuple[str, Any]]) -> None:
        found.extend(_nul(name) for name, each in members if "\0" in name or _holds_nul(each))

    value = json.loads(text, parse_float=number, parse_int=number, object_pairs_hook=pairs)
    if _holds_nul(value):
        found.append(_nul(""))
    return found


def repeated_keys(text: bytes) -> list[Problem]:
    """Keys that an object has more than once: the last counts, but an earlier one may be bad."""
    found: set[str] = set()

    def pairs(members: list[tuple[str, Any]]) -> None:
        counted = Counter(name for name, _ in members)
        found.update(name for name, times in counted.items() if times > 1)

    json.loads(text, object_pairs_hook=pairs)
    return [Problem("", f"has the key {name!r} more than once") for name in sorted(found)]


def _holds_nul(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value


def _nul(name: str) -> Problem:
    name = name.replace("\0", "\\u0000")
    return Problem(name, "contains the NUL character", "PostgreSQL keeps no NUL; remove it.")


# --- types, taken apart --------------------------------------------------------------------------


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@cache
def _hints(kind: type[Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _without_none(hint: Any) -> Any:
    """The type of a field that may be null, without the null; the same object when it may not."""
    rest = [each for each in get_args(hint) if each is not NoneType]
    if get_origin(hint) is Annotated or len(rest) == len(get_args(hint)):
        return hint
    combined = rest[0]
    for each in rest[1:]:
        combined = combined | each
    return combined


def _metas(hint: Any) -> Iterator[Meta]:
    if get_origin(hint) is Annotated:
        yield from (each for each in get_args(hint)[1:] if isinstance(each, Meta))


def _base(hint: Any) -> Any:
    return _base(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def _item_type(hint: Any) -> Any:
    """The type of a list's entries; None for anything but a list of objects."""
    base = _base(hint)
    return get_args(base)[0] if get_origin(base) is list else None
