"""The schema's history: it leads to what `models` says, once, whoever runs it how often."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tidemill import migrations
from tidemill.database import Database, connect
from tidemill.errors import MigrationRefused, SchemaTooNew, SchemaTooOld
from tidemill.migrations.schema import SchemaState, migrate, schema_state
from tidemill.models import metadata

VERSION = sa.table(migrations.VERSION_TABLE, sa.column("version_num", sa.Text))


def url_of(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def tables(database: Database) -> set[str]:
    return set(sa.inspect(database.engine).get_table_names())


def set_revision(database: Database, revision: str) -> None:
    with database.begin() as connection:
        connection.execute(sa.update(VERSION).values(version_num=revision))


def test_the_migrated_schema_is_the_declared_one(database: Database) -> None:
    options = {"version_table": migrations.VERSION_TABLE, "compare_server_default": True}
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_the_revisions_form_one_line_of_numbers(database: Database) -> None:
    with database.connect() as connection:
        script = ScriptDirectory.from_config(migrations.config(connection))
    line = [revision.revision for revision in script.walk_revisions()][::-1]
    assert tuple(line) == migrations.known_revisions()
    assert line == [f"{number:04}" for number in range(1, len(line) + 1)]
    assert script.get_current_head() == migrations.head()


def test_a_fresh_schema_is_current(database: Database) -> None:
    assert schema_state(database.engine) is SchemaState.CURRENT
    connect(url_of(database)).close()


def test_migrating_twice_changes_nothing(empty_database: Database) -> None:
    migrate(empty_database.engine)
    first = tables(empty_database)
    migrate(empty_database.engine)
    assert tables(empty_database) == first


def test_processes_that_migrate_at_once(empty_database: Database) -> None:
    def one(_: int) -> None:
        connect(url_of(empty_database), migrate=True).close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(4)))
    assert schema_state(empty_database.engine) is SchemaState.CURRENT


def test_an_empty_database_by_url_asks_for_migrate(empty_database: Database) -> None:
    assert schema_state(empty_database.engine) is SchemaState.BEHIND
    with pytest.raises(SchemaTooOld, match="empty") as caught:
        connect(url_of(empty_database))
    assert "tidemill migrate" in caught.value.hint
    assert tables(empty_database) == set()


def test_a_newer_schema_is_refused_and_left_alone(database: Database) -> None:
    set_revision(database, "9999")
    assert schema_state(database.engine) is SchemaState.AHEAD
    for choice in (None, True):
        with pytest.raises(SchemaTooNew, match="9999") as caught:
            connect(url_of(database), migrate=choice)
        assert "pip install --upgrade tidemill" in caught.value.hint
    connect(url_of(database), migrate=False).close()


def test_the_embedded_store_is_migrated_on_connect(tmp_path: Path) -> None:
    with connect(None, data_dir=tmp_path, read_only=True) as database:
        assert schema_state(database.engine) is SchemaState.CURRENT
    with connect(None, data_dir=tmp_path) as database:
        set_revision(database, "9999")
    with pytest.raises(SchemaTooNew):
        connect(None, data_dir=tmp_path)
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()


def test_a_table_of_somebody_else_in_the_way(empty_database: Database) -> None:
    with empty_database.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE subscription (id int)")
    with pytest.raises(MigrationRefused, match='"subscription" already exists') as caught:
        migrate(empty_database.engine)
    assert "database of its own" in caught.value.hint
    assert tables(empty_database) == {"subscription"}, "all or nothing"


def test_an_application_with_migrations_of_its_own(empty_database: Database) -> None:
    with empty_database.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num text)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('theirs')")
    migrate(empty_database.engine)
    with empty_database.connect() as connection:
        theirs = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    assert theirs == "theirs"


def test_a_user_who_may_not_make_tables(empty_database: Database) -> None:
    role = f"reader_{empty_database.engine.url.database}"
    with empty_database.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
    url = empty_database.engine.url.set(username=role).render_as_string()
    with pytest.raises(MigrationRefused, match="permission denied") as caught:
        connect(url, migrate=True)
    assert "GRANT CREATE ON SCHEMA public" in caught.value.hint


def test_importing_the_database_does_not_load_alembic() -> None:
    import subprocess
    import sys

    program = "import tidemill.database, sys; print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"
