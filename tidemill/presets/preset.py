"""What a preset is: choices of knobs, each with how we know of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tidemill.knobs import KNOB_NAMES
from tidemill.presets.sources import SOURCES

__all__ = ["EVIDENCE", "Choice", "Evidence", "Preset", "read_choices"]

Evidence = Literal["documented", "third_party", "inferred", "unknown"]
"""The vendor's own page says so; a third party says so; inferred from wording; not found."""

EVIDENCE: tuple[Evidence, ...] = get_args(Evidence)
"""Every degree of evidence, surest first."""

_TAGS: dict[str, Evidence] = {
    "D": "documented",
    "T": "third_party",
    "I": "inferred",
    "U": "unknown",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What a product does about one knob, and how we know."""

    knob: str
    value: str
    evidence: Evidence
    references: tuple[str, ...] = ()
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class Preset:
    """A named policy: its differences from the default, and the evidence for every knob known."""

    name: str
    title: str
    summary: str
    choices: tuple[Choice, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def overrides(self) -> dict[str, str]:
        """Knob → value, only where the product differs from the default."""
        return {each.knob: each.value for each in self.choices if not each.is_default}

    @property
    def evidence(self) -> dict[str, Choice]:
        """Knob → choice, also where the product does what the default does."""
        return {each.knob: each for each in self.choices}

    @property
    def evidence_count(self) -> dict[Evidence, int]:
        """How many of the knobs are documented, by a third party, inferred, unknown."""
        counted = Counter(each.evidence for each in self.choices)
        return {degree: counted[degree] for degree in EVIDENCE}

    def document(self) -> dict[str, Any]:
        """The preset as JSON, every choice with its evidence and where that was read."""
        return {
            "name": self.name,
            "title": self.title,
            "summary": self.summary,
            "notes": list(self.notes),
            "evidence": dict(self.evidence_count),
            "choices": [
                {
                    "knob": each.knob,
                    "value": each.value,
                    "is_default": each.is_default,
                    "evidence": each.evidence,
                    "references": {name: SOURCES[name] for name in each.references},
                }
                for each in self.choices
            ],
        }


def read_choices(table: str) -> tuple[Choice, ...]:
    """The choices in rows of ``knob  value  tag  reference…``.

    A value ``-`` is that of the default policy. Tags are *D* documented, *T* by a third party,
    *I* inferred and *U* unknown. References are names in `SOURCES`.
    """
    chosen = []
    for row in table.strip().splitlines():
        name, value, tag, *references = row.split()
        default = KNOB_NAMES[name].default
        missing = [each for each in references if each not in SOURCES]
        assert not missing, f"{name}: no such reference: {missing}"
        chosen.append(
            Choice(
                name,
                default if value == "-" else KNOB_NAMES[name].read(value),
                _TAGS[tag],
                tuple(references),
                is_default=value in {"-", default},
            )
        )
    return tuple(chosen)
