"""The engine: asks a question, of one snapshot, under one policy, and tells what to know of it.

Everything above (command line, HTTP, notebooks) calls this. The clock is read here and nowhere
below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, Final

from tidemill.database import Database
from tidemill.engine.answering import Asked, Asker, asking, require_honoured
from tidemill.engine.beside import answer_beside, earlier_of
from tidemill.engine.checking import Checker, Under, refuse_parts, refuse_range, whole
from tidemill.engine.compare import CUSTOMERS_MAX, compare
from tidemill.engine.comparison import Comparison
from tidemill.engine.diff import restatement
from tidemill.engine.explanation import Explanation
from tidemill.engine.handle import MetricHandle
from tidemill.engine.providing import CORE, Provider
from tidemill.engine.restatement import Restatement
from tidemill.engine.summary import Asking, Summary, summarise
from tidemill.engine.timeline import Timeline
from tidemill.engine.tracing import trace
from tidemill.errors import InvalidQuery, UnknownCustomer
from tidemill.metrics import METRICS
from tidemill.metrics.binding import bind
from tidemill.metrics.catalogue import Catalogue, catalogue
from tidemill.metrics.headlines import Headlines
from tidemill.metrics.paging import ROWS_MAX
from tidemill.metrics.result import Freshness, Result
from tidemill.metrics.spec import Filter, QuerySpec
from tidemill.money import currency_code
from tidemill.periods import parse_instant
from tidemill.policy import Policy
from tidemill.problems import Problem

__all__ = ["MetricsEngine"]

# Knowledge dates of a restatement.
_BOTH: Final = 2


class MetricsEngine:
    """Answers the catalogue's questions from a database.

    Args of the constructor:
        database: an open database; the engine only reads, and does not close it.
        base_currency: the currency that money is given in.
        policy: the configured policy; its `tz` is the reporting time zone.
        as_of: pretend that it is this instant; by default each question looks at the clock.
        provider: what the database holds: our own tables, or those of a billing system.
    """

    def __init__(
        self,
        database: Database,
        *,
        base_currency: str,
        policy: Policy | None = None,
        as_of: datetime | None = None,
        provider: Provider = CORE,
    ) -> None:
        self.provider = provider
        self.database = database
        self.base_currency = currency_code(base_currency)
        self.policy = policy or Policy.of()
        self._as_of = None if as_of is None else parse_instant(as_of)

    # --- what can be asked ----------------------------------------------------------------------

    @cached_property
    def _catalogue(self) -> Catalogue:
        return catalogue(METRICS)

    def catalogue(self) -> Catalogue:
        """Every metric, question, parameter, column and dimension."""
        return self._catalogue

    def __getattr__(self, name: str) -> MetricHandle:
        """A metric by attribute: ``engine.mrr.series(start=…)``."""
        if name.startswith("_") or name not in self._catalogue:
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(message)
        return MetricHandle(self.query, self._catalogue[name])

    # --- asking ---------------------------------------------------------------------------------

    def query(
        self,
        metric: str,
        question: str | None = None,
        *,
        spec: QuerySpec | None = None,
        policy: Policy | None = None,
        known_at: datetime | str | None = None,
        **params: Any,
    ) -> Result:
        """The answer to a question.

        Args:
            metric: name of the metric.
            question: name of the question; the metric's default one when left out.
            spec: how to cut the answer: dimensions, filters, segments, grain; and what to compare
                it with.
            policy: another policy than the configured one.
            known_at: as it was known at this instant.
            params: the question's own parameters, days as dates or YYYY-MM-DD.

        Raises:
            UnknownMetric, UnknownQuestion: there is no such thing.
            InvalidQuery: parameters, dimensions or filters are wrong; all problems at once.
            KnobNotSupported: the policy asks for what this metric does not do yet.
            MissingRate: data incomplete; names every currency and day that lacks a rate.
        """
        asked = self._checker.asked(metric, question, spec, self._under(policy, known_at), params)
        to = spec.compare_to if spec else None
        if to is not None:
            earlier_of(asked, to)  # refused before the database is opened
        with self._asker(asked) as asker:
            answer = asker.answer(asked) if to is None else answer_beside(asker, asked, to)
            return self._linked(asked, answer)

    def explain(
        self,
        metric: str,
        question: str | None = None,
        *,
        spec: QuerySpec | None = None,
        customer: str | None = None,
        policy: Policy | None = None,
        known_at: datetime | str | None = None,
        **params: Any,
    ) -> Explanation:
        """The answer with its formula, policy, SQL and the movements behind it, cause by cause.

        customer: only this customer's part of the answer, by the id in the billing system. The
        other arguments, and the errors, are those of `query`.

        Raises: UnknownCustomer.
        """
        refuse_range(spec, "an explanation")
        under = self._under(policy, known_at)
        asked = self._checker.asked(metric, question, spec, under, params)
        if customer is not None:
            only = [Filter("customer", "=", each) for each in self._customers(asked, customer)]
            asked = self._checker.asked(
                metric, question, (spec or QuerySpec()).where(*only), under, params
            )
        return self._explain(asked, customer)

    def compare(
        self,
        metric: str,
        question: str | None = None,
        *,
        policies: Mapping[str, Policy],
        spec: QuerySpec | None = None,
        known_at: datetime | str | None = None,
        customers_max: int = CUSTOMERS_MAX,
        **params: Any,
    ) -> Comparison:
        """The question under several policies, and what makes the answers differ.

        Args:
            metric: name of the metric.
            question: name of the question; the metric's default one when left out.
            policies: label → policy, two or more; the first is the baseline.
            spec: how to cut the answer.
            known_at: as it was known at this instant.
            customers_max: how many of the customers that differ are listed.
            params: the question's own parameters. Days that are left out are the baseline's.

        Raises: as `query`; InvalidQuery also for a question that lists rows without figures. A
            policy that alone is refused, or lacks rates, is named in the comparison.
        """
        assert len(policies) > 1, "there is nothing to compare one policy with"
        refuse_parts(spec, "a comparison of policies")
        under = self._under(next(iter(policies.values())), known_at)
        asked = self._checker.bound(metric, question, spec, under, params)
        return compare(
            self.database,
            whole(asked),
            policies,
            base_currency=self.base_currency,
            configured=self.policy,
            customers_max=max(0, customers_max),
        )

    def diff(
        self,
        metric: str,
        question: str | None = None,
        *,
        known_at: Sequence[datetime | str],
        spec: QuerySpec | None = None,
        policy: Policy | None = None,
        **params: Any,
    ) -> Restatement:
        """What became of an answer between two knowledge dates, and because of which late events.

        known_at: the two instants; one alone is compared with now.
        The other arguments, and the errors, are those of `query`.
        """
        refuse_parts(spec, "a restatement")
        under = self._under(policy)
        self.provider.require(under.policy, under.as_of)
        between = sorted(parse_instant(each) for each in known_at)
        if len(between) == 1:
            between = sorted((*between, under.as_of))
        if len(set(between)) != _BOTH:
            hint = "Two instants, such as 2025-07-01T00:00:00Z; one alone is compared with now."
            raise InvalidQuery([Problem("known_at", "must be two instants that differ", hint)])
        asked = self._checker.asked(metric, question, spec, under, params)
        return restatement(
            self.database,
            whole(asked),
            (between[0], between[1]),
            base_currency=self.base_currency,
            configured=self.policy,
        )

    def timeline(
        self,
        customer: str,
        policies: Mapping[str, Policy] | None = None,
        *,
        known_at: datetime | str | None = None,
    ) -> Timeline:
        """A customer's states, segments and movements, under one policy or several.

        Args:
            customer: its id in the billing system, or that of another customer of its company.
            policies: label → policy; the configured one when left out.
            known_at: as it was known at this instant.

        Raises: UnknownCustomer; KnobNotSupported.
        """
        if not customer.isprintable():
            raise UnknownCustomer(customer)
        knowledge = None if known_at is None else parse_instant(known_at)
        for each in (policies or {"": self.policy}).values():
            self.provider.require(each, knowledge)
        with self.database.snapshot() as connection:
            self.provider.require_distinct(connection)
            return trace(
                connection,
                customer,
                policies or {self.policy.preset: self.policy},
                base_currency=self.base_currency,
                provider=self.provider,
                known_at=knowledge,
            )

    def summary(
        self,
        at: date | str | None = None,
        *,
        policy: Policy | None = None,
        known_at: datetime | str | None = None,
    ) -> Summary:
        """The headline numbers at the close of a day (today), and six months' waterfall."""
        under = self._under(policy, known_at)
        first = self._checker.asked("mrr", "current", None, under, {"at": at})
        together = catalogue([Headlines])["headlines"]
        with self._asker(first) as asker:

            def ask(metric: str, question: str, params: Mapping[str, Any]) -> Result:
                return asker.answer(self._checker.asked(metric, question, None, under, params))

            def shared(days: Mapping[str, date]) -> Result:
                require_honoured(together, under.policy)
                declared = together.declared(together.default_question.name)
                bound = bind(Headlines, declared, days, QuerySpec(), days["third"])
                asked = replace(first, info=together, question=declared, bound=bound)
                return asker.answer(asked)

            asking = Asking(self._catalogue, under.policy, ask, shared)
            return summarise(first.bound.params["at"], asking)

    def freshness(self) -> tuple[Freshness, ...]:
        """For every source, when its latest event happened."""
        with self._asker(self._checker.asked("mrr", None, None, self._under(), {})) as asker:
            return asker.notices.freshness

    def warnings(self) -> tuple[str, ...]:
        """What is missing from every number now: quarantined and test-mode events."""
        with self._asker(self._checker.asked("mrr", None, None, self._under(), {})) as asker:
            return asker.notices.warnings

    # --- how ------------------------------------------------------------------------------------

    def _under(self, policy: Policy | None = None, known_at: datetime | str | None = None) -> Under:
        return Under(
            policy=policy or self.policy,
            known_at=None if known_at is None else parse_instant(known_at),
            as_of=self._as_of or datetime.now(UTC),
        )

    @property
    def _checker(self) -> Checker:
        return Checker(self.database, self.provider, self._catalogue)

    def _explain(self, asked: Asked, customer: str | None = None) -> Explanation:
        with self._asker(asked) as asker:
            result = asker.answer(asked)
            behind = asker.behind(asked, rows_max=ROWS_MAX)
        return Explanation(
            title=asked.info.title,
            definition=asked.info.definition,
            result=self._linked(asked, result, customer),
            behind=behind,
            customer=customer,
        )

    def _customers(self, asked: Asked, name: str) -> list[str]:
        # The same text that a filter's value may not hold cannot name a customer either.
        with self._asker(asked) as asker:
            found = asker.customers_of(name, asked) if name.isprintable() else []
        if not found:
            raise UnknownCustomer(name)
        return found

    def _linked(self, asked: Asked, result: Result, customer: str | None = None) -> Result:
        """The result with its ways back to the engine."""
        return replace(
            result,
            _behind=lambda: self._behind(asked),
            _explain=lambda: self._explain(asked, customer),
        )

    def _behind(self, asked: Asked) -> Result:
        with self._asker(asked) as asker:
            return asker.behind(asked)

    def _asker(self, asked: Asked) -> AbstractContextManager[Asker]:
        return asking(
            self.database, asked, base_currency=self.base_currency, configured=self.policy
        )
