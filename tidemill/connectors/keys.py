"""Keys and instants out of a billing system's own columns.

Relations want bigint keys. A UUID gives one by PostgreSQL's own 64-bit hash of it: the same in
every statement, without a table to look it up in and without sorting anything. The seed tells what
the key is of, so that several rows can be made of one. Whether two of the rows at hand share a key
is looked at before anything is answered (`tidemill.connectors.database`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, DateTime, Text, cast, func, literal

__all__ = ["instant", "key", "key_of_text"]


def key(uuid: ColumnElement[Any], seed: int = 0) -> ColumnElement[int]:
    """A bigint for a UUID; other seeds give other ones."""
    return func.uuid_hash_extended(uuid, cast(literal(seed), BigInteger), type_=BigInteger)


def key_of_text(*parts: ColumnElement[Any]) -> ColumnElement[int]:
    """A bigint for texts together; no part may hold a line feed."""
    joined = func.concat_ws("\n", *(cast(each, Text) for each in parts))
    return func.hashtextextended(joined, cast(literal(0), BigInteger), type_=BigInteger)


def instant(utc: ColumnElement[Any]) -> ColumnElement[datetime]:
    """A `timestamp` in UTC, as such tables have it, as an instant."""
    return func.timezone("UTC", utc, type_=DateTime(timezone=True))
