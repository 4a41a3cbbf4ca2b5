"""The command line: its errors and its short commands; the others have files of their own."""

from __future__ import annotations

import io
import sys

import click

import nolr
from nolr.cli_console import open_console
from nolr.cli_data import data
from nolr.cli_gradcheck import gradcheck
from nolr.cli_runs import evaluate, predict, train
from nolr.cli_study import study
from nolr.errors import BadInput, Diverged

__all__ = ["main"]


def main() -> None:
    """Run the command line; an error is one sentence and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Greek letters shows a ?
            stream.reconfigure(errors="replace")
    try:
        code = commands.main(standalone_mode=False)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except BadInput as error:
        _fail(str(error), 2)
    except MemoryError as error:
        _fail(f"not enough memory ({error}): try smaller sizes, batches or fewer copies", 2)
    except Diverged as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename or 'standard output'}", 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; what was saved before is intact", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    click.echo(f"nolr: error: {message}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(nolr.__version__, prog_name="nolr")
@click.pass_context
def commands(context: click.Context) -> None:
    """Neural networks trained without backpropagation: forward passes and likelihood ratios."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@commands.command()
def recipes() -> None:
    """List the recipes."""
    from rich.table import Table

    from nolr.recipes import RECIPES

    table = Table("recipe", "what it is")
    for recipe in RECIPES.values():
        table.add_row(recipe.name, recipe.summary)
    open_console().print(table)


@commands.command()
def info() -> None:
    """Show versions, backends (and why one is not available), and the matrix kernels."""
    from rich.markup import escape
    from rich.table import Table

    from nolr.backends import find_backends
    from nolr.environment import blas_kernels, kernel_advice, versions

    console = open_console()
    table = Table("package", "version", title="versions")
    for name, version in versions().items():
        table.add_row(name, version)
    console.print(table)
    table = Table("backend", "state", title="backends")
    for name, state in find_backends().items():
        table.add_row(name, escape(state))
    console.print(table)
    advice = kernel_advice()
    table = Table("library", "version", "kernel", "threads", title="matrix kernels (BLAS)")
    for library in blas_kernels():
        table.add_row(*(str(value) for value in library.values()))
    console.print(table)
    if advice is not None:
        console.print(advice, highlight=False, soft_wrap=True)


for command in (train, evaluate, predict, gradcheck, study, data):
    commands.add_command(command)
