"""The catalogue: every metric, question, parameter, column and dimension, as data.

Command line, HTTP API, Python facade and docs are generated from it. It is read from the metrics'
own declarations, so nothing in it is written twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tidemill.errors import UnknownMetric, UnknownQuestion
from tidemill.metrics.base import Metric, Param, Question
from tidemill.metrics.columns import Column
from tidemill.metrics.cube import Dimension

__all__ = ["Catalogue", "MetricInfo", "QuestionInfo", "catalogue"]


@dataclass(frozen=True)
class QuestionInfo:
    """A question as front ends see it.

    ``columns`` come after the dimensions one groups by; money without a currency in them is in the
    base currency. ``dimensions`` are those that can group and filter this question. What ``lists``
    rows is given a page at a time.
    """

    metric: str
    name: str
    summary: str
    doc: str
    params: tuple[Param, ...]
    columns: tuple[Column, ...]
    dimensions: tuple[Dimension, ...]
    default: bool
    lists: bool = False

    def document(self) -> dict[str, Any]:
        """The question as JSON."""
        return {
            "metric": self.metric,
            "question": self.name,
            "default": self.default,
            "lists": self.lists,
            "summary": self.summary,
            "doc": self.doc,
            "params": [param.document() for param in self.params],
            "columns": [column.document() | {"doc": column.doc} for column in self.columns],
            "dimensions": [dimension.name for dimension in self.dimensions],
        }


@dataclass(frozen=True)
class MetricInfo:
    """A metric as front ends see it."""

    name: str
    title: str
    summary: str
    questions: tuple[QuestionInfo, ...]
    dimensions: tuple[Dimension, ...]
    kind: type[Metric]

    @property
    def definition(self) -> Mapping[str, str]:
        """The sections of its ``definition.md``: heading → text, "" for its beginning."""
        return self.kind.definition()

    @property
    def default_question(self) -> QuestionInfo:
        """The question that answers when none is named."""
        return next(each for each in self.questions if each.default)

    def question(self, name: str | None = None) -> QuestionInfo:
        """The question of this name (``-`` or ``_``); the default one without a name.

        Raises: UnknownQuestion, suggesting a near name.
        """
        if name is None:
            return self.default_question
        for each in self.questions:
            if each.name == _plain(name):
                return each
        raise UnknownQuestion(name, [each.name for each in self.questions])

    def question_taking(self, params: Iterable[str]) -> QuestionInfo:
        """The question that is meant when only parameters are given.

        It is the first that takes them all, the default before all others: ``start`` and ``end`` of
        ``mrr`` mean its series.
        """
        known = {param.name for each in self.questions for param in each.params}
        given = known.intersection(params)
        for each in (self.default_question, *self.questions):
            if given <= {param.name for param in each.params}:
                return each
        return self.default_question

    def declared(self, name: str) -> Question:
        """The declaration behind a question."""
        return self.kind.questions()[name]

    def document(self) -> dict[str, Any]:
        """The metric as JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "summary": self.summary,
            "formula": self.definition.get("Formula", ""),
            "source": self.definition.get("Source", ""),
            "default_question": self.default_question.name,
            "questions": [each.document() for each in self.questions],
            "dimensions": [each.document() for each in self.dimensions],
        }


class Catalogue(Mapping[str, MetricInfo]):
    """Metric name → what it is, in the order of the `METRICS` tuple."""

    def __init__(self, metrics: Iterable[MetricInfo]) -> None:
        """Hold the metrics by name."""
        self._metrics = {each.name: each for each in metrics}

    def metric(self, name: str) -> MetricInfo:
        """The metric of this name, written with ``-`` or ``_``.

        Raises: UnknownMetric, suggesting a near name.
        """
        found = self._metrics.get(_plain(name))
        if found is None:
            raise UnknownMetric(name, self._metrics)
        return found

    def __getitem__(self, name: str) -> MetricInfo:
        """The metric of exactly this name; KeyError without one."""
        return self._metrics[name]

    def __iter__(self) -> Iterator[str]:
        """The names, in order."""
        return iter(self._metrics)

    def __len__(self) -> int:
        """How many metrics there are."""
        return len(self._metrics)

    def document(self) -> dict[str, Any]:
        """The catalogue as JSON."""
        return {"metrics": [each.document() for each in self.values()]}


def catalogue(metrics: Iterable[type[Metric]]) -> Catalogue:
    """The catalogue of these metrics."""
    return Catalogue(_metric(each) for each in metrics)


def _metric(kind: type[Metric]) -> MetricInfo:
    return MetricInfo(
        name=kind.name,
        title=kind.title,
        summary=kind.summary(),
        questions=tuple(_question(kind, each) for each in kind.questions().values()),
        dimensions=kind.cube.dimensions,
        kind=kind,
    )


def _question(kind: type[Metric], asked: Question) -> QuestionInfo:
    return QuestionInfo(
        metric=kind.name,
        name=asked.name,
        summary=asked.summary,
        doc=asked.doc,
        params=asked.params,
        columns=asked.columns,
        dimensions=tuple(each for each in kind.cube.dimensions if each.kind in asked.kinds),
        default=asked.default,
        lists=asked.lists,
    )


def _plain(name: str) -> str:
    return name.replace("-", "_")
