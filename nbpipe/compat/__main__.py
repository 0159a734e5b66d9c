"""``python -m nbpipe.compat``: nbpipe, or a script, with the imports of ploomber answered.

``python -m nbpipe.compat build`` is ``nbpipe build`` for a project whose pipeline.yaml does not
ask for it; ``python -m nbpipe.compat script.py`` runs a script of such a project.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from nbpipe.executors import aliases, inside


def main() -> None:
    """Have it in this process and all that it starts, then do what is asked."""
    os.environ[inside.COMPAT] = "ploomber"
    aliases.install("ploomber")
    asked = sys.argv[1:]
    if asked and asked[0].endswith(".py"):
        sys.argv = asked
        sys.path[0] = str(Path(asked[0]).resolve().parent)
        runpy.run_path(asked[0], run_name="__main__")
        return
    runpy.run_module("nbpipe", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
