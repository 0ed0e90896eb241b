"""`tidemill metrics` and `tidemill policies`: what can be asked, and under which definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from tidemill.cli.generating import dashed
from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, say
from tidemill.cli.session import session_of
from tidemill.cli.tables import as_table
from tidemill.errors import UnknownPolicy
from tidemill.knobs import KNOBS
from tidemill.metrics import METRICS
from tidemill.metrics.catalogue import MetricInfo, catalogue
from tidemill.policy import Policy
from tidemill.presets import EVIDENCE, PRESETS, SOURCES, Preset

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command("metrics")
def _metrics(
    name: Annotated[str | None, typer.Argument(metavar="METRIC", show_default=False)] = None,
    how: Printed = "table",
) -> None:
    """Every metric and its questions; of one metric also its definition and dimensions."""
    known = catalogue(METRICS)
    if name is not None:
        info = known.metric(name)
        say(as_json(info.document()) if how == "json" else "\n\n".join(_about(info)))
        return
    if how == "json":
        say(as_json(known.document()))
        return
    rows = [
        (dashed(info.name), dashed(question.name), question.summary)
        for info in known.values()
        for question in info.questions
    ]
    say(as_table(("metric", "question", "answers"), rows))


def _about(info: MetricInfo) -> Iterator[str]:
    yield f"{info.title}\n{info.summary}"
    for heading, text in info.definition.items():
        if heading:
            yield f"{heading}\n{text}"
    questions = [(dashed(each.name), each.summary) for each in info.questions]
    yield as_table(("question", "answers"), questions)
    yield as_table(("dimension", "meaning"), [(each.name, each.doc) for each in info.dimensions])


@app.command("policies")
def _policies(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    how: Printed = "table",
) -> None:
    """Every preset of definitions, and how sure we are of it; of one preset every choice."""
    if name is None:
        configured = session_of(context).settings.configured_policy()
        say(as_json(_catalogue(configured)) if how == "json" else "\n\n".join(_list(configured)))
        return
    preset = PRESETS.get(name)
    if preset is None:
        raise UnknownPolicy(name, PRESETS)
    say(as_json(preset.document()) if how == "json" else "\n\n".join(_choices(preset)))


def _catalogue(configured: Policy) -> dict[str, Any]:
    named = {
        "preset": configured.preset,
        "set": configured.overrides,
        "hash": configured.hash,
    }
    return {
        "configured": named,
        "presets": [preset.document() for preset in PRESETS.values()],
        "knobs": [knob.document() for knob in KNOBS],
    }


def _list(configured: Policy) -> Iterator[str]:
    rows = [
        (
            each.name,
            each.title,
            *(str(count) if each.choices else "" for count in each.evidence_count.values()),
            each.summary,
        )
        for each in PRESETS.values()
    ]
    degrees = [each.replace("_", " ") for each in EVIDENCE]
    sides = [False, False, *(True for _ in degrees)]
    yield as_table(("preset", "product", *degrees, "in a sentence"), rows, right=sides)
    turned = "".join(f";{knob}={value}" for knob, value in configured.overrides.items())
    yield (
        "Documented is what a vendor's own page says about a knob; what is inferred or unknown is a"
        " best guess.\nOf one: tidemill policies NAME. Configured (TIDEMILL_POLICY,"
        f" TIDEMILL_POLICY_SET): {configured.preset}{turned}"
    )


def _choices(preset: Preset) -> Iterator[str]:
    yield f"{preset.title}\n{preset.summary}"
    chosen = preset.evidence
    cited = list(dict.fromkeys(name for each in preset.choices for name in each.references))
    rows = []
    for knob in KNOBS:
        choice = chosen.get(knob.name)
        value = choice.value if choice else knob.default
        evidence = choice.evidence.replace("_", " ") if choice else ""
        references = choice.references if choice else ()
        numbers = "".join(f"[{cited.index(each) + 1}]" for each in references)
        differs = "" if value == knob.default else f"default: {knob.default}"
        rows.append((knob.name, value, differs, f"{evidence} {numbers}".strip(), knob.effect))
    yield as_table(("knob", "value", "", "evidence", "effect"), rows)
    if preset.choices:
        counts = preset.evidence_count.items()
        told = ", ".join(f"{count} {degree.replace('_', ' ')}" for degree, count in counts)
        yield f"Evidence of {len(preset.choices)} knobs: {told}. Of the others nothing is known."
        sources = [f"[{number}] {SOURCES[each]}" for number, each in enumerate(cited, start=1)]
        yield "\n".join(sources)
    if preset.notes:
        yield "\n".join(preset.notes)
