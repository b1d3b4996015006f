"""The command line `pliant`. Its errors are a line or two on stderr; `--debug` anywhere among the words shows the traceback."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__
from ..errors import PliantError
from .commands.bench import bench
from .commands.identify import identify
from .commands.optimize import optimize
from .commands.run import run
from .commands.show import info, list_tasks
from .commands.validate import validate
from .terminal import say


@dataclass(frozen=True)
class Invocation:
    """What was typed after `pliant`; the object of the context of every verb."""

    words: list[str]


class Verbs(TyperGroup):
    """The verbs, with one place where every error ends: 2 for the user's, 1 for ours, 130 for Ctrl-C or a SIGTERM."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs the command line; ends the process with the exit status if `standalone_mode`, and returns it otherwise."""
        words = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in words
        words = [word for word in words if word != "--debug"]
        try:
            done = super().main(words or ["--help"], "pliant", complete_var, False, windows_expand_args, obj=Invocation(words), **extra)
            status = done if isinstance(done, int) else 0
        except Exception as error:
            if debug:
                traceback.print_exc()
            status = _explain(error)
        if standalone_mode:
            sys.exit(status)
        return status

    def invoke(self, ctx: Any) -> Any:
        """Runs the verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # which the parser would end without a word
            say("Interrupted.")
            raise typer.Exit(130) from None


app = typer.Typer(cls=Verbs, add_completion=False, rich_markup_mode=None)
app.command("list")(list_tasks)
for _verb in (info, run, optimize, identify, validate, bench):
    app.command()(_verb)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit()


@app.callback(epilog="Exit status: 0 done, 1 a check failed, 2 wrong usage, 130 interrupted.")
def pliant(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand behind the verb too.")] = False,
) -> None:
    """Differentiable physics of things that bend, squash and flow."""


def main() -> None:
    """What the console script `pliant` calls."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs ignore the first, and a batch system sends the second
        signal.signal(number, signal.default_int_handler)
    app()


def _explain(error: Exception) -> int:
    """Says what went wrong in a line or two, and returns the exit status."""
    if isinstance(error, PliantError):
        say(f"Error: {error}")
        return 2
    if hasattr(error, "format_message"):  # of typer or click, whichever brings the parser
        path = getattr(getattr(error, "ctx", None), "command_path", "pliant")
        say(f"Error: {error.format_message()} See {path} --help.")
        return 2
    text = str(error).strip().partition("\n")[0]
    say(f"Error: unexpected {type(error).__name__}: {text}\nAdd --debug for the traceback.")
    return 1
