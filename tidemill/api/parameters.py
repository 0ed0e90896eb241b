"""What an HTTP request asks: from query parameters, or a JSON body, to the engine's arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tidemill.engine import CUSTOMERS_MAX
from tidemill.errors import InvalidQuery
from tidemill.metrics.base import Param
from tidemill.metrics.catalogue import QuestionInfo
from tidemill.metrics.paging import ALL, ROWS_MAX
from tidemill.metrics.spec import Paging, QuerySpec
from tidemill.policy import read_overrides
from tidemill.presets import PRESETS
from tidemill.problems import Problem

__all__ = [
    "CUSTOMER",
    "TIMELINE",
    "Wanted",
    "body_described",
    "compared",
    "described",
    "read_body",
    "read_compared",
    "read_query",
    "restated",
]

# Parameters of every question that may come several times, or as lists.
_SEVERAL: Final = ("dimensions", "filter", "compare_segments", "set")
_ONCE: Final = ("segment", "preset", "known_at", "compare_to", "limit", "after")
# What the engine's functions call their own arguments: as parameters they are unknown.
_TAKEN: Final = frozenset(
    {
        *("by", "customer", "customers_max", "metric", "policies", "policy", "presets"),
        *("question", "self", "spec", "where"),
    }
)
# The command line's word for a grain is understood, too.
_SPELLINGS: Final = {"interval": "grain"}


@dataclass(frozen=True)
class Wanted:
    """What is wanted beside metric and question.

    Attributes: ``several`` and ``once`` hold the parameters that every question takes, ``params``
    all others, which are the question's own or wrong.
    """

    several: Mapping[str, tuple[str, ...]]
    once: Mapping[str, str]
    params: Mapping[str, str]
    knobs: Mapping[str, str] = field(default_factory=dict)

    def engine_arguments(self) -> dict[str, Any]:
        """The arguments of `Tidemill.query`, but for metric and question.

        Raises: InvalidPolicy naming every knob without a value; InvalidQuery.
        """
        if taken := sorted(self.params.keys() & _TAKEN):
            takes = "Parameters of every question: dimensions, filter, preset, set, known_at."
            raise InvalidQuery([Problem(name, "is not a parameter", takes) for name in taken])
        return {
            "spec": QuerySpec(
                self.several.get("dimensions", ()),
                self.several.get("filter", ()),
                segment=self.once.get("segment"),
                compare=self.several.get("compare_segments", ()),
                compare_to=self.once.get("compare_to"),
            ).paged(Paging(self.once.get("limit"), self.once.get("after"))),
            "preset": self.once.get("preset"),
            "set": self.policy_set(),
            "known_at": self.once.get("known_at"),
            **self.params,
        }

    def policy_set(self) -> dict[str, str]:
        """Knob → value.

        Raises: InvalidPolicy naming every text that is not ``knob=value``.
        """
        turned = read_overrides(self.several.get("set", ()))
        return turned | dict(self.knobs)


def read_query(items: Iterable[tuple[str, str]]) -> Wanted:
    """What query parameters ask.

    Raises: InvalidQuery naming every parameter that is given twice.
    """
    several: dict[str, list[str]] = {}
    single: dict[str, str] = {}
    problems = []
    for written, value in items:
        name = _SPELLINGS.get(written, written)
        if name in _SEVERAL:
            # Names of dimensions and segments hold no comma; values of filters may.
            parts = value.split(",") if name in {"dimensions", "compare_segments"} else [value]
            several.setdefault(name, []).extend(each for each in parts if each)
        elif name in single:
            problems.append(Problem(written, "is given more than once"))
        else:
            single[name] = value
    if problems:
        raise InvalidQuery(problems)
    return _wanted(several, single)


def read_body(body: Mapping[str, Any]) -> Wanted:
    """What a JSON object asks: the same names, lists where a parameter may come several times.

    `filter` may be an object of dimension → value or values, `set` an object of knob → value.

    Raises: InvalidQuery naming everything that is neither text nor a list of texts.
    """
    several: dict[str, list[str]] = {}
    single: dict[str, str] = {}
    knobs: dict[str, str] = {}
    problems = []
    for written, value in body.items():
        name = _SPELLINGS.get(written, written)
        if value is None:
            continue
        if name == "set" and isinstance(value, Mapping):
            knobs = {str(knob): str(chosen) for knob, chosen in value.items()}
        elif name in _SEVERAL and (texts := _texts(value)) is not None:
            several[name] = texts
        elif name not in _SEVERAL and (text := _text(value)) is not None:
            single[name] = text
        else:
            wanted = "a text or a list of texts" if name in _SEVERAL else "a text"
            problems.append(Problem(written, f"must be {wanted}"))
    if problems:
        raise InvalidQuery(problems)
    return _wanted(several, single, knobs)


def read_compared(
    items: Iterable[tuple[str, str]],
) -> tuple[list[str], int, list[tuple[str, str]]]:
    """The policies to compare, how many customers to list, and the parameters of the question.

    Raises: InvalidQuery when the limit is no number.
    """
    rest = list(items)
    presets = [value for name, value in rest if name == "preset"]
    limits = [value for name, value in rest if name == "limit"] or [str(CUSTOMERS_MAX)]
    if len(limits) > 1 or not re.fullmatch(r"[0-9]{1,6}", limits[0]):
        raise InvalidQuery([Problem("limit", "must be one whole number", "Such as limit=20.")])
    others = [item for item in rest if item[0] not in {"preset", "limit"}]
    return presets, int(limits[0]), others


def _text(value: Any) -> str | None:
    """A text, or a number as one; None when it is something else."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number or isinstance(value, str) else None


