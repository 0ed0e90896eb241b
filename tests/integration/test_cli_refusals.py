"""How commands end: exit codes, what is wrong and what to do, and never a traceback."""

from __future__ import annotations

import json

import pytest

from tests.support.cli import Inside
from tidemill import errors

NOWHERE = "postgresql://nobody:secret@127.0.0.1:1/nothing"

REFUSED = [
    (("mmr",), 2, "unknown_metric", "'mrr'"),
    (("improt", "events", "x"), 2, "unknown_command", "'import'"),
    (("mrr", "wiaterfall"), 2, "unknown_question", "'waterfall'"),
    (("explain", "mrr", "seris"), 2, "unknown_question", "'series'"),
    (("mrr", "--by", "plann"), 2, "invalid_query", "'plan'"),
    (("mrr", "--at", "2025-02-30"), 2, "invalid_query", "not a calendar day"),
    (("mrr", "series", "--interval", "mont"), 2, "invalid_query", "'month'"),
    (
        ("mrr", "series", "--interval", "month'); DROP TABLE customer; --"),
        2,
        "invalid_query",
        "quarter",
    ),
    (("mrr", "--where", "1=1; DROP TABLE customer=x"), 2, "invalid_query", "no dimension"),
    (("mrr", "--preset", "chartmogl"), 2, "unknown_policy", "'chartmogul'"),
    (("mrr", "--set", "neting=month"), 2, "unknown_knob", "'netting'"),
    (("mrr", "--set", "netting"), 2, "invalid_policy", "netting=VALUE"),
    (("mrr", "--known-at", "yesterday"), 2, "invalid_instant", ""),
    (("mrr", "--source", "bokks"), 2, "unknown_source", "'books'"),
    (("mrr", "--segment", "big"), 2, "invalid_query", "segments"),
    (("mrr", "--colour", "red"), 2, "usage", "--colour"),
    (("mrr", "--format", "xml"), 2, "usage", "json"),
    (("mrr", "--database-url", NOWHERE), 2, "usage", "before the command"),
    (("mrr", "current", "surplus"), 2, "usage", "surplus"),
    (("explain",), 2, "usage", "METRIC"),
    (("policies", "stripee"), 2, "unknown_policy", "'stripe'"),
    (("metrics", "mmr"), 2, "unknown_metric", "'mrr'"),
    (("rebuild", "--metric", "mmr"), 2, "unknown_metric", "'mrr'"),
    (("--config", "nowhere.toml", "mrr"), 2, "invalid_settings", "nowhere.toml"),
    (("--database-url", "mysql://x/y", "mrr"), 2, "invalid_settings", "postgresql://"),
    (("--database-url", NOWHERE, "mrr"), 3, "database_unreachable", "127.0.0.1"),
    (("--database-url", NOWHERE, "doctor"), 3, "database_unreachable", "127.0.0.1"),
    (("serve", "--host", "0.0.0.0"), 1, "auth_required", "AUTH_ENABLED"),  # noqa: S104 - refused
    (("demo", "--no-serve"), 1, "books_in_use", "TIDEMILL_DATA_DIR"),
]


@pytest.mark.parametrize(("arguments", "code", "name", "part"), REFUSED)
def test_refusals(
    known: Inside, arguments: tuple[str, ...], code: int, name: str, part: str
) -> None:
    done = known.run(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(f"error[{name}]: "), done.stderr
    assert part in done.stderr
    assert "secret" not in done.stderr
    assert done.stdout == ""


def test_errors_are_json_where_json_was_asked_for(known: Inside) -> None:
    asked = ("mrr", "series", "--interval", "mont", "--by", "plann", "--start", "x")
    done = known.run(*asked, "--format", "json")
    assert done.returncode == 2
    error = json.loads(done.stderr)
    assert error["code"] == "invalid_query"
    assert [each["path"] for each in error["errors"]] == ["start", "grain", "dimensions"]
    usage = known.run("mrr", "--format=json", "--colour", "red")
    assert json.loads(usage.stderr)["code"] == "usage"


def test_a_database_of_ones_own_wants_to_be_migrated(bare_cli: Inside) -> None:
    refused = bare_cli.run("mrr")
    assert refused.returncode == 1
    assert "error[schema_too_old]" in refused.stderr
    assert "tidemill migrate" in refused.stderr
    assert bare_cli.run("doctor").returncode == 1
    bare_cli.text("migrate")
    assert bare_cli.text("mrr") == "$0.00\n"


def test_help_is_for_people(cli: Inside) -> None:
    for asked, parts in {
        (): ("mrr", "import", "serve", "explain", "doctor"),
        ("mrr",): ("waterfall", "--start", "--by", "--preset", "--format"),
        ("mrr", "waterfall"): ("--start", "--interval", "adds up"),
        ("explain",): ("METRIC", "causes"),
        ("import", "stripe-events"): ("--test-mode", "FILE"),
    }.items():
        text = cli.text(*asked, "--help")
        assert all(part in text for part in parts), text
    assert cli.text("--version").startswith("tidemill ")


def test_settings_file_is_written_once_and_read(cli: Inside) -> None:
    cli.text("init")
    assert cli.run("init").returncode == 2
    file = cli.folder / ".tidemill.toml"
    written = file.read_text(encoding="utf-8")
    assert "base_currency" in written
    assert "secret" not in written.lower().replace("secrets", "")
    cli.text("mrr")
    file.write_text('base_curency = "EUR"\ntimezone = "Nowhere"\n', encoding="utf-8")
    refused = cli.run("mrr")
    assert refused.returncode == 2
    assert "base_currency" in refused.stderr
    assert "Nowhere" in refused.stderr


def test_every_error_has_a_way_to_end() -> None:
    from tidemill.api.errors import status_of
    from tidemill.cli.errors import EXITS

    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.TidemillError):
            codes = [getattr(each, "code", "") for each in kind.__mro__]
            assert any(code in EXITS for code in codes)
            assert 400 <= status_of(kind) < 600
