"""The root command: global options, and where each command is found.

Commands load when they are used, so that `tidemill mrr` does not wait for the web server. What is
no command of its own is a metric of the catalogue.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from tidemill.errors import UnknownCommand, UnknownMetric
from tidemill.problems import did_you_mean

__all__ = ["app", "commands_beside"]

_QUESTIONS, _CATALOGUE, _DATA, _RUN = "Questions", "Catalogue", "Data", "Run and repair"
# Command → the module whose `app` has it, and the heading it stands under in `tidemill --help`.
_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "summary": ("summary", _QUESTIONS),
    "explain": ("reading", _QUESTIONS),
    "compare": ("comparing", _QUESTIONS),
    "diff": ("differing", _QUESTIONS),
    "metrics": ("catalogue", _CATALOGUE),
    "policies": ("catalogue", _CATALOGUE),
    "sources": ("sources", _CATALOGUE),
    "attributes": ("attributes", _CATALOGUE),
    "segments": ("segments", _CATALOGUE),
    "demo": ("demo", _DATA),
    "import": ("importing", _DATA),
    "sync": ("syncing", _DATA),
    "refresh": ("refreshing", _DATA),
    "reconcile": ("reconciling", _DATA),
    "fx": ("rates", _DATA),
    "quarantine": ("quarantine", _DATA),
    "init": ("setup", _RUN),
    "doctor": ("doctor", _RUN),
    "migrate": ("setup", _RUN),
    "rebuild": ("setup", _RUN),
    "serve": ("serving", _RUN),
    "worker": ("worker", _RUN),
}


# Metric → the module whose commands stand beside its questions.
_BESIDE: Final = {"customers": "customers"}


class _Root(TyperGroup):
    """Finds commands by name: first those of our own, then the metrics."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as Typer calls it
        from tidemill.cli.reading import metric_names

        return [*metric_names(), *_COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        _, command, _ = self.resolve_command(ctx, [cmd_name])
        command.rich_help_panel = _COMMANDS.get(cmd_name, ("", _QUESTIONS))[1]
        return command

    def resolve_command(
        self,
        ctx: Any,  # noqa: ARG002 - as Typer calls it
        args: list[str],
    ) -> tuple[str | None, Any, list[str]]:
        name, *rest = args
        if name in _COMMANDS and name not in {"compare", "diff", "explain"}:
            return name, _written_out(name), rest
        if name in _BESIDE and rest and (beside := commands_beside(name).get(rest[0])):
            return f"{name} {rest[0]}", beside, rest[1:]
        # The metrics bring SQLAlchemy with them; `tidemill init` need not wait for it.
        from tidemill.cli import reading

        if name == "explain":
            return reading.resolve_explain(rest)
        if name == "compare":
            from tidemill.cli import comparing

            return comparing.resolve_compare(rest)
        if name == "diff":
            from tidemill.cli import differing

            return differing.resolve_diff(rest)
        try:
            resolved = reading.resolve(name, rest)
            if name in _BESIDE:
                others = ", ".join(f"tidemill {name} {each}" for each in commands_beside(name))
                resolved[1].epilog = f"Beside these questions: {others}."
            return resolved
        except UnknownMetric:
            if not did_you_mean(name, reading.metric_names()) and did_you_mean(name, _COMMANDS):
                raise UnknownCommand(name, _COMMANDS) from None
            raise


def commands_beside(metric: str) -> dict[str, Any]:
    """The commands that stand beside a metric's questions, by name; none for most metrics."""
    if metric not in _BESIDE:
        return {}
    module = import_module(f"tidemill.cli.{_BESIDE[metric]}")
    group: Any = typer.main.get_command(module.app)
    return dict(group.commands)


def _written_out(name: str) -> Any:
    """The command of this name from its own module."""
    module, _ = _COMMANDS[name]
    command = import_module(f"tidemill.cli.{module}").app
    if isinstance(command, typer.Typer):
        command = typer.main.get_command(command)
    return command.commands.get(name, command) if isinstance(command, TyperGroup) else command


app = typer.Typer(
    name="tidemill",
    cls=_Root,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - Typer hands over the flag's value
    if wanted:
        typer.echo(f"tidemill {version('tidemill')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    *,
    database_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A PostgreSQL server instead of the configured database."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings file instead of .tidemill.toml."),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Subscription analytics you can check: MRR, churn and retention, down to the event."""
    # Loading settings takes longer than printing a help page.
    from tidemill.cli.session import Session

    context.obj = Session(database_url, config)
