"""`tidemill init`, `migrate` and `rebuild`: making a place for the books, and making them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from tidemill.bookkeeping import make_topics
from tidemill.cli.output import say
from tidemill.cli.progress import estimating
from tidemill.cli.session import session_of
from tidemill.errors import UnknownMetric
from tidemill.metrics import METRICS
from tidemill.rebuilding import rebuild, rebuild_facts
from tidemill.settings import CONFIG_FILE, Settings

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_HEAD = """\
# Settings of Tidemill. Environment variables beat this file, options of the command line beat both.
# Lines that begin with # show the defaults.
"""


@app.command("init")
def _init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path(
        CONFIG_FILE
    ),
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a settings file with every setting, its meaning and its default."""
    if file.exists() and not force:
        raise typer.BadParameter(f"{file} exists; --force replaces it", param_hint="FILE")
    file.write_text("\n".join([_HEAD, *_settings()]), encoding="utf-8")
    say(f"Wrote {file}.")


def _settings() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        # Secrets belong in the environment: files get committed.
        if "SecretStr" in str(field.annotation):
            continue
        default = field.default
        shown = f'"{default}"' if isinstance(default, str) else str(default).lower()
        yield f"# {field.description}".replace("\n", " ")
        yield f"# {name} = {shown if isinstance(default, str | bool | int) else '…'}\n"


@app.command("migrate")
def _migrate(context: typer.Context) -> None:
    """Bring the database's schema to the version of this program; make the Kafka topics."""
    session = session_of(context)
    with session.store(migrate=True) as store:
        say(f"The schema of {store.url_display} is current.")
    for topic in make_topics(session.settings):
        say(f"Made the topic {topic}.")


@app.command("rebuild")
def _rebuild(
    context: typer.Context,
    metric: Annotated[
        str | None, typer.Option(metavar="METRIC", help="Only what this metric rests on.")
    ] = None,
) -> None:
    """Make all tables again from the log; the outcome is the same, if nothing was wrong."""
    known = {each.name: each for each in METRICS}
    if metric is not None and metric.replace("-", "_") not in known:
        raise UnknownMetric(metric, known)
    session = session_of(context)
    with session.store() as store:
        desk = session.desk(store, settled=False)
        if metric is not None:
            # One fact table so far, and every metric rests on it.
            differed = rebuild_facts(store, desk.bus, desk.books)
            say(f"Derived again what {metric} rests on; {_differences(differed)}.")
            return
        with estimating("Replaying the log") as progress:
            done = rebuild(store, desk.bus, desk.books, progress=progress)
    aside = f"; {done.quarantined:,} are in quarantine" if done.quarantined else ""
    say(f"Rebuilt from {done.applied:,} events{aside}; {_differences(done.differed)}.")


def _differences(differed: Mapping[str, int]) -> str:
    """In how many rows the live tables were not what the log gives."""
    found = [f"{count:,} in {table}" for table, count in differed.items() if count]
    return f"rows that differed: {', '.join(found)}" if found else "no row differed"