def _texts(value: Any) -> list[str] | None:
    """The texts of a parameter that may have several; None when it is something else."""
    if (text := _text(value)) is not None:
        return [text]
    if isinstance(value, Mapping):
        pairs = [(name, _texts(chosen)) for name, chosen in value.items()]
        if any(texts is None for _, texts in pairs):
            return None
        return [f"{name}={text}" for name, texts in pairs for text in texts or ()]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return list(value)
    return None


def _wanted(
    several: Mapping[str, list[str]],
    single: Mapping[str, str],
    knobs: Mapping[str, str] | None = None,
) -> Wanted:
    return Wanted(
        several={name: tuple(values) for name, values in several.items()},
        once={name: value for name, value in single.items() if name in _ONCE},
        params={name: value for name, value in single.items() if name not in _ONCE},
        knobs=knobs or {},
    )


# --- as OpenAPI describes them --------------------------------------------------------------------

# Which attributes there are changes with the books: see /api/attributes.
_ATTRIBUTE: Final = {"type": "string", "pattern": "^attribute\\."}


def described(questions: Iterable[QuestionInfo]) -> list[dict[str, Any]]:
    """The parameters of one question, or of any of several, for the OpenAPI document."""
    asked = list(questions)
    own = {param.name: param for question in asked for param in question.params}
    dimensions = list(dict.fromkeys(d.name for question in asked for d in question.dimensions))
    alone = len(asked) == 1
    return [
        *(_own(param, required=alone and param.required) for param in own.values()),
        _parameter(
            "dimensions",
            "Dimensions to group by, separated by commas or repeated.",
            {"type": "array", "items": {"anyOf": [{"enum": dimensions}, _ATTRIBUTE]}},
            explode=False,
        ),
        _parameter(
            "filter",
            "`dimension=value`, `dimension!=value` or `dimension~=text`; repeatable.",
            {"type": "array", "items": {"type": "string"}},
        ),
        _parameter("segment", "Name of a saved segment.", {"type": "string"}),
        _parameter(
            "compare_segments",
            "Names of saved segments to show side by side.",
            {"type": "array", "items": {"type": "string"}},
            explode=False,
        ),
        _parameter(
            "compare_to",
            "Shows the figures of another range beside: `previous`, `year_ago` or `DAY..DAY`.",
            {"type": "string"},
        ),
        _parameter(
            "preset",
            "Policy preset; without it the configured policy.",
            {"type": "string", "enum": list(PRESETS)},
        ),
        _parameter(
            "set",
            "`knob=value`: turns one knob of the policy; repeatable.",
            {"type": "array", "items": {"type": "string"}},
        ),
        _parameter(
            "known_at",
            "As it was known at this instant.",
            {"type": "string", "format": "date-time"},
        ),
        *(_PAGE if any(question.lists for question in asked) else ()),
    ]


