"""``python -m tests.faults.small_build FOLDER``: a build in one thread, for strace to watch.

System calls are counted by thread, so what a build hands to threads is called at once instead: the
calls and their order are the same.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbpipe import InlineExecutor, NbpipeError, Pipeline
from tests.projects import fake_work


async def _at_once(call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    return call(*args, **named)


def main(folder: str) -> int:
    """Build; returns the exit code of the command line."""
    asyncio.to_thread = _at_once  # type: ignore[assignment]
    try:
        pipeline = Pipeline.load(Path(folder))
        return pipeline.build(executor=InlineExecutor(fake_work), jobs=1).exit_code
    except NbpipeError as error:
        print(f"{type(error).__name__}: {error}")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
