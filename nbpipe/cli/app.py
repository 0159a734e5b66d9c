"""The group of commands, loaded one by one; errors and their exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import click

import nbpipe
from nbpipe.errors import NbpipeError, did_you_mean, harmless

COMMANDS = {
    "build": ("nbpipe.cli.build", "Run what is stale, in parallel."),
    "task": ("nbpipe.cli.task", "Run one task, or show its source or state."),
    "watch": ("nbpipe.cli.background", "Follow the build that is running, or show the last."),
    "cancel": ("nbpipe.cli.background", "Stop the build that is running."),
    "plan": ("nbpipe.cli.build", "Tell what a build would run, and why."),
    "status": ("nbpipe.cli.inspect", "Show the state of every task."),
    "why": ("nbpipe.cli.inspect", "Explain why a task would run, or would not."),
    "log": ("nbpipe.cli.inspect", "Show the runs, one run, or the runs of a task."),
    "plot": ("nbpipe.cli.inspect", "Draw the pipeline."),
    "report": ("nbpipe.cli.report", "Write a report: the picture, the states and the runs."),
    "interact": ("nbpipe.cli.interact", "Start an IPython session with the pipeline loaded."),
    "debug": ("nbpipe.cli.debug", "Open a debugger on what a failed task left behind."),
    "graph": ("nbpipe.cli.export", "Print the tasks with their upstreams, for programs."),
    "export": ("nbpipe.cli.export", "Translate the pipeline for another engine."),
    "submit": ("nbpipe.cli.submit", "Submit the pipeline to AWS Batch, as jobs."),
    "schema": ("nbpipe.cli.inspect", "Print the JSON schema of pipeline.yaml, for editors."),
    "scaffold": ("nbpipe.cli.project", "Create the missing sources, or a new project."),
    "split": ("nbpipe.cli.split", "Turn one notebook into a pipeline of scripts."),
    "demo": ("nbpipe.cli.project", "Write the iris project into a new folder and build it."),
    "examples": ("nbpipe.cli.examples", "List the example projects, or copy one."),
    "nb": ("nbpipe.cli.nb", "Work on the sources' own files, for editors: inject, remove, …"),
    "clean": ("nbpipe.cli.project", "Remove what nbpipe left behind, or also the products."),
    "doctor": ("nbpipe.cli.doctor", "Check the installation and the project."),
}

ENV_OPTION = "env_override"
"""Parameter of the commands that load a spec; its values are taken before click reads the line."""

F = TypeVar("F", bound=Callable[..., Any])


class LazyGroup(click.Group):
    """Imports the module of a command when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command called ``name``; None when there is none."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[name][0]), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name when there is no such command."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(f"no command '{name}'; {did_you_mean(name, COMMANDS)}", ctx)
        found, command, rest = super().resolve_command(ctx, args)
        if command is not None and any(p.name == ENV_OPTION for p in command.params):
            from nbpipe.store.env import split_overrides, using_env

            overrides, rest = split_overrides(rest)
            ctx.with_resource(using_env(overrides))
        return found, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(nbpipe.__version__, prog_name="nbpipe")
def cli() -> None:
    """Notebook pipelines that feel like a single notebook."""


def entry_point(command: F) -> F:
    """The options that every command on a pipeline has."""
    overrides = click.option(
        "--env--KEY",
        ENV_OPTION,
        metavar="VALUE",
        expose_value=False,
        help="Another value for a key of env.yaml; KEY--INNER is a key in a mapping.",
    )
    entry = click.option(
        "-e",
        "--entry-point",
        metavar="PATH",
        help="A spec file, a folder to start looking from, or a quoted pattern of scripts that "
        "declare their own products. Default: the current folder.",
    )
    return entry(overrides(command))


def run(args: list[str] | None = None) -> int:
    """Run the command line; returns the exit code, as the docs list them."""
    try:
        result = cli.main(args, standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except NbpipeError as error:
        click.echo(harmless(str(error)), err=True)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except BaseException as error:
        if _is_cancelled(error):
            return 130
        raise
    return result if isinstance(result, int) else 0


def _is_cancelled(error: BaseException) -> bool:
    """Whether a second interrupt ended the event loop; asyncio is not imported to find out."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)
