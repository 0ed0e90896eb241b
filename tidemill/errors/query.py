"""Errors of questions: what was asked cannot be answered as it was asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from tidemill.errors.root import ManyProblems, TidemillError, Transient, UnknownName
from tidemill.problems import Issue, did_you_mean

__all__ = [
    "CostDataMissing",
    "InvalidDay",
    "InvalidInstant",
    "InvalidPolicy",
    "InvalidQuery",
    "InvalidRange",
    "InvalidSegment",
    "InvalidSource",
    "KnobNotSupported",
    "MissingRate",
    "NoChart",
    "NotOneValue",
    "QueryError",
    "StatementTimedOut",
    "UnknownAttribute",
    "UnknownCommand",
    "UnknownCurrency",
    "UnknownCustomer",
    "UnknownDimension",
    "UnknownKnob",
    "UnknownMeasure",
    "UnknownMetric",
    "UnknownPolicy",
    "UnknownQuarantined",
    "UnknownQuestion",
    "UnknownSegment",
    "UnknownSource",
    "UnknownTimeZone",
]


class QueryError(TidemillError):
    """The question cannot be answered as it was asked."""

    code = "query_error"


class InvalidQuery(ManyProblems, QueryError):
    """The question has one or more problems; all of them are listed."""

    code = "invalid_query"
    subject = "The question"

    @property
    def issues(self) -> tuple[Issue, ...]:
        """Every problem of the question."""
        return self.problems


class UnknownMetric(UnknownName, QueryError):
    """No registered metric has this name."""

    code = "unknown_metric"
    kind = "metric"
    otherwise = "See `tidemill metrics`."


class UnknownQuestion(UnknownName, QueryError):
    """The metric has no question of this name."""

    code = "unknown_question"
    kind = "question"


class UnknownMeasure(UnknownName, QueryError):
    """The cube has no measure of this name."""

    code = "unknown_measure"
    kind = "measure"


class UnknownDimension(UnknownName, QueryError):
    """The cube has no dimension of this name."""

    code = "unknown_dimension"
    kind = "dimension"


class UnknownAttribute(UnknownName, QueryError):
    """No customer has ever had an attribute of this name."""

    code = "unknown_attribute"
    kind = "attribute"
    otherwise = "See `tidemill attributes`."


class UnknownSegment(UnknownName, QueryError):
    """No saved segment has this name."""

    code = "unknown_segment"
    kind = "segment"
    otherwise = "See `tidemill segments`."


class InvalidSegment(ManyProblems, QueryError):
    """The definition of a segment has one or more problems; all of them are listed."""

    code = "invalid_segment"
    subject = "The segment"


class UnknownCommand(UnknownName, QueryError):
    """The command line has no command of this name."""

    code = "unknown_command"
    kind = "command"
    otherwise = "See `tidemill --help`."


class InvalidSource(ManyProblems, QueryError):
    """A source cannot be connected as asked; all problems are listed."""

    code = "invalid_source"
    subject = "The source"


class UnknownSource(UnknownName, QueryError):
    """No connected source has this name."""

    code = "unknown_source"
    kind = "source"
    otherwise = "See `tidemill sources`."


class UnknownCustomer(UnknownName, QueryError):
    """No connected source knows a customer of this id."""

    code = "unknown_customer"
    kind = "customer"
    otherwise = "See `tidemill mrr --by customer`; ids are those of the billing system."


class UnknownQuarantined(QueryError):
    """Nothing in the quarantine has this number."""

    code = "unknown_quarantined"

    def __init__(self, ids: Sequence[int]) -> None:
        """Name the numbers that are not there."""
        numbers = ", ".join(map(str, ids))
        super().__init__(
            f"Nothing in the quarantine has the number {numbers}.",
            hint="See `tidemill quarantine list`.",
            ids=list(ids),
        )


class InvalidPolicy(ManyProblems, QueryError):
    """A policy has one or more unknown names or impossible values; all of them are listed."""

    code = "invalid_policy"
    subject = "The policy"


class UnknownPolicy(UnknownName, QueryError):
    """No preset has this name."""

    code = "unknown_policy"
    kind = "policy preset"
    otherwise = "See `tidemill policies`."


class UnknownKnob(UnknownName, QueryError):
    """Policies have no knob of this name."""

    code = "unknown_knob"
    kind = "policy knob"
    otherwise = "See `tidemill policies default`."


class KnobNotSupported(QueryError):
    """The knob's value is legal, but what was asked does not honour it yet."""

    code = "knob_not_supported"

    def __init__(self, knob: str, value: str, supported: Iterable[str] = ()) -> None:
        """Name the knob, the value refused and the values that do work."""
        works = [str(each) for each in supported]
        hint = f"Supported so far: {', '.join(works)}." if works else ""
        super().__init__(
            f"The policy knob {knob!r} is not supported at {value!r} yet.",
            hint=hint,
            knob=knob,
            value=value,
            supported=works,
        )


