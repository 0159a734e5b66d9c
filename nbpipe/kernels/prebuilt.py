"""An ipykernel in two halves: what every kernel does alike, and what belongs to one kernel.

The first half runs once, in the warm process; the second in each forked kernel. Together they do
what ``IPKernelApp.initialize`` does, by its own methods. The first half makes no thread, socket or
event loop, none of which would survive the fork.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

from ipykernel._version import __version__ as VERSION

from nbpipe.kernels import ending
from nbpipe.kernels.launching import IN_MEMORY
from nbpipe.kernels.streams import calm

LATER = ("IPython.core.logger", "IPython.extensions.storemagic", "tornado.platform.asyncio")
"""Modules that a kernel imports once it has its connection."""

BY_DEBUGGER = (
    "code",
    *(f"encodings.{name}" for name in ("ascii", "idna", "latin_1")),
    "pydoc",
    "xmlrpc.server",
)
"""Modules of the standard library that debugpy imports; these import the others."""

REHEARSALS = 8
"""Python 3.11 itself optimizes what has run eight times."""

KNOWN = (7,)
"""Major versions of ipykernel whose kernels can be made in two halves."""


def import_debugger() -> None:
    """Import ipykernel's debugger without debugpy, which costs more than all the rest.

    A kernel that nobody sits at needs no debugger. Hidden for the length of this import only: a
    notebook may import debugpy itself. What else that import leaves behind is there all the same.
    """
    hidden = "debugpy" not in sys.modules and find_spec("debugpy") is not None
    if hidden:
        sys.modules["debugpy"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("ipykernel.debugger")
    finally:
        if hidden:
            del sys.modules["debugpy"]
    if hidden:
        _import(BY_DEBUGGER)
        os.environ.setdefault("PYDEVD_USE_FRAME_EVAL", "NO")
        threading.Thread()  # uses up a name, lest those of the notebook's threads be others


class Prebuilt:
    """A kernel that waits for its connection.

    Args:
        options: of the kernel, without its connection file.
    """

    def __init__(self, options: list[str]) -> None:
        from ipykernel.kernelapp import IPKernelApp

        self.options = options
        self.app: Any = IPKernelApp.instance()
        self.kernel: Any = None
        self._run: Callable[[], object] = self.app.start
        self._names: set[str] | None = None
        # Runs after the exit handlers of all libraries, as in a kernel that imports them later.
        atexit.register(lambda: ending.close(self.app, self.app.kernel))
        if int(VERSION.split(".")[0]) in KNOWN:
            self._prepare()

    def _prepare(self) -> None:
        """The first half."""
        app = self.app
        app.parse_command_line(_in_memory(["-f", "kernel.json", *self.options]))
        app.init_crash_handler()
        given = deepcopy(app.config)
        app.init_profile_dir()
        app.init_config_files()
        app.load_config_file()
        app.update_config(given)
        app.init_pdb()
        self.kernel = app.kernel_class.instance(
            parent=app,
            session=app.session,
            log=app.log,
            profile_dir=app.profile_dir,
            user_ns=app.user_ns,
        )
        app.kernel = self.kernel
        app.init_path()
        app.init_shell()
        _import((*LATER, "nbpipe.kernels.linked"))
        self._is_extended = _extensions_are_plain(app)
        if self._is_extended:
            app.init_extensions()
        _rehearse(self.kernel)
        _drop_early(app.log)
        # Computed here, once.
        _ = app.connection_dir, tempfile.gettempdir()

    @property
    def settings(self) -> list[str]:
        """The configuration files that were read."""
        return [str(file) for file in self.app.loaded_config_files]

    @property
    def can_be_linked(self) -> bool:
        """Whether it can do without zmq."""
        from ipykernel.ipkernel import IPythonKernel

        return type(self.kernel) is IPythonKernel and not self.app.trio_loop

    @property
    def info(self) -> dict[str, Any]:
        """What the kernel says of itself; empty: a client must ask."""
        return self.kernel.kernel_info if self.kernel is not None else {}

    def connect(self, connection_file: str, arguments: list[str], *, heartbeat: bool) -> None:
        """The second half: sockets, threads, streams.

        Args:
            connection_file: which exists.
            arguments: of the kernel, with that file.
            heartbeat: whether somebody may listen to it. It costs three threads.
        """
        app = self.app
        app.parent_handle = os.getppid()  # its default was read in the warm process
        app._bind_socket = _without_limit(app._bind_socket)
        if self.kernel is None:
            app.initialize(_in_memory(arguments))
            ending.take_over(app, app.kernel)
            return
        app.config.IPKernelApp.connection_file = connection_file
        app.connection_file = connection_file
        _own_session(app.session)
        app.init_blackhole()
        app.init_connection_file()
        # The system ends this process with its parent, so no thread has to look. The name that it
        # would have had is used up, lest those of the notebook's threads be others.
        threading.Thread()
        app.init_sockets()
        ending.take_over(app, self.kernel)
        if heartbeat:
            app.init_heartbeat()
        app.write_connection_file()
        app.log_connection_info()
        app.init_io()
        calm(sys.stdout, sys.stderr)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._connect_kernel()
        self._finish_shell()

    def link(self, sock: socket.socket, connection_file: str) -> None:
        """The second half for a kernel at the end of a line: no zmq, see :mod:`linked`.

        Args:
            sock: the kernel's end of the line.
            connection_file: a path, for the command line; nobody connects to this kernel.
        """
        from nbpipe.kernels import linked, publishing

        app, kernel = self.app, self.kernel
        app.parent_handle = os.getppid()
        app.config.IPKernelApp.connection_file = app.connection_file = connection_file
        _own_session(app.session)
        app.session.key = b""  # nobody else can write to the line, so nothing is signed
        app.init_blackhole()
        threading.Thread()  # as in connect
        app.iopub_thread = publishing.Publisher(sock, app.session)
        app.iopub_socket = app.iopub_thread.background_socket
        ending.take_over(app, kernel)
        app.configure_tornado_logger()
        with publishing.redirecting(app.iopub_thread):
            app.init_io()
        app.iopub_thread.start()
        calm(sys.stdout, sys.stderr)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        kernel.shell_channel_thread = linked.ShellChannel(kernel, app.iopub_thread)
        kernel._execute_sleep = 0.0  # what was published is with the system already
        self._run = lambda: linked.run(kernel)
        self._introduce_kernel()
        self._finish_shell()

    def _connect_kernel(self) -> None:
        """As ``IPKernelApp.init_kernel`` for a kernel that is there already."""
        from zmq.eventloop.zmqstream import ZMQStream

        app, kernel = self.app, self.kernel
        threads = app.control_thread, app.shell_channel_thread
        control, channel = threads
        shell_stream = ZMQStream(app.shell_socket, channel.io_loop)
        channel.shell_stream = shell_stream
        kernel.control_stream = ZMQStream(app.control_socket, control.io_loop)
        kernel.debugpy_stream = ZMQStream(app.debugpy_socket, control.io_loop)
        control.start()
        channel.start()
        kernel.debug_shell_socket = app.debug_shell_socket
        kernel.shell_stream = shell_stream
        kernel.control_thread, kernel.shell_channel_thread = threads
        kernel.stdin_socket = app.stdin_socket
        kernel.record_ports({f"{name}_port": port for name, port in app._ports.items()})
        self._introduce_kernel()

    def _introduce_kernel(self) -> None:
        """Tell the kernel who it is, and where what it publishes goes."""
        app, kernel = self.app, self.kernel
        kernel.ident = str(uuid.uuid4())
        kernel.iopub_thread, kernel.iopub_socket = app.iopub_thread, app.iopub_socket
        kernel._stdout, kernel._stderr = sys.stdout, sys.stderr
        app.displayhook.get_execution_count = lambda: kernel.execution_count

    def _finish_shell(self) -> None:
        app, kernel = self.app, self.kernel
        shell = kernel.shell
        shell.displayhook.pub_socket = shell.display_pub.pub_socket = app.iopub_socket
        shell.displayhook.topic = kernel._topic("execute_result")
        shell._orig_sys_module_state.update(stdin=sys.stdin, stdout=sys.stdout, stderr=sys.stderr)
        if name := os.environ.get("JPY_SESSION_NAME"):
            shell.user_ns["__session__"] = name
        shell.init_environment()
        app.init_gui_pylab()
        if not self._is_extended:
            app.init_extensions()
        self._run_first_code()

    def _run_first_code(self) -> None:
        """As ``InteractiveShellApp.init_code``: what users have configured to run in each kernel.

        At its end it notes the names of all modules, which are known already unless such code has
        imported more: looking at each would cost a child many pages.
        """
        app, shell = self.app, self.kernel.shell
        if self._names is None:
            app.init_code()
            return
        loaded = len(sys.modules)
        app._run_startup_files()
        app._run_exec_lines()
        app._run_exec_files()
        if app.hide_initial_ns:
            shell.user_ns_hidden.update(shell.user_ns)
        app._run_cmd_line_code()
        app._run_module()
        sys.stdout.flush()  # so that nothing of this belongs to the first cell
        sys.stderr.flush()
        changed = len(sys.modules) != loaded
        shell._sys_modules_keys = set(sys.modules) if changed else self._names

    def note_modules(self, ours: Iterable[str]) -> None:
        """Note the names of all modules that are loaded, before the fork.

        Args:
            ours: those that a kernel will not see.
        """
        if self.kernel is not None and hasattr(self.kernel.shell, "_sys_modules_keys"):
            self._names = set(sys.modules) - set(ours)

    def start(self) -> None:
        """Run until it is shut down."""
        self._run()


def _extensions_are_plain(app: Any) -> bool:
    """Whether nothing but IPython's own is loaded, which then needs to be loaded once only.

    What an extension of the user does must happen in each kernel; and so must what ``%store`` is
    configured to bring back.
    """
    usual = app.default_extensions == type(app).default_extensions.default()
    return usual and not app.extensions and "StoreMagics" not in app.config


def _without_limit(bind: Callable[..., Any]) -> Callable[..., Any]:
    """Where 1,000 outputs wait to be sent, zmq drops the next ones and tells nobody: no limit.

    Connections take the limit that the socket had when it was bound.
    """
    import zmq

    def bind_without_limit(socket: Any, port: int) -> Any:
        if socket.type in (zmq.PUB, zmq.XPUB):
            socket.sndhwm = 0
        return bind(socket, port)

    return bind_without_limit


def _import(modules: Iterable[str]) -> None:
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def _rehearse(kernel: Any) -> None:
    """Run what every cell runs, so that caches are filled once and not in each fork."""
    shell, session = kernel.shell, kernel.session
    for _ in range(REHEARSALS):
        shell.run_cell("pass", store_history=False, silent=True)
        message = session.msg("execute_request", {"code": "pass", "silent": True})
        session.deserialize(session.feed_identities(session.serialize(message))[1])
    shell.last_execution_result = None
    session.digest_history.clear()


def _in_memory(arguments: list[str]) -> list[str]:
    """The arguments, with the history in memory unless they say where it goes."""
    given = any(word.startswith("--HistoryManager.hist_file") for word in arguments)
    return arguments if given else [*arguments, IN_MEMORY]


def _drop_early(log: logging.Logger) -> None:
    """Have messages that no handler wants dropped before they are made.

    traitlets lets its logger take all of them, and ipykernel tells twenty a cell.
    """
    if not log.propagate and log.handlers:
        log.setLevel(max(log.level, min(handler.level for handler in log.handlers)))


def _own_session(session: Any) -> None:
    """A fork must not sign or number its messages as its siblings do."""
    session.session = str(uuid.uuid4())
    session.pid = os.getpid()
    session.message_count = 0
