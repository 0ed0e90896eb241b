"""How an explanation is printed: from the number down to the events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

from tidemill.cli.output import as_json, note, result_table, say
from tidemill.engine import Explanation
from tidemill.metrics.result import Result
from tidemill.policy import Policy

__all__ = ["show_explanation"]

# More rows than this are read by programs, not by people.
_SHOWN_MAX: Final = 50


def show_explanation(explanation: Explanation, how: Literal["table", "json"]) -> None:
    """Print an explanation; warnings go to standard error, unless they are part of the JSON."""
    if how == "json":
        say(as_json(explanation.to_dict()))
        return
    say("\n\n".join(f"{heading}\n{_indented(text)}" for heading, text in _sections(explanation)))
    for warning in dict.fromkeys((*explanation.result.warnings, *explanation.behind.warnings)):
        note(f"warning: {warning}")


def _sections(explanation: Explanation) -> Iterator[tuple[str, str]]:
    result = explanation.result
    asked = " ".join(f"{name}={value}" for name, value in result.params.items())
    whose = f" of customer {explanation.customer}" if explanation.customer else ""
    yield f"{explanation.title}{whose}: {result.question} {asked}".rstrip(), result_table(result)
    if explanation.formula:
        yield "Formula", explanation.formula
    yield "Policy", "\n".join(_policy(explanation))
    yield "SQL", explanation.sql
    what = "Movements" if explanation.behind.question == "movements" else "Rows"
    yield f"{what} behind it", _movements(explanation.behind)


def _movements(behind: Result) -> str:
    if not behind.rows:
        return "none"
    shown = replace(behind, rows=behind.rows[:_SHOWN_MAX])
    hidden = len(behind.rows) - len(shown.rows)
    more = f"\n… and {hidden:,} more, with --format json" if hidden else ""
    return f"{result_table(shown)}{more}"


def _policy(explanation: Explanation) -> Iterator[str]:
    policy = explanation.policy
    yield f"{policy.preset}, {policy.hash}"
    for knob, value, usual in policy.differences(Policy.of()):
        yield f"{knob} = {value} (default: {usual})"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
