"""Attributes: what the business knows of its customers beyond what billing needs.

They come from the billing system (`attributes` of customer events; Stripe's metadata), from CSV and
over the API. Each is a dimension of every question that customers can cut: ``attribute.NAME``.
"""

from __future__ import annotations

from tidemill.attributes.dimensions import PREFIX, attribute_names, with_attributes
from tidemill.attributes.kinds import (
    AttributeInfo,
    AttributeValue,
    known_attributes,
    listed_attributes,
    values_of,
)

__all__ = [
    "PREFIX",
    "AttributeInfo",
    "AttributeValue",
    "attribute_names",
    "known_attributes",
    "listed_attributes",
    "values_of",
    "with_attributes",
]
