"""Run notebooks with stock nbclient, so many at once: ``run_nbclient.py JOBS``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


async def main(jobs: int) -> None:
    """Run what todo.json lists."""
    places = asyncio.Semaphore(jobs)

    async def run(source: str, target: str) -> None:
        async with places:
            notebook = nbformat.read(source, as_version=4)
            await NotebookClient(notebook, timeout=600).async_execute()
            nbformat.write(notebook, target)

    todo = json.loads(Path("todo.json").read_text())
    await asyncio.gather(*(run(source, target) for source, target in todo))


asyncio.run(main(int(sys.argv[1])))
