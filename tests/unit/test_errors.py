"""Errors say what is wrong and what to do, keep their parts apart, and survive pickling."""

from __future__ import annotations

import inspect
import pickle
from datetime import date

import pytest

from tidemill import errors
from tidemill.errors import (
    InvalidEvent,
    InvalidPolicy,
    InvalidQuery,
    KnobNotSupported,
    MissingExtra,
    MissingRate,
    Permanent,
    Problem,
    QueryError,
    SchemaTooOld,
    TidemillError,
    Transient,
    UnknownCurrency,
    UnknownMetric,
    did_you_mean,
)

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, TidemillError)
]


def test_an_unknown_name_gets_the_nearest_known_one() -> None:
    error = UnknownMetric("mmr", ["mrr", "arr", "churn"])
    assert error.code == "unknown_metric"
    assert error.message == "No metric is named 'mmr'."
    assert error.hint == "Did you mean 'mrr'?"
    assert str(error) == "No metric is named 'mmr'. Did you mean 'mrr'?"
    assert error.context == {"name": "mmr"}
    assert isinstance(error, QueryError)


def test_without_a_near_name_the_hint_says_where_to_look() -> None:
    assert UnknownMetric("zzzzzz", ["mrr"]).hint == "See `tidemill metrics`."
    assert errors.UnknownDimension("zzzzzz", ["plan", "country"]).hint == "Known: country, plan."
    assert errors.UnknownDimension("zzzzzz").hint == ""


@pytest.mark.parametrize("given", ["Waterfall", "WATERFALL", "water-fall", "waterfal", "wterfall"])
def test_case_and_dashes_do_not_hide_a_near_name(given: str) -> None:
    assert did_you_mean(given, ["waterfall", "series"]) == "Did you mean 'waterfall'?"


def test_of_equally_near_names_the_same_one_is_always_chosen() -> None:
    answers = {did_you_mean("mrx", known) for known in (["mry", "mrz"], ["mrz", "mry"])}
    assert len(answers) == 1


def test_all_problems_are_in_the_message() -> None:
    problems = [Problem("a.b", "is missing"), Problem("", "is too large", "Make it smaller.")]
    error = InvalidEvent(problems)
    assert error.problems == tuple(problems)
    assert "2 problems" in str(error)
    assert "a.b: is missing." in str(error)
    assert "is too large. Make it smaller." in str(error)
    assert InvalidQuery(problems).issues == tuple(problems)
    assert str(InvalidPolicy(problems[:1])) == "The policy is not valid: a.b: is missing."


def test_an_error_about_problems_needs_one() -> None:
    with pytest.raises(AssertionError):
        InvalidEvent([])


def test_a_problem_is_a_json_object() -> None:
    problem = Problem("a", "is missing", "Add it.")
    assert problem.document() == {"path": "a", "problem": "is missing", "hint": "Add it."}


@pytest.mark.parametrize(
    "error",
    [
        UnknownMetric("mmr", ["mrr"]),
        InvalidEvent([Problem("a", "is missing")]),
        MissingRate("EUR", date(2025, 1, 1)),
        KnobNotSupported("fx", "constant", ["period_end"]),
        SchemaTooOld(None, "0001"),
    ],
)
def test_errors_travel_between_processes(error: TidemillError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_remedies_are_exact() -> None:
    assert MissingExtra("kafka").hint == "Run: pip install 'tidemill[kafka]'"
    assert SchemaTooOld("0001", "0002").hint == "Run `tidemill migrate`."
    assert UnknownCurrency("usx", ["USD", "EUR"]).hint == "Did you mean 'USD'?"
    assert (
        KnobNotSupported("fx", "constant", ["period_end"]).hint == "Supported so far: period_end."
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_code_and_a_sentence(kind: type[TidemillError]) -> None:
    own = kind.__dict__.get("code")
    assert own, f"{kind.__name__} has no code of its own"
    first = (kind.__doc__ or "").splitlines()[0]
    assert first.endswith("."), first


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_transient_and_permanent(kind: type[TidemillError]) -> None:
    assert not issubclass(kind, Transient) or not issubclass(kind, Permanent)
