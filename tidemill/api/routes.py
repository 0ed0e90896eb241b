"""The routes of metrics, one a question, made from the catalogue."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidemill.api.answers import answer
from tidemill.api.documents import PROBLEMS, ResultDocument
from tidemill.api.parameters import (
    CUSTOMER,
    TIMELINE,
    Wanted,
    body_described,
    compared,
    described,
    read_body,
    read_compared,
    read_query,
    restated,
)
from tidemill.engine import Tidemill
from tidemill.errors import InvalidQuery
from tidemill.knobs import KNOBS
from tidemill.metrics.catalogue import MetricInfo, QuestionInfo
from tidemill.presets import PRESETS
from tidemill.problems import Problem

__all__ = ["metric_routes"]

_RESULT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": ResultDocument, "description": "The answer."},
    **PROBLEMS,
    409: PROBLEMS[400] | {"description": "Data incomplete for the question."},
}


def metric_routes(tidemill: Tidemill) -> APIRouter:
    """Every route that answers a question or says what can be asked."""
    router = APIRouter()
    _catalogue_routes(router, tidemill)
    _timeline_route(router, tidemill)
    for info in tidemill.catalogue().values():
        _routes_of(router, tidemill, info)
    _by_any_name(router, tidemill)
    return router


def _catalogue_routes(router: APIRouter, tidemill: Tidemill) -> None:
    @router.get("/api/metrics", tags=["catalogue"])
    def metrics() -> Response:
        """Every metric with its questions, their parameters and columns, and its dimensions."""
        return answer(tidemill.catalogue().document())

    @router.get("/api/policies", tags=["catalogue"])
    def policies() -> Response:
        """Every knob, every preset with its evidence, and the policy that is configured."""
        configured = tidemill.engine.policy
        return answer(
            {
                "configured": {
                    "preset": configured.preset,
                    "set": configured.overrides,
                    "hash": configured.hash,
                    "knobs": configured.document()["knobs"],
                },
                "presets": [preset.document() for preset in PRESETS.values()],
                "knobs": [knob.document() for knob in KNOBS],
            }
        )

    @router.get("/api/customers/suggestions", tags=["catalogue"])
    def suggested() -> Response:
        """Customers of different sources that may be one company, by their e-mails."""
        found = tidemill.merge_suggestions()
        return answer({"suggestions": [each.document() for each in found]})

    parameters = [
        each
        for each in described([tidemill.catalogue()["mrr"].question("current")])
        if each["name"] in {"at", "preset", "set", "known_at"}
    ]

    @router.get("/api/metrics/summary", tags=["summary"], openapi_extra={"parameters": parameters})
    def summary(request: Request) -> Response:
        """The headline numbers of a day, each with its change in a month, and how MRR moved."""
        wanted = read_query(request.query_params.multi_items())
        return answer(_summary(tidemill, wanted))


def _timeline_route(router: APIRouter, tidemill: Tidemill) -> None:
    @router.get(
        "/api/explain/customer/{customer:path}",
        tags=["customers"],
        openapi_extra={"parameters": TIMELINE},
    )
    def timeline(request: Request, customer: str) -> Response:
        """A customer's states, what each policy makes of them and why, and its movements."""
        items = request.query_params.multi_items()
        presets = [value for name, value in items if name == "preset"]
        wanted = read_query(item for item in items if item[0] != "preset")
        _refuse_others(wanted, "a timeline", takes="preset, set and known_at", known=())
        found = tidemill.timeline(
            customer,
            presets=presets,
            set=wanted.policy_set(),
            known_at=wanted.once.get("known_at"),
        )
        return answer(found.to_dict())


def _refuse_others(wanted: Wanted, what: str, *, takes: str, known: Collection[str]) -> None:
    """Refuse the parameters of questions that something which is none does not take.

    Raises: InvalidQuery naming all of them.
    """
    wrong = [name for name in wanted.params if name not in known]
    wrong += [name for name in wanted.several if name != "set"]
    wrong += [name for name in wanted.once if name == "segment"]
    if wrong:
        problem = f"is not a parameter of {what}"
        raise InvalidQuery([Problem(name, problem, f"It takes {takes}.") for name in wrong])


def _summary(tidemill: Tidemill, wanted: Wanted) -> dict[str, Any]:
    """The summary as JSON.

    Raises: InvalidQuery naming what a summary does not take.
    """
    _refuse_others(wanted, "summary", takes="at, preset, set and known_at", known=("at",))
    summary = tidemill.summary(
        wanted.params.get("at"),
        preset=wanted.once.get("preset"),
        set=wanted.policy_set(),
        known_at=wanted.once.get("known_at"),
    )
    return summary.to_dict()


def _routes_of(router: APIRouter, tidemill: Tidemill, info: MetricInfo) -> None:
    """The routes of a metric: its default question, each question by name, its fields."""
    path = f"/api/metrics/{info.name}"

    def fields() -> Response:
        return answer(info.document())

    router.get(
        f"{path}/fields",
        tags=[info.title],
        summary=f"What {info.name} can be asked and cut by",
        operation_id=f"{info.name}_fields",
    )(fields)
    for question in (None, *info.questions):
        _question_routes(router, tidemill, info, question)


