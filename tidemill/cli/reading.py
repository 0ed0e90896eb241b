"""Commands of metrics, made from the catalogue: `tidemill METRIC [QUESTION] …` and `explain`.

A question's parameters become options; beside them every question takes the same options for
cutting the answer, for the policy and for the output. Nothing is checked here but how options are
written: the engine names every problem at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Final

import typer

from tidemill.cli.explaining import show_explanation
from tidemill.cli.generating import Handler, Option, command_of, dashed, option, plain
from tidemill.cli.options import (
    COMPARE_TO,
    CUTTING,
    EXACT,
    FORMAT,
    PAGE,
    POLICY,
    SQL,
    TABLE_OR_JSON,
)
from tidemill.cli.output import say, show
from tidemill.cli.session import session_of
from tidemill.cli.timelines import timeline_command
from tidemill.errors import UnknownQuestion, UnknownSource
from tidemill.metrics import METRICS
from tidemill.metrics.base import Param
from tidemill.metrics.catalogue import Catalogue, MetricInfo, QuestionInfo, catalogue
from tidemill.metrics.result import Freshness
from tidemill.policy import read_overrides

__all__ = [
    "Resolved",
    "engine_arguments",
    "metric_names",
    "require_source",
    "resolve",
    "resolve_about",
    "resolve_explain",
]

Resolved = tuple[str, Any, list[str]]
"""Name for the usage line, the command, and the arguments that are left for it."""

# Parameters whose option has another name than they have in Python and over HTTP.
_FLAGS: Final[Mapping[str, tuple[str, ...]]] = {"grain": ("--interval", "--grain")}
_WITHOUT_VALUE: Final = frozenset({"--sql", "--exact", "--help"})
_CUSTOMER: Final = option(
    "customer", "--customer", metavar="ID", help="Only this customer's part of the answer."
)


# --- which question -------------------------------------------------------------------------------


@cache
def _catalogue() -> Catalogue:
    return catalogue(METRICS)


def metric_names() -> list[str]:
    """The metrics as their commands are called."""
    return [dashed(name) for name in _catalogue()]


def resolve(name: str, arguments: Sequence[str]) -> Resolved:
    """The command for `tidemill NAME [QUESTION] …`.

    Raises: UnknownMetric, UnknownQuestion.
    """
    info = _catalogue().metric(name)
    [word], rest = _words(_typed(info, arguments), 1)
    path = " ".join([dashed(info.name), *([word] if word else [])])
    asked = _question(info, word, rest)
    options = [*CUTTING, COMPARE_TO, *POLICY, *(PAGE if asked.lists else ()), FORMAT, EXACT, SQL]
    return path, _command(info, asked, _ask, options, named=word is not None), rest


def resolve_explain(arguments: Sequence[str]) -> Resolved:
    """The command for `tidemill explain METRIC [QUESTION] …`, or `tidemill explain customer ID`.

    Raises: UnknownMetric, UnknownQuestion.
    """
    [what], rest = _words(arguments, 1)
    if what == "customer":
        return "explain customer", timeline_command(), rest
    options = [_CUSTOMER, *CUTTING, *POLICY, TABLE_OR_JSON, SQL]
    return resolve_about("explain", arguments, _explain, options, help_text=_EXPLAIN)


def resolve_about(
    verb: str,
    arguments: Sequence[str],
    answer: Handler,
    options: Sequence[Option],
    *,
    help_text: str,
) -> Resolved:
    """The command for `tidemill VERB METRIC [QUESTION] …`, with the question's own options.

    answer:    gets metric, question and params, and the values of `options`.
    help_text: what the verb does, for `tidemill VERB --help`.
    Raises:    UnknownMetric, UnknownQuestion.
    """
    [metric, word], rest = _words(arguments, 2)
    if metric is None:
        return verb, command_of(verb, _nothing_named, help_text, (_METRIC,)), rest
    info = _catalogue().metric(metric)
    [_, word], rest = _words(_typed(info, arguments), 2)
    path = " ".join([verb, dashed(info.name), *([word] if word else [])])
    asked = _question(info, word, rest)
    return path, _command(info, asked, answer, options, named=word is not None), rest


def _words(arguments: Sequence[str], count: int) -> tuple[list[str | None], list[str]]:
    """The first `count` arguments that are neither options nor their values; all the others."""
    words: list[str | None] = []
    rest: list[str] = []
    is_value = False
    for each in arguments:
        if not is_value and not each.startswith("-") and len(words) < count:
            words.append(each)
            continue
        rest.append(each)
        is_flag = not is_value and each.startswith("--")
        is_value = is_flag and "=" not in each and each not in _WITHOUT_VALUE
    return [*words, *[None] * (count - len(words))], rest


def _typed(info: MetricInfo, arguments: Sequence[str]) -> list[str]:
    """The arguments with the question that ``--type`` stands for in its place.

    Raises: UnknownQuestion, for a type that the metric does not have.
    """
    plain = list(arguments)
    for place, each in enumerate(plain if info.kind.types else ()):
        flag, _, value = each.partition("=")
        if flag == "--type" and (value or plain[place + 1 :]):
            value = value or plain.pop(place + 1)
            if value not in info.kind.types:
                raise UnknownQuestion(value, info.kind.types)
            plain[place] = dashed(info.kind.types[value])
    return plain


def _question(info: MetricInfo, word: str | None, arguments: Sequence[str]) -> QuestionInfo:
    """The question of this name; without a name the one that takes the given options."""
    if word is not None:
        return info.question(word)
    names = {flag: each.name for q in info.questions for each in q.params for flag in _flags(each)}
    flags = (each.partition("=")[0] for each in arguments)
    return info.question_taking(names[flag] for flag in flags if flag in names)


def _flags(param: Param) -> tuple[str, ...]:
    return _FLAGS.get(param.name, (f"--{dashed(param.name)}",))


# --- the command of a question --------------------------------------------------------------------


def _command(
    info: MetricInfo,
    asked: QuestionInfo,
    answer: Handler,
    options: Sequence[Option],
    *,
    named: bool,
) -> Any:
    """The command that puts a question; without a name it also tells of the others."""
    arguments = [_param_option(each) for each in asked.params]

    def handle(context: typer.Context, values: dict[str, Any]) -> None:
        params = {each.name: values.pop(each.name) for each in asked.params}
        values.pop("question", None)
        answer(context, {"metric": info.name, "question": asked.name, "params": params} | values)

    if named:
        help_text = asked.doc
    else:
        arguments.insert(0, _question_argument(info))
        listed = "\n".join(f"- {_usage(each)}: {each.summary}" for each in info.questions)
        listed += "".join(f"\n- --type {key}: {dashed(of)}" for key, of in info.kind.types.items())
        help_text = f"{info.title}. {info.summary}\n\nQuestions:\n\n{listed}"
    return command_of(dashed(info.name), handle, help_text, (*arguments, *options))


def _usage(question: QuestionInfo) -> str:
    flags = " ".join(_flags(each)[0] for each in question.params)
    return f"{dashed(question.name)} {flags}".strip()


def _question_argument(info: MetricInfo) -> Option:
    names = [dashed(each.name) for each in info.questions]
    described = typer.Argument(
        metavar="QUESTION",
        help=f"One of {', '.join(names)}.",
        autocompletion=lambda: names,
        show_default=False,
    )
    return Option("question", Annotated[str | None, described])


def _param_option(param: Param) -> Option:
    metavar = "|".join(param.choices) or {"day": "DAY", "number": "N"}.get(param.kind, "TEXT")
    return option(
        param.name,
        *_flags(param),
        metavar=metavar,
        help=plain(param.doc[:1].upper() + param.doc[1:]),
        show_default=param.default_text or False,
        autocompletion=(lambda: list(param.choices)) if param.choices else None,
    )


# --- asking ---------------------------------------------------------------------------------------


def _ask(context: typer.Context, values: dict[str, Any]) -> None:
    how, exact, sql = values.pop("format"), values.pop("exact"), values.pop("sql")
    with session_of(context).open() as tidemill:
        result = tidemill.query(**engine_arguments(values))
        require_source(values["source"], result.freshness)
        if sql:
            say(result.sql)
        else:
            show(result, how, exact=exact)


def _explain(context: typer.Context, values: dict[str, Any]) -> None:
    how, sql, customer = values.pop("format"), values.pop("sql"), values.pop("customer")
    with session_of(context).open() as tidemill:
        explanation = tidemill.explain(customer=customer, **engine_arguments(values))
        require_source(values["source"], explanation.result.freshness)
        if sql:
            say(explanation.sql)
        else:
            show_explanation(explanation, how)


def require_source(name: str | None, freshness: Sequence[Freshness]) -> None:
    """Refuse a source that does not exist: its answer would be a zero that looks like a number.

    Raises: UnknownSource.
    """
    known = [each.source for each in freshness]
    if name is not None and name not in known:
        raise UnknownSource(name, known)


def engine_arguments(values: dict[str, Any]) -> dict[str, Any]:
    """What the options mean to `Tidemill.query`."""
    where = [*(values["where"] or ())]
    where += [f"source={values['source']}"] if values["source"] else []
    return {
        "metric": values["metric"],
        "question": values["question"],
        "by": values["by"] or (),
        "where": where,
        "segment": values["segment"],
        "compare_to": values.get("compare_to"),
        "limit": values.get("limit"),
        "after": values.get("after"),
        "compare_segments": values["compare_segments"] or (),
        "preset": values["preset"],
        "set": read_overrides(values["set"] or ()),
        "known_at": values["known_at"],
        **values["params"],
    }


_EXPLAIN = """Where a number comes from: formula, policy, SQL, the rows behind it and their causes.

It takes the options of the question it explains: see `tidemill METRIC QUESTION --help`.
`tidemill explain customer ID` tells of one customer instead: states, what they count for, why."""
_METRIC = Option(
    "metric",
    Annotated[str | None, typer.Argument(metavar="METRIC [QUESTION]", autocompletion=metric_names)],
)


def _nothing_named(context: typer.Context, _: dict[str, Any]) -> None:
    raise typer.BadParameter("name the metric", ctx=context, param_hint="METRIC")
