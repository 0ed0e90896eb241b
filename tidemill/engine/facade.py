"""Tidemill in one object: what notebooks, the command line and the API start from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from tidemill import database
from tidemill.engine.compare import CUSTOMERS_MAX
from tidemill.engine.comparison import Comparison
from tidemill.engine.core import MetricsEngine
from tidemill.engine.explanation import Explanation
from tidemill.engine.handle import MetricHandle
from tidemill.engine.opening import open_engine
from tidemill.engine.restatement import Restatement
from tidemill.engine.segments import Segments
from tidemill.engine.summary import Summary
from tidemill.engine.timeline import Timeline
from tidemill.errors import InvalidQuery
from tidemill.metrics.catalogue import Catalogue
from tidemill.metrics.result import Freshness, Result
from tidemill.metrics.spec import Paging, QuerySpec, Where
from tidemill.policy import Policy, read_overrides
from tidemill.problems import Problem

if TYPE_CHECKING:
    from tidemill.companies import Suggestion
    from tidemill.engine.attributes import Attributes
    from tidemill.settings import Settings

__all__ = ["Tidemill", "choose_policy", "compared_policies", "connect"]


# How a comparison names the policy that is configured, and how many policies it needs.
_CONFIGURED: Final = "configured"
_FEWEST: Final = 2


class Tidemill:
    """An open store and its engine. Close it, or use it in a ``with`` block.

    Every metric is an attribute and every question a method of it. Beside the question's own
    parameters they take ``by`` (dimensions to group by), ``where`` (filters: a mapping, or texts
    such as ``"plan=pro"``), ``segment`` and ``compare_segments`` (saved segments), ``compare_to``
    (an earlier range beside), ``preset`` and ``set`` (another policy), ``known_at``, ``spec``::

        t.mrr.current(at="2025-06-30").money
        t.mrr.waterfall(start="2025-01-01", end="2025-06-30", by=["plan"])
    """

    def __init__(self, store: database.Database, engine: MetricsEngine) -> None:
        """Take an open database; `close` closes it."""
        self.database = store
        self.engine = engine

    def __getattr__(self, name: str) -> MetricHandle:
        """A metric by attribute."""
        if name.startswith("_") or name not in self.engine.catalogue():
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(message)
        return MetricHandle(self.query, self.engine.catalogue()[name])

    def __dir__(self) -> list[str]:
        """The metrics too, for completion in notebooks."""
        return [*super().__dir__(), *self.engine.catalogue()]

    def query(self, metric: str, question: str | None = None, **arguments: Any) -> Result:
        """The answer to a question; the arguments are those of the class and of the question.

        Raises: as `MetricsEngine.query`.
        """
        return self.engine.query(metric, question, **self._engine_arguments(arguments))

    def explain(
        self,
        metric: str,
        question: str | None = None,
        *,
        customer: str | None = None,
        **arguments: Any,
    ) -> Explanation:
        """The answer with its formula, policy, SQL and the movements behind it.

        Raises: as `MetricsEngine.query`.
        """
        engine_arguments = self._engine_arguments(arguments)
        return self.engine.explain(metric, question, customer=customer, **engine_arguments)

    def compare(
        self,
        metric: str,
        question: str | None = None,
        *,
        presets: Sequence[str],
        set: Mapping[str, object] | None = None,
        limit: int = CUSTOMERS_MAX,
        **arguments: Any,
    ) -> Comparison:
        """The question under several policies, and which knobs and customers make the difference.

        presets: the policies as `compared_policies` reads them; the first is the baseline.
        set:     knobs turned in all of them.
        limit:   how many of the customers that differ are listed.

        The other arguments are those of `query`, and so are the errors.
        """
        policies = compared_policies(self.engine.policy, presets, set)
        engine_arguments = self._engine_arguments(arguments | {"policy": self.engine.policy})
        del engine_arguments["policy"]
        return self.engine.compare(
            metric, question, policies=policies, customers_max=limit, **engine_arguments
        )

    def diff(
        self,
        metric: str,
        question: str | None = None,
        *,
        known_at: Sequence[datetime | str],
        **arguments: Any,
    ) -> Restatement:
        """What became of an answer between two knowledge dates, and because of which late events.

        known_at: the two instants; one alone is compared with now.
        The other arguments, and the errors, are those of `query`.
        """
        engine_arguments = self._engine_arguments(arguments)
        return self.engine.diff(metric, question, known_at=known_at, **engine_arguments)

    def timeline(
        self,
        customer: str,
        *,
        presets: Sequence[str] = (),
        set: Mapping[str, object] | None = None,
        known_at: datetime | str | None = None,
    ) -> Timeline:
        """A customer's states, what each policy makes of them and why, and its movements.

        presets: the policies as `compared_policies` reads them; the configured one without any.
        set:     knobs turned in all of them.

        Raises: as `MetricsEngine.timeline`.
        """
        policies = _labelled(self.engine.policy, presets or (_CONFIGURED,), set)
        return self.engine.timeline(customer, policies, known_at=known_at)

    def summary(
        self,
        at: date | str | None = None,
        *,
        preset: str | None = None,
        set: Mapping[str, object] | None = None,
        known_at: datetime | str | None = None,
    ) -> Summary:
        """The headline numbers at the close of a day, each with its change in a month."""
        policy = choose_policy(self.engine.policy, preset, set)
        return self.engine.summary(at, policy=policy, known_at=known_at)

    def merge_suggestions(self) -> tuple[Suggestion, ...]:
        """Customers of different sources that may be one company, by their e-mails."""
        self.engine.provider.require_own("Merging customers")
        from tidemill.companies import suggestions

        with self.database.snapshot() as connection:
            return suggestions(connection)

    def merge_customers(self, merged: str, into: str) -> bool:
        """Make two customers one company, in all of their history; whether they were not before.

        Both are written ``source:id``, such as ``"stripe:cus_1"``.

        Raises: InvalidQuery, UnknownSource, UnknownCustomer; MergeRefused when `merged` belongs to
                another company already.
        """
        from tidemill.engine.writing import merge_customers

        return merge_customers(self.database, self.engine, merged, into)

    def unmerge_customer(self, merged: str) -> bool:
        """Take the merge of a customer into another back; whether there was one.

        Raises: InvalidQuery, UnknownSource, UnknownCustomer.
        """
        from tidemill.engine.writing import unmerge_customer

        return unmerge_customer(self.database, self.engine, merged)

    @property
    def attributes(self) -> Attributes:
        """What the business knows of its customers: list, values, set, pin."""
        self.engine.provider.require_own("Attributes of customers")
        from tidemill.engine.writing import attributes_of

        return attributes_of(self.database, self.engine)

    @property
    def segments(self) -> Segments:
        """Saved conditions on customers: list, save, delete."""
        return Segments(self.database)

    def catalogue(self) -> Catalogue:
        """Every metric, question, parameter, column and dimension."""
        return self.engine.catalogue()

    def freshness(self) -> tuple[Freshness, ...]:
        """For every source, when its latest event happened."""
        return self.engine.freshness()

    def close(self) -> None:
        """Close all connections; the embedded server stops when nobody else uses it."""
        self.database.close()

    def __enter__(self) -> Self:
        """Nothing more to open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _engine_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        rest = dict(arguments)
        by: Iterable[str] = rest.pop("by", ())
        where: Where = rest.pop("where", ())
        spec: QuerySpec = rest.pop("spec", None) or QuerySpec()
        added = QuerySpec(by, where)
        spec = QuerySpec(
            (*spec.dimensions, *added.dimensions),
            (*spec.filters, *added.filters),
            segment=rest.pop("segment", None) or spec.segment,
            compare=(*spec.compare, *_listed(rest.pop("compare_segments", ()))),
            grain=spec.grain,
            compare_to=rest.pop("compare_to", None) or spec.compare_to,
        ).paged(
            Paging(
                _given(rest.pop("limit", None), spec.page.limit),
                _given(rest.pop("after", None), spec.page.after),
            )
        )
        policy = rest.pop("policy", None) or choose_policy(
            self.engine.policy, rest.pop("preset", None), rest.pop("set", None)
        )
        return {**rest, "spec": spec, "policy": policy}


