"""A build in this process: signals in the main thread, a thread of its own under an event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nbpipe.core.progress import Progress
from nbpipe.run.report import BuildReport
from nbpipe.run.runner import Runner


def run_to_end(runner: Runner, on_wait: Callable[[], None] | None = None) -> BuildReport:
    """Run to the end, in this thread when no event loop runs in it, else in another.

    Args:
        runner: not yet started.
        on_wait: called in this thread about ten times a second while the build runs in another;
            asks for another thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if on_wait is None:
            return asyncio.run(_attended(runner))
    return _run_in_thread(runner, on_wait or (lambda: None))


async def _attended(runner: Runner) -> BuildReport:
    caught: list[int] = []
    with _signals(runner, caught):
        progress = await runner.run()
    return _report(progress, caught)


def _report(progress: Progress, caught: list[int]) -> BuildReport:
    code = {"done": 0, "failed": 1}.get(progress.state, 128 + (caught[0] if caught else 2))
    return BuildReport(
        run=progress.run,
        state=progress.state,
        seconds=progress.seconds,
        tasks=progress.tasks,
        warnings=tuple(progress.warnings),
        exit_code=code,
    )


@contextmanager
def _signals(runner: Runner, caught: list[int]) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP end the run in order; a second one gives up at once.

    SIGHUP comes when the terminal is closed; a build under ``nohup`` ignores it.
    """
    if threading.current_thread() is not threading.main_thread() or os.name == "nt":
        yield
        return
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()

    def handle(number: int) -> None:
        caught.append(number)
        if len(caught) == 1:
            runner.stop(number)
        elif main is not None:
            main.cancel()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    for number in numbers:
        loop.add_signal_handler(number, handle, int(number))
    try:
        yield
    finally:
        for number, old in zip(numbers, before, strict=True):
            loop.remove_signal_handler(number)
            signal.signal(number, old)


def _run_in_thread(runner: Runner, on_wait: Callable[[], None]) -> BuildReport:
    """For callers with a running event loop; an interrupt of the caller ends the run."""
    result: list[Progress] = []
    errors: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []
    started, ended = threading.Event(), threading.Event()

    async def work() -> None:
        loops.append(asyncio.get_running_loop())
        started.set()
        result.append(await runner.run())

    def target() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            errors.append(error)
        finally:
            started.set()
            ended.set()

    thread = threading.Thread(target=target, name="nbpipe-build", daemon=True)
    thread.start()
    started.wait()
    interrupted = False
    with _interruptible():
        # Not with join(): in Python 3.11 an interrupt in it makes the thread count as ended.
        while not ended.is_set():
            try:
                ended.wait(0.1)
                on_wait()
            except KeyboardInterrupt:
                interrupted = True
                loops[0].call_soon_threadsafe(runner.stop)
    if errors:
        raise errors[0]
    report = _report(result[0], [signal.SIGINT] if interrupted else [])
    if interrupted:
        raise KeyboardInterrupt
    return report


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt: asyncio.run waits for its loop, which we are blocking."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
