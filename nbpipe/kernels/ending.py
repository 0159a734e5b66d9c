"""How a forked kernel ends: its children, its last message, its threads and its sockets.

What ipykernel does, in an order in which nothing waits for something that has ended already.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
from collections.abc import Callable
from typing import Any

FLUSH_SECONDS = 1.0
"""How long the last message may wait for the thread that sends outputs."""


def take_over(app: Any, kernel: Any) -> None:
    """Leave the end of threads and sockets to :func:`close`.

    Args:
        app: ipykernel's, whose sockets are there.
        kernel: its kernel.
    """
    atexit.unregister(app.close)
    atexit.unregister(app.iopub_thread.stop)
    kernel._process_children = functools.partial(_living, kernel._process_children)
    kernel._at_shutdown = functools.partial(_end_children, kernel)


def close(app: Any, kernel: Any) -> None:
    """As ``IPKernelApp.close``, but the control thread goes first.

    It may just be waiting for the thread that sends outputs, which ipykernel stops first: one exit
    in twenty would then take 10 s.
    """
    control = app.control_thread
    if control is not None and control.is_alive():
        control.stop()
        control.join(1)
    if kernel is not None:
        _say_last(app, kernel)
    app.close()


def _say_last(app: Any, kernel: Any) -> None:
    """Tell that the kernel ends, after all that its exit handlers have sent.

    ipykernel tells it before they run, so no client can know when it has heard everything.
    """
    message, thread = kernel._shutdown_message, app.iopub_thread
    if message is None or thread is None:
        return
    kernel.session.send(app.iopub_socket, message, ident=kernel._topic("shutdown"))
    sent = threading.Event()
    thread.schedule(sent.set)
    sent.wait(FLUSH_SECONDS)


async def _end_children(kernel: Any) -> None:
    """As ``Kernel._at_shutdown``, without the message, which :func:`_say_last` sends."""
    import zmq

    try:
        await kernel._progressively_terminate_all_children()
    except Exception:
        kernel.log.exception("Exception during subprocesses termination")
    if kernel.control_stream is not None:
        kernel.control_stream.flush(zmq.POLLOUT)


def _living(listed: Callable[[], list[Any]]) -> list[Any]:
    """The children that ipykernel should end.

    Not those that have ended, and that the notebook has not waited for: they stay for as long as
    the kernel does, which would wait for them until it is killed. psutil, which lists children, is
    imported only if there are any.
    """
    return [process for process in listed() if _lives(process)] if has_children() else []


def has_children() -> bool:
    """Whether this process has children, ended or not."""
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children", "rb") as file:
                if file.read(1):
                    return True
    except OSError:  # no such list here, or a thread that has just ended
        return True
    return False


def _lives(process: Any) -> bool:
    import psutil

    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
