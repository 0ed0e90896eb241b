"""`tidemill metrics` and `tidemill policies`: what can be asked, and under which definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from tidemill.cli.generating import dashed
from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, as_table, say
from tidemill.errors import UnknownPolicy
from tidemill.knobs import KNOBS
from tidemill.metrics import METRICS
from tidemill.metrics.catalogue import MetricInfo, catalogue
from tidemill.presets import PRESETS, Preset

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
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    how: Printed = "table",
) -> None:
    """Every preset of definitions; of one preset every choice with its evidence."""
    if name is None:
        presets = [preset.document() for preset in PRESETS.values()]
        knobs = [knob.document() for knob in KNOBS]
        rows = [(each.name, each.title, each.summary) for each in PRESETS.values()]
        table = as_table(("preset", "product", "in a sentence"), rows)
        say(as_json({"presets": presets, "knobs": knobs}) if how == "json" else table)
        return
    preset = PRESETS.get(name)
    if preset is None:
        raise UnknownPolicy(name, PRESETS)
    say(as_json(preset.document()) if how == "json" else "\n\n".join(_choices(preset)))


def _choices(preset: Preset) -> Iterator[str]:
    yield f"{preset.title}\n{preset.summary}"
    chosen = preset.evidence
    rows = []
    for knob in KNOBS:
        choice = chosen.get(knob.name)
        value = choice.value if choice else knob.default
        evidence = choice.evidence.replace("_", " ") if choice else ""
        differs = "" if value == knob.default else f"default: {knob.default}"
        rows.append((knob.name, value, differs, evidence, knob.effect))
    yield as_table(("knob", "value", "", "evidence", "effect"), rows)
    if preset.notes:
        yield "\n".join(preset.notes)
