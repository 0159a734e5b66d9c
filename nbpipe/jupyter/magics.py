"""``%pipeline``, ``%upstream`` and ``%%task``: each parses, calls the API and renders.

Every notebook that says ``%load_ext nbpipe`` waits for this module, so it imports nothing that a
shell has not loaded already: what a magic needs is imported when it is first used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from nbpipe.jupyter import forms
from nbpipe.jupyter.completer import make_matcher
from nbpipe.jupyter.session import Session


@magics_class
class PipelineMagics(Magics):
    """The magics. Nothing of theirs is put into the user's namespace unless a magic says so."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.session = Session(shell)

    @no_var_expand
    @line_magic
    def pipeline(self, line: str) -> Any:
        """Show, build and question the pipeline of this notebook.

        %pipeline                     the DAG, live, with buttons
        %pipeline status              the state of every task
        %pipeline plan [TASK…]        what a build would run, and why
        %pipeline build [TASK…]       run what is stale; --bg in a process of its own
        %pipeline why TASK            why a task would run, or would not
        %pipeline log [TASK]          past runs, or those of a task
        %pipeline plot                the picture alone
        %pipeline cancel              stop the background build
        %pipeline use PATH            work on another pipeline
        %pipeline scaffold            create the missing sources
        %pipeline split NOTEBOOK      turn one notebook into a pipeline of scripts

        %pipeline SUBCOMMAND -h tells more.
        """
        return self._answer(lambda: self._pipeline(line))

    @no_var_expand
    @line_magic
    def upstream(self, line: str) -> None:
        """Give this notebook its `upstream` and `product`, or the products of some tasks.

        %upstream                     what this task needs, and where it writes
        %upstream get fit             the products of these tasks, in any notebook
        %upstream --build             build first what is stale
        %upstream --load              values instead of paths, by suffix
        %upstream --task T            this notebook is the task T
        """
        from nbpipe.jupyter import parsing, upstream_commands

        self._answer(
            lambda: upstream_commands.run(self.session, parsing.upstream_parser().parse_line(line))
        )

    @no_var_expand
    @cell_magic
    def task(self, line: str, cell: str) -> Any:
        """Make this cell a task of the pipeline.

        %%task NAME                   run it here, with upstream and product bound
        %%task NAME --run             run it in a clean kernel, as a build would, and record it
        %%task NAME --write PATH      move it into a script and add it to pipeline.yaml

        -u UP names a task that it reads (else upstream['UP'] in the body does),
        -p KEY=PATH what it makes.
        """
        from nbpipe.jupyter import parsing, task_commands

        return self._answer(
            lambda: task_commands.run(self.session, parsing.task_parser().parse_line(line), cell)
        )

    def _pipeline(self, line: str) -> Any:
        from nbpipe.jupyter import parsing, pipeline_commands

        words = parsing.split_line(line, "%pipeline")
        if words[:1] in (["-h"], ["--help"]):
            raise parsing.HelpAsked(parsing.pipeline_help())
        name = words[0] if words and not words[0].startswith("-") else "show"
        if name not in parsing.SUBCOMMANDS:
            from nbpipe.errors import UsageError, did_you_mean

            raise UsageError(
                f"%pipeline: no subcommand '{name}'", did_you_mean(name, parsing.SUBCOMMANDS)
            )
        options = parsing.pipeline_parser(name).parse_words(words[1:])
        return getattr(pipeline_commands, name)(self.session, options)

    def _answer(self, work: Callable[[], Any]) -> Any:
        from nbpipe.jupyter import parsing

        try:
            return work()
        except parsing.HelpAsked as asked:
            print(asked)
            return None


def load(shell: Any) -> None:
    """Register the magics, their completion and the forms of our values; again is harmless."""
    if isinstance(find(shell), PipelineMagics):
        return
    magics = PipelineMagics(shell)
    shell.register_magics(magics)
    shell.Completer.custom_matchers.append(make_matcher(magics.session.load))
    forms.register(shell)


def unload(shell: Any) -> None:
    """Take back all that :func:`load` did."""
    magics = find(shell)
    for kind, name in (("line", "pipeline"), ("line", "upstream"), ("cell", "task")):
        shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop(PipelineMagics.__name__, None)
    matchers = shell.Completer.custom_matchers
    matchers[:] = [m for m in matchers if getattr(m, "matcher_identifier", "") != "nbpipe"]
    forms.unregister(shell)
    panel = sys.modules.get("nbpipe.jupyter.panel")
    if panel is not None and magics is not None:
        panel.close_panels(magics.session)


def find(shell: Any) -> Any:
    """The registered magics of a shell; None: not loaded."""
    method = shell.magics_manager.magics["line"].get("pipeline")
    return getattr(method, "__self__", None)
