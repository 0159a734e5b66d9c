"""``interact``: an IPython session with the pipeline loaded."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from nbpipe.cli.app import entry_point

_BANNER = """\
dag: {name}, {count}
  dag['{first}'].status, .product, .load(), .build(), .debug() · dag.build() · dag.status()
  %pipeline shows it; modules that you edit are imported anew
"""


@click.command()
@entry_point
def interact(entry_point: str | None) -> None:
    """Start an IPython session in which 'dag' is the pipeline.

    The project's modules can be imported there, and are imported anew when they are edited. After
    an edit of pipeline.yaml, 'dag = dag.render()' loads it again.
    """
    import IPython
    from traitlets.config import Config

    from nbpipe.pipeline import Pipeline
    from nbpipe.views.words import plural

    dag = Pipeline.load(entry_point, call=True)
    config = Config()
    config.InteractiveShellApp.extensions = ["autoreload", "nbpipe"]
    config.InteractiveShellApp.exec_lines = ["%autoreload 2"]
    config.TerminalInteractiveShell.banner1 = _BANNER.format(
        name=dag.name, count=plural(len(dag), "task"), first=next(iter(dag))
    )
    os.chdir(dag.root)
    sys.path.insert(0, str(dag.root))
    start: Any = IPython.start_ipython
    start(argv=[], user_ns={"dag": dag}, config=config)
