"""Typer commands without a function written for them: options as data in, a command out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

__all__ = ["Handler", "Option", "command_of", "dashed", "option", "plain"]

Handler = Callable[[typer.Context, dict[str, Any]], None]
"""What a command does: it gets the context and the value of every option by name."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option or argument of a command: its type and description as Typer reads them."""

    name: str
    annotation: Any
    default: Any = None


def option(
    name: str, *flags: str, kind: Any = str | None, default: Any = None, **how: Any
) -> Option:
    """An option; `how` is what `typer.Option` takes."""
    how.setdefault("show_default", False)
    return Option(name, Annotated[kind, typer.Option(*flags, **how)], default)


def dashed(name: str) -> str:
    """The name of a metric, question or parameter as the command line writes it.

    >>> dashed("quick_ratio")
    'quick-ratio'
    """
    return name.replace("_", "-")


def plain(text: str) -> str:
    """Text for a help page, with nothing in it taken for markup."""
    return text.replace("[", r"\[")


def command_of(name: str, handle: Handler, help_text: str, options: Sequence[Option]) -> Any:
    """A command that hands the values of its options to `handle`."""

    def called(context: typer.Context, **values: Any) -> None:
        handle(context, values)

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=each.annotation,
        )
        for each in options
    ]
    # Typer reads both: the signature, which functions need not have, and the annotations.
    called.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in (context, *parameters)}
    holder = typer.Typer(add_completion=False, rich_markup_mode="rich")
    holder.command(name, help=plain(help_text))(called)
    return typer.main.get_command(holder)
