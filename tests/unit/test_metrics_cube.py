"""Cubes: a join that could multiply rows cannot be declared, and other mistakes are found early."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import UniqueConstraint

from tidemill import models
from tidemill.errors import DefinitionError
from tidemill.metrics.cube import KEYS, Cube, Dimension, Join, Scope
from tidemill.metrics.movement_cube import MOVEMENTS
from tidemill.relations import COLUMNS


def column(name: str) -> Any:
    return lambda scope: scope.rows.c[name]


def test_a_join_on_part_of_a_key_is_refused() -> None:
    """The same plan id may stand in two sources: each row would be counted twice."""
    with pytest.raises(DefinitionError, match="could multiply rows") as error:
        Join("plans", {"plan": column("plan")})
    assert error.value.hint == "Join on a whole key: (source_id, plan)."


@pytest.mark.parametrize("relation", ["invoices", "payments", "version_items", "no such"])
def test_a_join_to_a_relation_with_many_rows_is_refused(relation: str) -> None:
    with pytest.raises(DefinitionError, match="could multiply rows"):
        Join(relation, {"customer_id": column("customer_id")})


def test_a_join_on_a_whole_key_and_more_is_fine() -> None:
    Join("customers", {"customer_id": column("customer_id"), "country": column("country")})


def test_keys_are_real() -> None:
    """What `KEYS` promises of a core table is a constraint of that table."""
    tables = {
        "customers": (models.customer, {"id": "customer_id"}),
        "plans": (models.plan, {"external_id": "plan"}),
        "products": (models.product, {"external_id": "product"}),
        "sources": (models.source, {"id": "source_id"}),
        "subscriptions": (models.subscription, {"id": "subscription_id"}),
        "events": (models.event_log, {}),
    }
    for relation, (table, named) in tables.items():
        unique = [set(table.primary_key.columns.keys())]
        unique += [
            set(each.columns.keys())
            for each in table.constraints
            if isinstance(each, UniqueConstraint)
        ]
        renamed = [{named.get(name, name) for name in key} for key in unique]
        for key in KEYS[relation]:
            assert set(key) in renamed, (relation, key)
        if relation in COLUMNS:
            assert {name for key in KEYS[relation] for name in key} <= set(COLUMNS[relation])


def test_all_joins_of_the_cube_look_up_one_row() -> None:
    for join in MOVEMENTS.joins.values():
        assert any(set(key) <= set(join.on) for key in KEYS[join.relation])


def test_joins_come_after_those_they_build_on() -> None:
    dimension = MOVEMENTS.dimension("product_name")
    assert dimension is not None
    assert MOVEMENTS.joins_for((dimension,)) == ("plans", "products")


def test_a_cube_with_two_dimensions_of_a_name_is_refused() -> None:
    with pytest.raises(DefinitionError, match="twice"):
        replace(MOVEMENTS, dimensions=(*MOVEMENTS.dimensions, MOVEMENTS.dimensions[0]))


def test_a_dimension_that_needs_a_missing_join_is_refused() -> None:
    lost = Dimension("lost", "Lost.", "item", column("plan"), joins=("nowhere",))
    with pytest.raises(DefinitionError, match="nowhere"):
        Cube("small", (), (lost,), {})


def test_texts_are_never_null_or_empty() -> None:
    dimension = MOVEMENTS.dimension("plan")
    assert dimension is not None
    shown = dimension.shown(Scope(models.metric_mrr_movement, {}, "USD"))
    assert str(shown).startswith("coalesce(nullif(")