def _given(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _listed(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def choose_policy(
    configured: Policy, preset: str | None = None, overrides: Mapping[str, object] | None = None
) -> Policy:
    """The policy of one question: a preset, or the configured one, with some knobs turned.

    A preset keeps the configured time zone: it says how a product defines metrics, not where the
    business is.

    Raises: UnknownPolicy, UnknownKnob or InvalidPolicy.
    """
    if preset is None:
        return configured.turned(overrides) if overrides else configured
    return Policy.of(preset, {"tz": configured.tz} | dict(overrides or {}))


def compared_policies(
    configured: Policy,
    presets: Sequence[str],
    overrides: Mapping[str, object] | None = None,
) -> dict[str, Policy]:
    """Label → policy, from texts such as ``chartmogul`` and ``chartmogul;netting=day``.

    ``configured`` stands for the configured policy, and is the baseline when one other is named
    alone. All keep the configured time zone unless told otherwise. The overrides hold for each of
    them; what a text sets for itself holds first.

    Raises: InvalidQuery without a policy, or with one twice; as `choose_policy`.
    """
    named = [each.strip() for each in presets]
    if len(named) == 1 and named != [_CONFIGURED]:
        named.insert(0, _CONFIGURED)
    if len(named) < _FEWEST:
        hint = "Name a preset, such as chartmogul, or preset;knob=value: see `tidemill policies`."
        raise InvalidQuery([Problem("preset", "names no policy to compare with", hint)])
    return _labelled(configured, named, overrides)


def _labelled(
    configured: Policy, presets: Sequence[str], overrides: Mapping[str, object] | None
) -> dict[str, Policy]:
    """Label → policy, as `compared_policies` reads them, however many there are."""
    named = [each.strip() for each in presets]
    twice = [label for label, times in Counter(named).items() if times > 1]
    if twice:
        raise InvalidQuery(
            [Problem("preset", f"{each!r} is given more than once") for each in twice]
        )
    policies = {}
    for label in named:
        preset, *own = label.split(";")
        turned = dict(overrides or {}) | read_overrides(own)
        name = preset.strip()
        policies[label] = choose_policy(configured, None if name == _CONFIGURED else name, turned)
    return policies


def connect(url: str | None = None, **settings: Any) -> Tidemill:
    """Open Tidemill: on the embedded database, or on the PostgreSQL server at `url`.

    Everything not passed comes from the environment and ``.tidemill.toml``.

    Args:
        url: ``postgresql://user:password@host:5432/name``.
        settings: any setting by name: ``data_dir``, ``base_currency``, ``timezone``, ``policy``,
            ``policy_set``; and ``as_of``, an instant to take for now.

    Raises:
        InvalidSettings: with every problem found.
        DatabaseUnreachable, SchemaTooOld, SchemaTooNew: see `database.connect`.
    """
    from tidemill.settings import load_settings

    as_of = settings.pop("as_of", None)
    given = load_settings(**({"database_url": url} if url else {}), **settings)
    return _open(given, as_of)


def _open(settings: Settings, as_of: datetime | None) -> Tidemill:
    return Tidemill(*open_engine(settings, as_of=as_of))