class InvalidDay(QueryError):
    """A text that should be a calendar day is not one."""

    code = "invalid_day"

    def __init__(self, text: object) -> None:
        """Show what was given."""
        super().__init__(
            f"{text!r} is not a calendar day.", hint="Write days as YYYY-MM-DD.", text=str(text)
        )


class InvalidInstant(QueryError):
    """A text that should be an instant is not one, or has no offset."""

    code = "invalid_instant"

    def __init__(self, text: object) -> None:
        """Show what was given."""
        super().__init__(
            f"{text!r} is not an instant.",
            hint="Write instants with their offset, such as 2025-06-30T12:00:00Z.",
            text=str(text),
        )


class InvalidRange(QueryError):
    """A range of days ends before it starts."""

    code = "invalid_range"

    def __init__(self, start: date, end: date) -> None:
        """Show both ends."""
        super().__init__(
            f"The range ends on {end}, before it starts on {start}.",
            hint="Both ends are included; for a single day give it twice.",
            start=start.isoformat(),
            end=end.isoformat(),
        )


class UnknownTimeZone(UnknownName, QueryError):
    """No IANA time zone has this name."""

    code = "unknown_time_zone"
    kind = "time zone"
    otherwise = "Use an IANA name such as Europe/Prague."


class UnknownCurrency(QueryError):
    """The code is not an ISO 4217 currency with a minor unit."""

    code = "unknown_currency"

    def __init__(self, currency: object, known: Iterable[str] = ()) -> None:
        """Show the code and a near one."""
        fallback = "Use a three-letter ISO 4217 code such as USD."
        super().__init__(
            f"{currency!r} is not a currency.",
            hint=did_you_mean(str(currency), known, otherwise=fallback),
            currency=str(currency),
        )


class StatementTimedOut(QueryError, Transient):
    """A statement ran longer than the time limit of this connection and was ended."""

    code = "statement_timed_out"

    def __init__(self) -> None:
        """Say what happened; the SQL is in the log of the caller, not here."""
        super().__init__(
            "The database was not done within the time limit.",
            hint="Ask for a shorter range or fewer dimensions, or raise the limit.",
        )


class MissingRate(QueryError):
    """There is no exchange rate for a currency on a day the question needs."""

    code = "missing_rate"

    def __init__(
        self,
        currency: str,
        day: date,
        base: str = "the base currency",
        others: Sequence[tuple[str, date]] = (),
    ) -> None:
        """Name the currency and the first day without a rate, and all other such pairs."""
        pairs = [(currency, day), *others]
        days = {code: [str(when) for each, when in pairs if each == code] for code, _ in pairs}
        named = "; ".join(f"from {code} for {_first_few(each)}" for code, each in days.items())
        hint = "Load rates with `tidemill fx load FILE`; `tidemill fx show` lists what is there."
        if len(days) == 1:
            # Who has never had another currency wants no rates.
            hint += f" Or count in {currency}: set TIDEMILL_BASE_CURRENCY={currency}."
        super().__init__(
            f"No exchange rate to {base} is known {named}.",
            hint=hint,
            currency=currency,
            day=day.isoformat(),
            base=base,
            missing=[{"currency": code, "day": str(when)} for code, when in pairs],
        )
        self.currency = currency
        self.day = day


def _first_few(days: Sequence[str], few: int = 5) -> str:
    return ", ".join(days[:few]) + (f" and {len(days) - few} more" if len(days) > few else "")


class CostDataMissing(QueryError):
    """A figure rests on costs, and none are known for the days asked."""

    code = "cost_data_missing"

    def __init__(self, costs: str, start: date, end: date) -> None:
        """Name the costs and the days; both ends are included."""
        super().__init__(
            f"No {costs} are known from {start} to {end}.",
            hint="Take costs in with `tidemill import csv expenses FILE --source NAME`.",
            start=start.isoformat(),
            end=end.isoformat(),
        )


class NoChart(QueryError):
    """No chart shows an answer of this shape."""

    code = "no_chart"

    def __init__(self, problem: str) -> None:
        """Say what the answer is instead."""
        hint = "Show the table (`.to_pandas()`), or ask for fewer groups or another question."
        super().__init__(problem, hint=hint)


class NotOneValue(QueryError):
    """One number was asked of an answer that has several, or none of that kind."""

    code = "not_one_value"

    def __init__(self, problem: str) -> None:
        """Say what the answer is instead."""
        super().__init__(problem, hint="Use `.rows`, or `.to_pandas()`.")