CUSTOMER: Final[Mapping[str, Any]] = {
    "name": "customer",
    "in": "query",
    "description": "Only this customer's part of the answer.",
    "schema": {"type": "string"},
}
"""The one parameter that only explanations have."""


def compared(parameters: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The parameters of a question as a comparison takes them."""
    others = {"preset", "limit", "after"}
    return [
        *(dict(each) for each in parameters if each["name"] not in others),
        _parameter(
            "preset",
            "A policy to compare: a preset, `preset;knob=value`, or `configured`; repeatable. The "
            "first is the baseline, or the configured policy when there is only one.",
            {"type": "array", "items": {"type": "string"}},
            required=True,
        ),
        _parameter(
            "limit",
            f"How many of the customers that differ are listed. Default: {CUSTOMERS_MAX}.",
            {"type": "integer", "minimum": 0},
        ),
    ]


def restated(parameters: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The parameters of a question as a restatement takes them."""
    others = {"known_at", "limit", "after"}
    return [
        *(dict(each) for each in parameters if each["name"] not in others),
        _parameter(
            "known_at",
            "The two knowledge dates; one alone is compared with now.",
            {"type": "array", "items": {"type": "string", "format": "date-time"}},
            required=True,
        ),
    ]


def body_described(parameters: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON body that takes the same parameters, for the OpenAPI document."""
    properties = {
        each["name"]: {**each["schema"], "description": each["description"]} for each in parameters
    }
    turned = {"type": "object", "additionalProperties": {"type": "string"}}
    properties["set"] = {**turned, "description": "Knob → value."}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"content": {"application/json": {"schema": schema}}}


def _own(param: Param, *, required: bool) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if param.kind == "day":
        schema["format"] = "date"
    if param.kind == "number":
        schema = {"type": "integer", "minimum": 0}
    if param.choices:
        schema["enum"] = list(param.choices)
    default = f" Default: {param.default_text}." if param.default_text else ""
    sentence = param.doc[:1].upper() + param.doc[1:]
    return _parameter(param.name, f"{sentence}{default}", schema, required=required)


def _parameter(
    name: str, description: str, schema: Mapping[str, Any], **how: Any
) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, **how}


_PAGE: Final = [
    _parameter(
        "limit",
        f"How many rows of a list, or `{ALL}`. Default: {ROWS_MAX}.",
        {"anyOf": [{"type": "integer", "minimum": 1}, {"enum": [ALL]}]},
    ),
    _parameter(
        "after",
        "Where in a list to go on: the `next` of the page before.",
        {"type": "string"},
    ),
]
"""The parameters of questions that list rows."""

TIMELINE: Final = [
    _parameter(
        "preset",
        "A policy: a preset, `preset;knob=value`, or `configured`; repeatable, for side by side.",
        {"type": "array", "items": {"type": "string"}},
    ),
    _parameter(
        "set",
        "`knob=value`: turns one knob of all of them; repeatable.",
        {"type": "array", "items": {"type": "string"}},
    ),
    _parameter(
        "known_at",
        "As it was known at this instant.",
        {"type": "string", "format": "date-time"},
    ),
]
"""The parameters of a timeline."""