def _question_routes(
    router: APIRouter, tidemill: Tidemill, info: MetricInfo, question: QuestionInfo | None
) -> None:
    """How a question is asked and explained; None is the metric without a question's name."""
    asked = info.questions if question is None else (question,)
    place = info.name if question is None else f"{info.name}/{question.name}"
    name = place.replace("/", "_")
    summary = info.title if question is None else question.summary
    parameters = described(asked)
    common: dict[str, Any] = {
        "tags": [info.title],
        "description": info.summary if question is None else question.doc,
        "responses": _RESULT,
    }

    def get(request: Request) -> Response:
        return _ask(tidemill, info, question, read_query(request.query_params.multi_items()))

    def post(body: dict[str, Any]) -> Response:
        return _ask(tidemill, info, question, read_body(body))

    def explain(request: Request) -> Response:
        return _explain(tidemill, info, question, request)

    router.get(
        f"/api/metrics/{place}",
        summary=summary,
        operation_id=name,
        openapi_extra={"parameters": parameters},
        **common,
    )(get)
    router.post(
        f"/api/metrics/{place}",
        summary=f"{summary} (as a JSON body)",
        operation_id=f"{name}_post",
        openapi_extra={"requestBody": body_described(parameters)},
        **common,
    )(post)

    def compare(request: Request) -> Response:
        return _compare(tidemill, info, question, request)

    router.get(
        f"/api/compare/{place}",
        summary=f"Compared: {summary}",
        operation_id=f"{name}_compared",
        openapi_extra={"parameters": compared(parameters)},
        **common | {"responses": {}},
    )(compare)

    def diff(request: Request) -> Response:
        return _diff(tidemill, info, question, request)

    router.get(
        f"/api/diff/{place}",
        summary=f"Restated: {summary}",
        operation_id=f"{name}_restated",
        openapi_extra={"parameters": restated(parameters)},
        **common | {"responses": {}},
    )(diff)
    router.get(
        f"/api/explain/{place}",
        summary=f"Explained: {summary}",
        operation_id=f"{name}_explained",
        openapi_extra={"parameters": [*parameters, CUSTOMER]},
        **common | {"responses": {}},
    )(explain)


def _ask(
    tidemill: Tidemill, info: MetricInfo, question: QuestionInfo | None, wanted: Wanted
) -> Response:
    asked = question or info.question_taking(wanted.params)
    result = tidemill.query(info.name, asked.name, **wanted.engine_arguments())
    return answer(result.to_dict())


def _explain(
    tidemill: Tidemill, info: MetricInfo, question: QuestionInfo | None, request: Request
) -> Response:
    items = request.query_params.multi_items()
    customers = [value for name, value in items if name == "customer"]
    if len(customers) > 1:
        raise InvalidQuery([Problem("customer", "is given more than once")])
    wanted = read_query(item for item in items if item[0] != "customer")
    asked = question or info.question_taking(wanted.params)
    customer = customers[0] if customers else None
    explanation = tidemill.explain(
        info.name, asked.name, customer=customer, **wanted.engine_arguments()
    )
    return answer(explanation.to_dict())


def _compare(
    tidemill: Tidemill, info: MetricInfo, question: QuestionInfo | None, request: Request
) -> Response:
    presets, limit, rest = read_compared(request.query_params.multi_items())
    wanted = read_query(rest)
    asked = question or info.question_taking(wanted.params)
    arguments = wanted.engine_arguments()
    del arguments["preset"]
    comparison = tidemill.compare(info.name, asked.name, presets=presets, limit=limit, **arguments)
    return answer(comparison.to_dict())


def _diff(
    tidemill: Tidemill, info: MetricInfo, question: QuestionInfo | None, request: Request
) -> Response:
    items = request.query_params.multi_items()
    known_at = [value for name, value in items if name == "known_at"]
    wanted = read_query(item for item in items if item[0] != "known_at")
    asked = question or info.question_taking(wanted.params)
    arguments = wanted.engine_arguments() | {"known_at": known_at}
    return answer(tidemill.diff(info.name, asked.name, **arguments).to_dict())


def _by_any_name(router: APIRouter, tidemill: Tidemill) -> None:
    """The same routes for names written with dashes, and the errors for names nobody knows."""

    def known(metric: str, question: str | None) -> tuple[MetricInfo, QuestionInfo | None]:
        info = tidemill.catalogue().metric(metric)
        return info, None if question is None else info.question(question)

    def get(request: Request, metric: str, question: str | None = None) -> Response:
        wanted = read_query(request.query_params.multi_items())
        return _ask(tidemill, *known(metric, question), wanted)

    def post(body: dict[str, Any], metric: str, question: str | None = None) -> Response:
        return _ask(tidemill, *known(metric, question), read_body(body))

    def explain(request: Request, metric: str, question: str | None = None) -> Response:
        return _explain(tidemill, *known(metric, question), request)

    def compare(request: Request, metric: str, question: str | None = None) -> Response:
        return _compare(tidemill, *known(metric, question), request)

    def diff(request: Request, metric: str, question: str | None = None) -> Response:
        return _diff(tidemill, *known(metric, question), request)

    for path in ("{metric}", "{metric}/{question}"):
        router.get(f"/api/diff/{path}", include_in_schema=False)(diff)
        router.get(f"/api/compare/{path}", include_in_schema=False)(compare)
        router.get(f"/api/metrics/{path}", include_in_schema=False)(get)
        router.post(f"/api/metrics/{path}", include_in_schema=False)(post)
        router.get(f"/api/explain/{path}", include_in_schema=False)(explain)
