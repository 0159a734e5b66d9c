"""Time magics in a fresh kernel of this environment, in this folder.

Prints one line of JSON with milliseconds. With an argument, ``load`` or ``status``, that magic is
profiled instead, into ``.benchmark.profile``.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

from jupyter_client.manager import start_new_kernel

TIMES = 15
MAGICS = {"load": ("load_ext", "nbpipe"), "status": ("pipeline", "status")}
INSIDE = """
import time
began = time.perf_counter()
table = get_ipython().run_line_magic("pipeline", "status")
print((time.perf_counter() - began) * 1000)
"""
PROFILE = """
import cProfile
profile = cProfile.Profile()
shown = profile.runcall(get_ipython().run_line_magic, {name!r}, {argument!r})
profile.runcall(get_ipython().display_formatter.format, shown)
profile.dump_stats(".benchmark.profile")
"""


class Live:
    """A kernel that runs cells and tells how long each took."""

    def __init__(self) -> None:
        self.manager, self.client = start_new_kernel()
        self.printed = ""

    def milliseconds(self, code: str) -> float:
        """From sending a cell until the kernel is idle again and has replied."""
        self.printed = ""
        began = time.perf_counter()
        request = self.client.execute(code)
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                self.printed += content["text"]
            if content.get("execution_state") == "idle":
                break
        reply = self.client.get_shell_msg(timeout=60)
        took = (time.perf_counter() - began) * 1000
        if reply["content"]["status"] != "ok":
            sys.exit(f"{code}: {reply['content']}")
        return took

    def inside(self) -> float:
        """What the magic itself takes."""
        self.milliseconds(INSIDE)
        return float(self.printed)


def measure(live: Live) -> dict[str, float]:
    """Milliseconds of both magics, and of empty cells between them."""
    empty = [live.milliseconds("pass") for _ in range(10)]
    loaded = live.milliseconds("%load_ext nbpipe")
    first = live.milliseconds("%pipeline status")
    status = []
    for _ in range(TIMES):
        empty.append(live.milliseconds("pass"))
        status.append(live.milliseconds("%pipeline status"))
    return {
        "empty": statistics.median(empty),
        "load": loaded,
        "first status": first,
        "status": statistics.median(status),
        "inside status": statistics.median(live.inside() for _ in range(TIMES)),
    }


def profile(live: Live, what: str) -> None:
    """Profile one magic: the first load, or a later status."""
    if what == "status":
        live.milliseconds("%load_ext nbpipe")
        live.milliseconds("%pipeline status")
    name, argument = MAGICS[what]
    live.milliseconds(PROFILE.format(name=name, argument=argument))


kernel = Live()
try:
    if sys.argv[1:] in (["load"], ["status"]):
        profile(kernel, sys.argv[1])
    else:
        print(json.dumps(measure(kernel)))
finally:
    kernel.client.stop_channels()
    kernel.manager.shutdown_kernel(now=True)
