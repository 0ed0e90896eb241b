"""The summary: the headline numbers with their changes, and how MRR moved in the last months.

All of it is asked in one snapshot. A number that cannot be had is named with its error, and the
others are shown. Numbers that stand on the same rows are made in one statement (`Headlines`);
where that fails each is asked for by itself, so that the error names the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

from tidemill.engine.comparison import Value, less
from tidemill.errors import QueryError
from tidemill.metrics.catalogue import Catalogue
from tidemill.metrics.columns import Column
from tidemill.metrics.earlier import change_rate
from tidemill.metrics.result import Result, Row, json_value, utc_text
from tidemill.periods import add_months, period_start
from tidemill.policy import Policy

__all__ = ["HEADLINES", "Asking", "Headline", "Named", "Summary", "summarise"]


@dataclass(frozen=True, slots=True)
class Named:
    """A headline: its name, where it is asked, and its column there.

    shared: its column in `Headlines`, where it is made together with others.
    """

    name: str
    metric: str
    question: str
    column: str
    shared: str | None = None


HEADLINES: Final = (
    Named("mrr", "mrr", "current", "mrr", "arpa_numerator"),
    Named("arr", "arr", "current", "arr", "arpa_numerator"),
    Named("customers", "customers", "current", "customers", "arpa_denominator"),
    Named("arpa", "arpa", "current", "arpa", "arpa"),
    Named("net_new_mrr", "mrr", "net_new", "net_new", "net_new"),
    Named("quick_ratio", "quick_ratio", "current", "quick_ratio", "quick_ratio"),
    Named("logo_churn", "churn", "logo", "logo_churn", "logo_churn"),
    Named("gross_mrr_churn", "churn", "gross_mrr", "gross_mrr_churn", "gross_mrr_churn"),
    Named("net_mrr_churn", "churn", "net_mrr", "net_mrr_churn", "net_mrr_churn"),
    Named("nrr", "retention", "nrr", "nrr", "nrr"),
    Named("grr", "retention", "grr", "grr", "grr"),
    Named("ltv", "ltv", "simple", "ltv", "ltv"),
    Named("trial_conversion", "trials", "rate", "rate"),
    Named("net_cash_flow", "cash", "net", "net", "net_cash"),
    Named("mrr_at_risk", "mrr", "at_risk", "at_risk", "at_risk"),
    Named("trial_mrr", "mrr", "trial", "trial_mrr"),
)
"""Every headline in the order of the summary; those whose question is not there are left out."""

_WATERFALL_MONTHS: Final = 6
_MONTHS_OF_ARR: Final = 12


@dataclass(frozen=True)
class Asking:
    """How a summary asks: by metric, question and parameters, in one snapshot."""

    catalogue: Catalogue
    policy: Policy
    ask: Callable[[str, str, Mapping[str, Any]], Result]
    #: Asks `Headlines` of three days in the order of time.
    shared: Callable[[Mapping[str, date]], Result]


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One number, what it was a month before, and a year before.

    ``error`` is set, and the numbers are None, when the question could not be answered. None
    without an error means undefined, and ``undefined`` says why.
    """

    name: str
    metric: str
    column: Column | None = None
    value: Value = None
    previous: Value = None
    year_ago: Value = None
    complete: bool = True
    error: QueryError | None = None

    @property
    def change(self) -> Value:
        """Value less previous value; None when one of them is undefined."""
        return less(self.value, self.previous)

    @property
    def year_change(self) -> Value:
        """Value less that of a year before; None when one of them is undefined."""
        return less(self.value, self.year_ago)

    @property
    def undefined(self) -> str:
        """Why the number has no value; empty when it has one."""
        if self.column is None or self.value is not None:
            return ""
        return self.column.undefined

    def to_dict(self) -> dict[str, Any]:
        """The headline as JSON; a change over zero has no rate."""
        unit = self.column.unit if self.column else "text"
        figures = {
            "value": self.value,
            "previous": self.previous,
            "change": self.change,
            "year_ago": self.year_ago,
            "year_change": self.year_change,
        }
        shown: dict[str, Any] = {
            "name": self.name,
            "metric": self.metric,
            "column": self.column and self.column.document(),
            **{name: json_value(value, unit) for name, value in figures.items()},
            "change_rate": json_value(change_rate(self.change, self.previous), "ratio"),
            "year_change_rate": json_value(change_rate(self.year_change, self.year_ago), "ratio"),
            "complete": self.complete,
        }
        if self.undefined:
            shown["undefined"] = self.undefined
        if self.error is not None:
            shown["error"] = {"code": self.error.code, "detail": self.error.message}
        return shown


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The headline numbers at the close of a day, and the waterfall of the months up to it."""

    at: date
    previous_at: date
    year_ago_at: date
    headlines: tuple[Headline, ...]
    waterfall: Result | None
    waterfall_error: QueryError | None
    results: tuple[Result, ...]

    @property
    def complete(self) -> bool:
        """Whether every number is whole and final."""
        failed = self.waterfall_error or any(each.error for each in self.headlines)
        return not failed and all(each.complete for each in self.results)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each warning of the numbers once, and why the undefined ones are."""
        said = [each for result in self.results for each in result.warnings]
        said += [f"{each.name} is undefined: {each.undefined}." for each in self.headlines
                 if each.undefined]  # fmt: skip
        return tuple(dict.fromkeys(said))

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON."""
        first = self.results[0] if self.results else None
        return {
            "at": self.at.isoformat(),
            "previous_at": self.previous_at.isoformat(),
            "year_ago_at": self.year_ago_at.isoformat(),
            "headlines": [each.to_dict() for each in self.headlines],
            "waterfall": self.waterfall and self.waterfall.to_dict(),
            "policy": first and first.to_dict()["policy"],
            "as_of": first and utc_text(first.as_of),
            "complete": self.complete,
            "warnings": list(self.warnings),
            "freshness": [each.document() for each in first.freshness] if first else [],
        }


def summarise(at: date, asking: Asking) -> Summary:
    """The summary of a day; a metric that fails is named, and the others are shown."""
    days = _Days(year_ago=_months_before(at, 12), previous=_months_before(at, 1), at=at)
    results: list[Result] = []
    shared = _shared(asking, days, results)
    headlines = [
        _headline(named, asking, days, shared, results)
        for named in HEADLINES
        if _is_there(asking, named)
    ]
    waterfall, failure = None, None
    start = add_months(period_start(at, "month"), 1 - _WATERFALL_MONTHS)
    try:
        waterfall = asking.ask("mrr", "waterfall", {"start": start, "end": at, "grain": "month"})
        results.append(waterfall)
    except QueryError as error:
        failure = error
    return Summary(
        at=at,
        previous_at=days.previous,
        year_ago_at=days.year_ago,
        headlines=tuple(headlines),
        waterfall=waterfall,
        waterfall_error=failure,
        results=tuple(results),
    )


@dataclass(frozen=True)
class _Days:
    year_ago: date
    previous: date
    at: date


@dataclass(frozen=True)
class _Shared:
    """The answers of `Headlines`, of three days in the order of time."""

    rows: tuple[Row, ...] = ()
    columns: Mapping[str, Column] = field(default_factory=dict)
    complete: bool = True


def _is_there(asking: Asking, named: Named) -> bool:
    # The MRR of trials is a line of its own where the policy says so.
    if named.name == "trial_mrr" and asking.policy.trials_in_mrr != "shadow":
        return False
    info = asking.catalogue.get(named.metric)
    questions = {each.name: each for each in info.questions} if info else {}
    asked = questions.get(named.question)
    return asked is not None and named.column in {each.name for each in asked.columns}


def _shared(asking: Asking, days: _Days, results: list[Result]) -> _Shared:
    """What can be made in one statement; nothing when that fails for any of it."""
    wanted = {"first": days.year_ago, "second": days.previous, "third": days.at}
    try:
        found = asking.shared(wanted)
    except QueryError:
        return _Shared()
    results.append(found)
    return _Shared(found.rows, {each.name: each for each in found.columns}, found.complete)


def _headline(
    named: Named, asking: Asking, days: _Days, shared: _Shared, results: list[Result]
) -> Headline:
    if named.shared is not None and shared.rows and _is_shared(named, asking.policy):
        return _of_shared(named, asking, shared)
    try:
        found = [_asked(named, asking, day) for day in (days.at, days.previous, days.year_ago)]
    except QueryError as error:
        return Headline(name=named.name, metric=named.metric, error=error)
    results.append(found[0])
    column = next(each for each in found[0].columns if each.name == named.column)
    now, before, year_ago = (each.rows[0][named.column] if each.rows else None for each in found)
    return Headline(
        name=named.name,
        metric=named.metric,
        column=column,
        value=now,
        previous=before,
        year_ago=year_ago,
        complete=found[0].complete,
    )


def _is_shared(named: Named, policy: Policy) -> bool:
    """Whether the number is what `Headlines` tells: ARR of another basis is not.

    Nor is the flow of a month where rates look at other windows than months, nor what costs or
    other months bear on, nor what is at risk where it is no part of MRR.
    """
    match named.name:
        case "arr":
            return policy.arr_basis == "mrr_x12"
        case "net_new_mrr" | "net_cash_flow":
            return policy.window == "calendar"
        case "ltv":
            return policy.ltv_churn == "current" and policy.ltv_numerator == "arpa"
        case "mrr_at_risk":
            return policy.past_due == "active"
        case _:
            return True


def _of_shared(named: Named, asking: Asking, shared: _Shared) -> Headline:
    times = _MONTHS_OF_ARR if named.name == "arr" else 1
    year_ago, before, now = (row[str(named.shared)] for row in shared.rows)
    column = shared.columns[str(named.shared)]
    declared = asking.catalogue[named.metric].question(named.question).columns
    own = next(each for each in declared if each.name == named.column)
    return Headline(
        name=named.name,
        metric=named.metric,
        column=own if own.unit != "money" else own.in_base(str(column.currency)),
        value=_times(now, times),
        previous=_times(before, times),
        year_ago=_times(year_ago, times),
        complete=shared.complete,
    )


def _asked(named: Named, asking: Asking, day: date) -> Result:
    """The number of a day, or of the month up to it."""
    params = {each.name for each in asking.catalogue[named.metric].question(named.question).params}
    wanted = {"at": day, "start": period_start(day, "month"), "end": day, "until": day}
    given: dict[str, Any] = {name: value for name, value in wanted.items() if name in params}
    if named.question == "net_new":
        given["grain"] = "month"
    return asking.ask(named.metric, named.question, given)


def _times(value: Value, times: int) -> Value:
    return value if value is None or times == 1 else value * times


def _months_before(at: date, months: int) -> date:
    """The same day some months earlier; from a month's last day, the last day of that month."""
    if (at + timedelta(days=1)).day == 1:
        return add_months(at + timedelta(days=1), -months) - timedelta(days=1)
    return add_months(at, -months)
