"""A magic's line as options: quotes honoured, ``-h`` answered, mistakes told in two lines."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Any, NoReturn

from nbpipe.errors import UsageError, did_you_mean

SUBCOMMANDS: dict[str, str] = {
    "show": "the DAG, live, with buttons (the default)",
    "status": "the state of every task",
    "plan": "what a build would run, and why",
    "build": "run what is stale",
    "why": "why a task would run, or would not",
    "log": "past runs, or those of a task",
    "plot": "the picture alone",
    "cancel": "stop the background build",
    "use": "work on another pipeline",
    "scaffold": "create the missing sources",
    "split": "turn one notebook into a pipeline of scripts",
}


class HelpAsked(Exception):
    """``-h`` was among the options; the argument is the text to show."""


class LineParser(argparse.ArgumentParser):
    """An argument parser that never prints and never exits.

    Attributes:
        takes_overrides: whether ``--env--KEY VALUE`` may be among the words.
    """

    takes_overrides = False

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, add_help=False, allow_abbrev=False)
        self.add_argument("-h", "--help", action="store_true", help="show this text")

    def error(self, message: str) -> NoReturn:
        """A mistake in the line."""
        unknown = message.removeprefix("unrecognized arguments: ").split()[0]
        options = [option for action in self._actions for option in action.option_strings]
        near = did_you_mean(unknown, options) if unknown.startswith("-") else None
        hint = near if near and near.startswith("did") else f"{self.prog} -h shows what there is"
        raise UsageError(f"{self.prog}: {message}", hint)

    def parse_line(self, line: str) -> argparse.Namespace:
        """Split a line as a shell does, and parse it.

        Raises:
            UsageError: a mistake in it.
            HelpAsked: it holds ``-h`` or ``--help``.
        """
        return self.parse_words(split_line(line, self.prog))

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse words that are split already.

        Raises:
            UsageError: a mistake in them.
            HelpAsked: ``-h`` or ``--help`` is among them.
        """
        if {"-h", "--help"} & set(words):
            raise HelpAsked(self.format_help())
        overrides: dict[str, str] = {}
        if self.takes_overrides:
            from nbpipe.store.env import split_overrides

            overrides, words = split_overrides(list(words))
        parsed: argparse.Namespace = self.parse_args(words)
        parsed.overrides = overrides
        return parsed


def split_line(line: str, prog: str) -> list[str]:
    """The words of a line; quotes join.

    Raises:
        UsageError: a quote is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{prog}: {error}", "close the quote, or put a \\ before it") from None


def _names(parser: LineParser, what: str) -> None:
    parser.add_argument("names", nargs="*", metavar="TASK", help=what)


def _setting(text: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if not (mark and key.isidentifier()):
        raise argparse.ArgumentTypeError(f"'{text}' is not KEY=VALUE")
    return key, value


def _build() -> LineParser:
    parser = LineParser("%pipeline build", "Run what is stale; returns a report, with --bg a run.")
    _names(parser, "tasks or wildcards, with their upstreams; none: all")
    parser.add_argument("--upstream-of", metavar="TASK", help="all that TASK needs, without TASK")
    parser.add_argument("-f", "--force", action="store_true", help="run also what is fresh")
    parser.add_argument("-k", "--keep-going", action="store_true", help="go on after a failure")
    parser.add_argument("-j", "--jobs", type=int, metavar="N", help="tasks at once; default: cores")
    parser.add_argument("--bg", action="store_true", help="in a process of its own")
    parser.add_argument("--executor", metavar="NAME", help="what runs the tasks; default: local")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="KEY=VALUE",
        dest="settings",
        help="a setting of what is named by --executor",
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="of Dask: short for --set scheduler=ADDRESS"
    )
    parser.add_argument("--dry-run", action="store_true", help="only tell what would run")
    return parser


def _plan() -> LineParser:
    parser = LineParser("%pipeline plan", "What a build would run, and why.")
    _names(parser, "tasks or wildcards, with their upstreams; none: all")
    parser.add_argument("--upstream-of", metavar="TASK", help="all that TASK needs, without TASK")
    parser.add_argument("-f", "--force", action="store_true", help="as if nothing were fresh")
    return parser


_ARGUMENTS = {
    "why": ("task", True, "the task in question"),
    "log": ("task", False, "only the runs of this task"),
    "split": ("notebook", True, "the notebook, whose headings become tasks"),
    "use": (
        "path",
        True,
        "a spec file, or a folder from which it is looked for upward; '--env--KEY VALUE' after it "
        "is another value for a key of env.yaml",
    ),
}


def _described(name: str) -> LineParser:
    text = SUBCOMMANDS[name]
    return LineParser(f"%pipeline {name}", f"{text[0].upper()}{text[1:]}.")


def _one(name: str) -> LineParser:
    argument, required, help_text = _ARGUMENTS[name]
    parser = _described(name)
    parser.add_argument(
        argument, nargs=None if required else "?", metavar=argument.upper(), help=help_text
    )
    parser.takes_overrides = name == "use"
    return parser


def pipeline_parser(name: str) -> LineParser:
    """The parser of ``%pipeline NAME``."""
    if name == "build":
        return _build()
    if name == "plan":
        return _plan()
    return _one(name) if name in _ARGUMENTS else _described(name)


def upstream_parser() -> LineParser:
    """The parser of ``%upstream``."""
    parser = LineParser(
        "%upstream", "Give this notebook its upstream and product, or the products of some tasks."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="tasks; none: what this task needs"
    )
    parser.add_argument("--task", metavar="T", help="which task this notebook is")
    parser.add_argument("--build", action="store_true", help="build first what is stale")
    parser.add_argument("--load", action="store_true", help="values instead of paths, by suffix")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    return parser


def task_parser() -> LineParser:
    """The parser of ``%%task``."""
    parser = LineParser("%%task", "Make this cell a task of the pipeline.")
    parser.add_argument("name", metavar="NAME", help="of the task")
    parser.add_argument("-u", "--upstream", action="append", metavar="UP", help="a task it reads")
    parser.add_argument(
        "-p", "--product", action="append", default=[], metavar="KEY=PATH", help="what it makes"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--run", action="store_true", help="in a clean kernel, as a build would")
    how.add_argument("--write", metavar="PATH", help="move it into a script and pipeline.yaml")
    parser.add_argument("--force", action="store_true", help="run what is fresh; overwrite PATH")
    return parser


def pipeline_help() -> str:
    """The text of ``%pipeline -h``."""
    width = max(map(len, SUBCOMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {text}" for name, text in SUBCOMMANDS.items())
    return (
        f"usage: %pipeline [SUBCOMMAND] [-h] …\n\n{listed}\n\n%pipeline SUBCOMMAND -h tells more."
    )


def options_of(parser: LineParser) -> Sequence[str]:
    """The long and short options of a parser, for completion."""
    actions: list[Any] = parser._actions
    return [option for action in actions for option in action.option_strings]
