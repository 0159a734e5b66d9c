"""The warm processes of one kind of kernel: one that is bare, and branches that have preloaded.

A branch is forked from the branch, or the bare process, whose modules it needs as well, so that
nothing is imported twice. A kernel comes from the largest branch of which its notebook imports
every module itself, at once: it finds nothing imported that it would not have imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from nbpipe.core.model import KernelStart
from nbpipe.kernels.environment import differences, obstacle
from nbpipe.kernels.forkserver import (
    Branch,
    ForkServer,
    NoFork,
    Stale,
    Streams,
    Unlinked,
    Wanted,
)
from nbpipe.kernels.process import ForkedProcess

Modules = tuple[str, ...]


class Start(NamedTuple):
    """How a kernel was started.

    Attributes:
        how: forked, taken from the pool, or cold.
        reason: why no better way was possible, as a clause; "": there is none better.
        preloaded: modules that it found imported.
    """

    how: KernelStart
    reason: str = ""
    preloaded: tuple[str, ...] = ()


class Launch(NamedTuple):
    """What is asked for.

    Attributes:
        command: the kernel's command line.
        folder: its working folder, absolute.
        environ: its environment.
        imports: what its notebook imports before anything else, as ``module`` or ``module:name``.
        heartbeat: whether a client may want to hear that it lives.
    """

    command: list[str]
    folder: str
    environ: Mapping[str, str]
    imports: tuple[str, ...] = ()
    heartbeat: bool = True


class Trunk:
    """A bare warm process and its branches. All start when the object is made.

    Args:
        python: the interpreter, with its options.
        options: of every kernel, without the connection file.
        launch: one of the kernels; tells the folder, and the usual environment.
        sets: modules to preload, a branch each.
        always: modules that every kernel finds imported.
    """

    def __init__(
        self,
        python: Sequence[str],
        options: Sequence[str],
        launch: Launch,
        sets: Iterable[Modules],
        always: Modules,
    ) -> None:
        self._always = always
        self._sets: dict[frozenset[str], Modules] = {}
        self._unfit: dict[str, str] = {}
        self._branches: dict[frozenset[str], Branch] = {}
        self.server = ForkServer(python, options, launch.folder, launch.environ)
        self.add_sets([always, *sets])

    def add_sets(self, sets: Iterable[Modules]) -> None:
        """Preload further sets of modules.

        Raises:
            NoFork: the bare process has ended.
        """
        new = {frozenset(one): one for one in sets if one}
        self._sets = new | self._sets
        for modules in sorted(new, key=len):
            self._branch(modules)

    def alive(self) -> bool:
        """Whether it can fork."""
        return self.server.alive()

    def retire(self) -> None:
        """Have every process end as soon as it has no kernels any more."""
        for forker in (*self._branches.values(), self.server):
            forker.retire()

    def close(self) -> None:
        """End every process, with its kernels. Calling it twice is harmless."""
        for branch in self._branches.values():
            branch.close()
        self.server.close()

    async def fork(self, launch: Launch, streams: Streams) -> tuple[ForkedProcess, Start]:
        """A kernel that can be spoken to, and how it was started.

        Raises:
            Stale: what the bare process has loaded has changed on the disk.
            Unlinked: it was to have a line, and needs zmq.
            NoFork: it must be started cold.
        """
        changes = differences(self.server.environ, launch.environ)
        wanted = Wanted(
            arguments=launch.command[launch.command.index("-m") + 2 :],
            environ=changes,
            heartbeat=launch.heartbeat,
        )
        reason = ""
        if against := obstacle(changes):
            if against.start == "cold":
                raise NoFork(against.reason)
            reason = f"nothing is preloaded: {against.reason}"
        while not reason and (modules := self._largest(launch.imports)):
            branch = self._branch(modules)
            try:
                process = await branch.fork(wanted, streams)
            except Unlinked:
                raise
            except NoFork as error:
                reason = "" if self._mend(modules, branch, error) else str(error)
            else:
                return process, Start("fork", self._left_out(modules, branch), branch.modules)
        process = await self.server.fork(wanted, streams)
        return process, Start("fork", reason or self._left_out_of(launch.imports))

    def _left_out(self, modules: frozenset[str], branch: Branch) -> str:
        return self._left_out_of(m for m in self._sets[modules] if m not in branch.modules)

    def _left_out_of(self, modules: Iterable[str]) -> str:
        unfit = [(name, self._unfit[name]) for name in modules if name in self._unfit]
        return "; ".join(f"{name} is not preloaded: {why}" for name, why in unfit)

    def _largest(self, imports: Modules) -> frozenset[str]:
        """The set of a branch that a kernel may come from; empty: none but the bare process."""
        known = {*imports, *self._always}
        return max((s for s in self._sets if s <= known), key=len, default=frozenset())

    def _branch(self, modules: frozenset[str]) -> Branch:
        """The branch of a set, made when it is not there.

        Raises:
            NoFork: the process that it would be forked from has ended.
        """
        if modules not in self._branches:
            parents = [s for s in self._branches if s < modules]
            parent = self._branches[max(parents, key=len)] if parents else self.server
            have = parent.modules if isinstance(parent, Branch) else ()
            fit = [m for m in self._sets[modules] if m not in have and m not in self._unfit]
            self._branches[modules] = parent.branch(fit)
        return self._branches[modules]

    def _mend(self, modules: frozenset[str], branch: Branch, error: NoFork) -> bool:
        """After a failure of a branch: whether another try makes sense.

        It does when its files have changed, or when it ended, or one that it is forked from,
        because of a module, which is then left out everywhere.
        """
        if self._branches.get(modules) is not branch:  # another kernel has seen to it
            return modules in self._sets
        if isinstance(error, Stale):
            self._branches.pop(modules).retire()
            return True
        found = False
        for one in [s for s in self._branches if s <= modules]:
            if (unfit := self._branches[one].unfit_module()) is not None:
                self._branches.pop(one).close()
                self._unfit.setdefault(*unfit)
                found = True
        if (broken := self._branches.pop(modules, None)) is not None:
            broken.close()
        if not found:
            del self._sets[modules]
        return found
