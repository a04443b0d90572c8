"""The command ``lysoquant``. Subcommands are imported when they are called, so that help is quick."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from lysoquant import __version__
from lysoquant.errors import InputError, LysoquantError

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "init": ("lysoquant.cli.init:init", "Make a project from a raw plate."),
    "run": ("lysoquant.cli.run:run", "Run the whole workflow of a project."),
    "doctor": ("lysoquant.cli.doctor:doctor", "Check all that a run needs, and say what it will cost."),
    "why": ("lysoquant.cli.why:why", "Say what would run, and why."),
    "convert": ("lysoquant.cli.stages:convert", "Raw images to one OME-Zarr store a plate."),
    "cells": ("lysoquant.cli.stages:cells", "Find the cells of every field."),
    "segment": ("lysoquant.cli.stages:segment", "Find and classify the endolysosomes of every cell."),
    "measure": ("lysoquant.cli.stages:measure", "Measure endolysosomes and cells."),
    "aggregate": ("lysoquant.cli.stages:aggregate", "From cells to wells, conditions and statistics."),
    "report": ("lysoquant.cli.stages:report", "Write the HTML report."),
    "view": ("lysoquant.cli.view:view", "Show a field of a well in napari."),
    "export": ("lysoquant.cli.export:export", "Write results for ImageJ, AnnData, pycytominer, RO-Crate."),
    "illumination": ("lysoquant.cli.illumination:illumination", "Estimate the uneven light of converted plates."),
    "simulate": ("lysoquant.cli.simulate:simulate", "Make plates with a known truth."),
    "model": ("lysoquant.cli.model:model", "Look at, import and export model files."),
    "train": ("lysoquant.cli.train:train", "Train the network on simulated scenes."),
    "annotate": ("lysoquant.cli.annotate:annotate", "Let people outline and correct."),
    "evaluate": ("lysoquant.cli.evaluate:evaluate", "Score a model on cells whose endolysosomes are known."),
    "benchmark": ("lysoquant.cli.benchmark:benchmark", "Compare with the methods of the paper's Figure 1."),
}
"""Where each subcommand lies, and its line in the help."""

_USER_ERRNOS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE}
)
"""Faults of the machine that a user can act on; any other OSError is a fault of the program."""

_PATH_ERRNOS: Final = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO})
"""A path that can't be what it was given for."""


class LazyGroup(click.Group):
    """A group that knows its subcommands by name and imports one only to run it or show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lysoquant")
def cli() -> None:
    """Whole high-content-screening plates to endolysosome occupancy.

    Start with `lysoquant init RAW_PLATE --output PROJECT`, then `lysoquant run PROJECT`.
    """


def invoke(arguments: Sequence[str]) -> int:
    """Run a command line; errors become one line each on standard error.

    Returns
    -------
    int
        Exit status: 0; 2 for something that the user gave; 1 for a stage that failed; 130 for an interrupt.
    """
    try:
        status = cli.main(list(arguments), prog_name="lysoquant", standalone_mode=False)
    except (click.Abort, click.ClickException, LysoquantError, OSError) as error:
        message, status = _verdict(error)
        for line in message.splitlines():
            click.echo(f"error: {line}", err=True)
    return status if isinstance(status, int) else 0


def _verdict(error: Exception) -> tuple[str, int]:
    """What to tell the user, and the exit status; a fault of the program is raised again."""
    match error:
        case click.Abort():
            return "interrupted; the next run goes on with the wells that are not done", 130
        case click.exceptions.NoArgsIsHelpError():
            return "no command was given (see `lysoquant --help`)", 2
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "lysoquant"
            return f"{error.format_message()} (see `{path} --help`)", 2
        case click.ClickException():
            return error.format_message(), error.exit_code
        case LysoquantError():
            return str(error), 2 if isinstance(error, InputError) else 1
        case OSError() if error.errno in _USER_ERRNOS | _PATH_ERRNOS:
            place = f"{error.filename}: " if error.filename else ""
            is_path = error.errno in _PATH_ERRNOS
            remedy = "give another path" if is_path else "give it space or permission and run it again"
            return f"{place}{error.strerror}; {remedy}", 2 if is_path else 1
    raise error


def main() -> NoReturn:
    """Entry point of the command."""
    sys.exit(invoke(sys.argv[1:]))


if __name__ == "__main__":
    main()
