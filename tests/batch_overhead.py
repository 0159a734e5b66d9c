"""What AWS Batch costs per task beside a local build: ``python -m tests.batch_overhead``.

Twelve functions that do next to nothing, and one that adds up, as jobs of an emulator that runs
each in a container here. It needs what ``make podman`` needs.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests import engines
from tests.overhead import ROUNDS, TASKS, seconds_per_task
from tests.podman_rig import why_not
from tests.test_batch_containers import Site, running_site


def on_batch(site: Site, folder: Path) -> float:
    """The median of some submissions, each into a new store, with the image made before."""
    image, found = site.podman.image("grid"), []
    for number in range(ROUNDS):
        root = engines.grid(folder / str(number) / "grid")
        began = time.monotonic()
        site.submit(root, image, f"s3://nbpipe-batch/overhead-{number}")
        found.append((time.monotonic() - began) / TASKS)
    return statistics.median(found)


def main() -> None:
    """Print a table."""
    if (reason := why_not()) is not None:
        sys.exit(reason)
    with contextlib.ExitStack() as stack:
        local, ours = (Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2))
        print(f"{'this machine':<35} {seconds_per_task(local, []):6.2f} s a task")
        site = stack.enter_context(running_site(ours))
        print(f"{'AWS Batch, emulated':<35} {on_batch(site, ours):6.2f} s a task")


if __name__ == "__main__":
    main()
