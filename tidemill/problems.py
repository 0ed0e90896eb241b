"""What is wrong with something a person wrote: where, what, and which name may have been meant.

Validation everywhere gives a list of problems, never the first one alone; errors carry them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches

__all__ = ["Issue", "Problem", "did_you_mean"]


def did_you_mean(
    name: str, known: Iterable[str], *, otherwise: str = "", cutoff: float = 0.6
) -> str:
    """A sentence that names the nearest known name, or `otherwise` when nothing is near.

    Case and the choice of ``-``, ``_`` or space never hide a near match. `cutoff` is how alike the
    names must be, from 0 to 1 (the same).

    >>> did_you_mean("wiaterfall", ["waterfall", "series"])
    "Did you mean 'waterfall'?"
    >>> did_you_mean("Quick-Ratio", ["quick_ratio"])
    "Did you mean 'quick_ratio'?"
    >>> did_you_mean("zzz", ["mrr", "arr"], otherwise="See `tidemill metrics`.")
    'See `tidemill metrics`.'
    """
    folded = {_fold(each): each for each in sorted(known, reverse=True)}
    near = get_close_matches(_fold(name), folded, n=1, cutoff=cutoff)
    return f"Did you mean {folded[near[0]]!r}?" if near else otherwise


def _fold(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, and what to do about it.

    >>> str(Problem("data.items[0].quantity", "must not be negative", "Write 0 or more."))
    'data.items[0].quantity: must not be negative. Write 0 or more.'
    """

    path: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        """Path, problem and hint on one line."""
        where = f"{self.path}: " if self.path else ""
        stop = "" if self.problem.endswith((".", "?", "!")) else "."
        return f"{where}{self.problem}{stop}" + (f" {self.hint}" if self.hint else "")

    def document(self) -> dict[str, str]:
        """The problem as a JSON object: ``path``, ``problem``, ``hint``."""
        return asdict(self)


Issue = Problem
"""What :class:`InvalidQuery` calls a problem of a question."""
