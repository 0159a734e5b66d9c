"""Runs tasks on a Dask cluster: an existing one, or one of threads in this process.

Each task is one Dask task, ``dask_worker.attend``, which runs ``nbpipe task NAME --only`` in a
process of its own. The project's folder is where the workers find it too, or a store is shared.
A worker that dies in mid-task is Dask's business: the scheduler gives the task to another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from dask.system import CPU_COUNT
from distributed import Client, Event, Future, LocalCluster
from distributed.system import MEMORY_LIMIT

from nbpipe.core import events as ev
from nbpipe.core.model import Job, Outcome, Resources
from nbpipe.errors import UsageError
from nbpipe.executors.base import Emit
from nbpipe.executors.dask_worker import BEGUN, GRACE, POLL, Order, attend
from nbpipe.executors.processes import to_the_end
from nbpipe.executors.sentoff import Ending, Told, failed, outcome

CONNECT = 20.0
"""Seconds until a scheduler counts as unreachable."""


class _Sent:
    """A job that was given to the cluster."""

    def __init__(self, task: str, emit: Emit) -> None:
        self.name = f"{task}-{uuid.uuid4().hex}"  # Dask's dashboard leaves the number out
        self.begun = False
        self._told = Told()
        self._emit = emit

    def take(self, line: str) -> None:
        """Hear of it from the worker."""
        if line == BEGUN:
            self.begun = True
        elif (event := self._told.take(line)) is not None:
            self._emit(msgspec.structs.replace(event, time=0.0))


class DaskExecutor:
    """Sends whole tasks to a Dask cluster.

    Args:
        scheduler: its address, such as ``tcp://10.0.0.1:8786``; None: what Dask's own
            configuration names (``DASK_SCHEDULER_ADDRESS``), else a cluster in this process.
        folder: the project's folder on the workers; None: where it is here.
        workers: how many tasks the cluster in this process runs at once; None: its cores.

    Raises:
        UsageError: ``workers`` is no positive number, or goes with a scheduler.
    """

    records_itself: Literal[True] = True

    def __init__(
        self, scheduler: str | None = None, folder: str | None = None, workers: str | None = None
    ) -> None:
        if workers is not None and (scheduler or not workers.isdecimal() or int(workers) < 1):
            hint = "give a positive number, and no scheduler"
            raise UsageError(f"executor 'dask': workers={workers} is not possible", hint)
        self._scheduler = scheduler
        self._folder = folder
        self._workers = None if workers is None else int(workers)
        self._opening: asyncio.Task[Client] | None = None
        self._cluster: LocalCluster | None = None
        self._topic = f"nbpipe-{uuid.uuid4().hex}"
        self._sent: dict[str, _Sent] = {}

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Run a job on some worker, as :class:`~nbpipe.executors.base.RecordsItself` says."""
        try:
            client = await self._client()
        except (OSError, ValueError) as error:
            hint = "start one (dask scheduler), or mend the address"
            return failed(job, "NoScheduler", f"no Dask scheduler: {error}", hint)
        workers = (await client.scheduler.identity())["workers"].values()
        wishes, short = wanted(job.resources, [worker["resources"] for worker in workers])
        for message in short if workers else ["waits: the Dask cluster has no worker yet"]:
            emit(ev.Warned(task=job.task, message=message))
        sent = _Sent(job.task, emit)
        order = Order(
            job=msgspec.json.encode(job), topic=self._topic, name=sent.name, folder=self._folder
        )
        self._sent[sent.name] = sent
        future = client.submit(attend, order, key=sent.name, resources=wishes, pure=False)
        try:
            where, said = await future
        except asyncio.CancelledError:
            await to_the_end(self._stop(client, sent, future))
            raise
        except Exception as error:
            hint = "see the logs of the scheduler and of the workers"
            return failed(job, type(error).__name__, str(error), hint)
        finally:
            del self._sent[sent.name]
            future.release()
        return outcome(job, msgspec.json.decode(said, type=Ending), f"worker {where}")

    async def close(self) -> None:
        """Leave the cluster; the one in this process ends."""
        opening, self._opening = self._opening, None
        if opening is not None:
            with contextlib.suppress(Exception):
                await (await opening).close()
        if self._cluster is not None:
            await self._cluster.close()
            self._cluster = None

    async def _client(self) -> Client:
        """The connection, which the first job opens for all."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> Client:
        import dask

        address: Any = self._scheduler or dask.config.get("scheduler-address", None)
        if address is None:
            address = self._cluster = await _own_cluster(self._workers)
        client = await Client(address, asynchronous=True, set_as_default=False, name="nbpipe")
        client.subscribe_topic(self._topic, self._hear)
        return client

    def _hear(self, event: tuple[float, list[str]]) -> None:
        name, line = event[1]
        if (sent := self._sent.get(name)) is not None:
            sent.take(line)

    async def _stop(self, client: Client, sent: _Sent, future: Future) -> None:
        """End a job wherever it is. To cancel the future would not stop what runs."""
        with contextlib.suppress(Exception):
            await Event(sent.name, client=client).set()
            if sent.begun:
                async with asyncio.timeout(2 * POLL + GRACE + 5.0):
                    await future
        with contextlib.suppress(Exception):
            await future.cancel()


async def _own_cluster(workers: int | None) -> LocalCluster:
    """A cluster in this process; what runs in it is the watching alone."""
    places = workers or CPU_COUNT
    return await LocalCluster(
        n_workers=1,
        threads_per_worker=places,
        processes=False,
        dashboard_address=None,
        memory_limit=0,
        asynchronous=True,
        resources={"CPU": places, "MEMORY": MEMORY_LIMIT},
    )


def wanted(
    resources: Resources, workers: Iterable[Mapping[str, float]]
) -> tuple[dict[str, float], list[str]]:
    """What Dask is asked for, and what there is too little of.

    A worker offers what it was started with (``dask worker --resources "CPU=8 GPU=1"``). What none
    offers cannot be asked for: Dask would wait for such a worker for ever. Of what is offered, no
    more is asked for than the best worker has.

    Args:
        resources: what the task asks for.
        workers: what each worker offers.
    """
    most: dict[str, float] = {}
    for worker in workers:
        for name, amount in worker.items():
            most[name] = max(most.get(name, 0.0), amount)
    asked = {"CPU": resources.cpu if resources.cpu is not None else 1.0}
    asked |= {"MEMORY": resources.memory or 0, "GPU": resources.gpu or 0}
    wishes = {n: min(v, most[n]) for n, v in asked.items() if v > 0 and n in most}
    short = [
        f"asks for {v:g} {n}, and no worker offers more than {most[n]:g}"
        for n, v in asked.items()
        if n in most and v > most[n]
    ]
    return wishes, short
