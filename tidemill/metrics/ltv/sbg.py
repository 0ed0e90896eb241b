"""The shifted-beta-geometric model: customers who leave with a chance that differs between them.

Every customer has its own chance of leaving at each renewal; over all of them the chances are
spread like a beta distribution. Those likely to leave leave first, so retention rises with age. Two
parameters say it all, and the likeliest ones are found here, in floating point: a model is an
estimate. Money never is: what the model gives is a number of payments, rounded once.

Source: Fader and Hardie, "How to project customer retention", Journal of Interactive Marketing,
2007.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import exp, lgamma, log, log1p
from typing import Final

__all__ = ["CHURNS_MIN", "Fit", "fit"]

CHURNS_MIN: Final = 50
"""With fewer customers lost than this, what is likeliest says next to nothing."""

# Shares nearer to 0 or 1 than this are not told apart from it.
_EDGE: Final = 12.0
_STEPS_MAX: Final = 500
_TINY: Final = 1e-10
_PLACES: Final = Decimal("0.000001")

_Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model: `alpha` and `beta`, the parameters of the beta distribution."""

    alpha: float
    beta: float

    def survival(self, renewals: int) -> float:
        """The share of customers that is still there after so many renewals.

        Formula: S(t) = product over i = 1 … t of (beta + i - 1) / (alpha + beta + i - 1).

        >>> [round(Fit(1, 3).survival(t), 9) for t in range(4)]
        [1.0, 0.75, 0.6, 0.5]
        """
        share = 1.0
        for passed in range(renewals):
            share *= (self.beta + passed) / (self.alpha + self.beta + passed)
        return share

    def payments(self, horizon: int, discount: float = 0.0) -> Decimal:
        """How many payments a new customer makes in a horizon, worth of today, six decimals.

        Formula: sum over t = 0 … horizon - 1 of S(t) / (1 + discount)^t, discount for one payment.

        >>> Fit(1, 3).payments(4)
        Decimal('2.850000')
        """
        share, total = 1.0, 0.0
        for passed in range(horizon):
            total += share / (1 + discount) ** passed
            share *= (self.beta + passed) / (self.alpha + self.beta + passed)
        return Decimal(total).quantize(_PLACES)

    def error(self, lost: Mapping[int, int], kept: Mapping[int, int]) -> Decimal:
        """The largest difference from the share that was really there, over all ages (0 to 1).

        What was really there is the product-limit estimate (Kaplan and Meier, 1958), which takes
        those who are not old enough yet out of the count.
        """
        at_risk = sum(lost.values()) + sum(kept.values())
        share, model, worst = 1.0, 1.0, 0.0
        for age in range(1, max(lost, default=0) + 1):
            at_risk -= kept.get(age - 1, 0)
            gone = lost.get(age, 0)
            share *= 1 - gone / at_risk if at_risk else 1
            at_risk -= gone
            model *= (self.beta + age - 1) / (self.alpha + self.beta + age - 1)
            worst = max(worst, abs(share - model))
        return Decimal(worst).quantize(_PLACES)


def fit(lost: Mapping[int, int], kept: Mapping[int, int]) -> Fit | None:
    """The likeliest model; None with fewer than `CHURNS_MIN` customers lost.

    lost: renewal that did not happen (1 is the first) → how many customers left there.
    kept: renewals made so far → how many customers are still there.
    Formula: the maximum of sum lost_t ln P(t) + sum kept_n ln S(n), with
             P(t) = B(alpha + 1, beta + t - 1) / B(alpha, beta), S(n) = B(alpha, beta + n) / B(…).
    """
    if sum(lost.values()) < CHURNS_MIN:
        return None
    leave, stay = dict(lost), {age: count for age, count in kept.items() if age}

    def unlikely(point: _Point) -> float:
        alpha, beta = _parameters(point)
        whole = _beta(alpha, beta)
        gone = sum(n * (_beta(alpha + 1, beta + t - 1) - whole) for t, n in leave.items())
        there = sum(n * (_beta(alpha, beta + age) - whole) for age, n in stay.items())
        return -gone - there

    # From the plain share of renewals that failed, spread a little.
    renewals = sum(t * n for t, n in leave.items()) + sum(age * n for age, n in stay.items())
    share = sum(leave.values()) / renewals
    start = (_logit(min(max(share, 1e-4), 1 - 1e-4)), _logit(0.2))
    return Fit(*_parameters(_lowest(unlikely, start)))


def _parameters(point: _Point) -> _Point:
    """Alpha and beta from their mean and their spread, both on an endless scale.

    The mean is alpha / (alpha + beta), the spread 1 / (alpha + beta + 1). These hardly depend on
    one another, where alpha and beta run off together as customers get more alike.
    """
    mean, spread = (1 / (1 + exp(-min(max(each, -_EDGE), _EDGE))) for each in point)
    total = 1 / spread - 1
    return mean * total, (1 - mean) * total


def _logit(share: float) -> float:
    return log(share) - log1p(-share)


def _beta(one: float, other: float) -> float:
    """The logarithm of the beta function."""
    return lgamma(one) + lgamma(other) - lgamma(one + other)


def _lowest(height: Callable[[_Point], float], start: _Point) -> _Point:
    """Where a function of two numbers is lowest, by the simplex of Nelder and Mead (1965)."""
    corners = [start, (start[0] + 1, start[1]), (start[0], start[1] + 1)]
    known = sorted((height(each), each) for each in corners)
    for _ in range(_STEPS_MAX):
        (low, best), (middle, second), (high, worst) = known
        if high - low <= _TINY * (abs(low) + _TINY):
            break
        centre = _between(best, second, 0.5)
        mirrored = _at(height, _between(worst, centre, 2.0))
        if mirrored[0] < low:
            third = min(mirrored, _at(height, _between(worst, centre, 3.0)))
        elif mirrored[0] < middle:
            third = mirrored
        else:
            inside = 1.5 if mirrored[0] < high else 0.5
            third = _at(height, _between(worst, centre, inside))
        if third[0] < high:
            known = sorted([known[0], known[1], third])
        else:
            known = sorted(_shrunk(height, best, (best, second, worst)))
    return known[0][1]


def _between(one: _Point, other: _Point, share: float) -> _Point:
    """The point a share of the way from one to another; beyond it where that is more than 1."""
    return (one[0] + share * (other[0] - one[0]), one[1] + share * (other[1] - one[1]))


def _at(height: Callable[[_Point], float], point: _Point) -> tuple[float, _Point]:
    return height(point), point


def _shrunk(
    height: Callable[[_Point], float], best: _Point, corners: Iterable[_Point]
) -> list[tuple[float, _Point]]:
    return [_at(height, _between(best, each, 0.5)) for each in corners]
