"""Who the synthetic customers are: name, country, currency, size, and how they were found."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final

__all__ = ["Profile", "draw_profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What is fixed about a customer from the first day."""

    name: str
    email: str
    country: str
    currency: str
    channel: str
    size: str
    seats: int
    """How many people would use it; what a per-seat plan starts with."""


_FIRST: Final = (
    *("Amber", "Bright", "Cedar", "Copper", "Crimson", "Delta", "Eager", "Falcon", "Golden"),
    *("Harbor", "Indigo", "Juniper", "Keen", "Lunar", "Maple", "Noble", "Ocean", "Pine"),
    *("Quiet", "River", "Silver", "Summit", "Tidal", "Umber", "Velvet", "Willow", "Zephyr"),
)
_SECOND: Final = (
    *("Analytics", "Atelier", "Bakery", "Books", "Clinic", "Design", "Energy", "Foods"),
    *("Games", "Health", "Labs", "Legal", "Logistics", "Media", "Robotics", "Schools"),
    *("Software", "Sports", "Studio", "Systems", "Travel", "Works"),
)
_COUNTRIES: Final = {
    "US": (38, "usd", "Inc"),
    "GB": (13, "gbp", "Ltd"),
    "DE": (10, "eur", "GmbH"),
    "FR": (7, "eur", "SAS"),
    "CA": (6, "usd", "Inc"),
    "NL": (5, "eur", "BV"),
    "AU": (4, "usd", "Pty"),
    "ES": (4, "eur", "SL"),
    "IN": (4, "usd", "Pvt"),
    "IT": (3, "eur", "Srl"),
    "BR": (2, "usd", "Ltda"),
    "IE": (2, "eur", "Ltd"),
    "JP": (2, "usd", "KK"),
}
_CHANNELS: Final = {
    "organic": 30,
    "paid_search": 22,
    "content": 15,
    "referral": 14,
    "outbound": 11,
    "partner": 8,
}
_SIZES: Final = {
    "1-10": (46, 1, 8),
    "11-50": (31, 6, 25),
    "51-200": (16, 18, 60),
    "201-1000": (7, 40, 180),
}

_COUNTRY_NAMES: Final = tuple(_COUNTRIES)
_COUNTRY_WEIGHTS: Final = tuple(accumulate(weight for weight, _, _ in _COUNTRIES.values()))
_CHANNEL_NAMES: Final = tuple(_CHANNELS)
_CHANNEL_WEIGHTS: Final = tuple(accumulate(_CHANNELS.values()))
_SIZE_NAMES: Final = tuple(_SIZES)
_SIZE_WEIGHTS: Final = tuple(accumulate(weight for weight, _, _ in _SIZES.values()))


def draw_profile(dice: Random, number: int) -> Profile:
    """A plausible customer; `number` keeps addresses apart when names repeat."""
    (country,) = dice.choices(_COUNTRY_NAMES, cum_weights=_COUNTRY_WEIGHTS)
    (channel,) = dice.choices(_CHANNEL_NAMES, cum_weights=_CHANNEL_WEIGHTS)
    (size,) = dice.choices(_SIZE_NAMES, cum_weights=_SIZE_WEIGHTS)
    _, currency, form = _COUNTRIES[country]
    _, fewest, most = _SIZES[size]
    first, second = dice.choice(_FIRST), dice.choice(_SECOND)
    return Profile(
        name=f"{first} {second} {form}",
        email=f"billing@{first}-{second}-{number}.example".lower(),
        country=country,
        currency=currency,
        channel=channel,
        size=size,
        seats=dice.randint(fewest, most),
    )
