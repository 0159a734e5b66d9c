"""Jupyter Server's extension: scripts opened as notebooks show the cell with their values.

It puts a layer over whatever contents manager the server runs, sync or async, jupytext's or
another: reading a task's source adds the cell, saving takes it out again. What is no source of a
task passes untouched, and nothing that goes wrong in here keeps a file from being opened or saved.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

from nbpipe.jupyter.contents_cells import same_content, with_live_cells, without_live_cells
from nbpipe.jupyter.contents_tasks import Found, Tasks
from nbpipe.jupyter.contents_text import paired, put_back_if_same

_MARK = "_nbpipe_layer"
"""Attribute of a contents manager's class that has the layer."""

Model = dict[str, Any]


def _load_jupyter_server_extension(app: Any) -> None:
    """Called by Jupyter Server when it loads its extensions, in the order of their names."""
    _extend_all(app)
    # An extension that loads later may put another manager in place, as jupytext's does.
    app.io_loop.add_callback(_extend_all, app)


async def _start_jupyter_server_extension(app: Any) -> None:
    """Called by Jupyter Server (newer ones) when all extensions are loaded."""
    _extend_all(app)


def _extend_all(app: Any) -> None:
    for manager in (app.contents_manager, app.web_app.settings.get("contents_manager")):
        if manager is not None and extend(manager):
            app.log.info("nbpipe | scripts of pipelines open with their injected cell")


def extend(manager: Any) -> bool:
    """Put the layer over a contents manager; returns False when it has one.

    The object stays the same, since the server and other extensions hold on to it, and so do
    its settings and hooks; its class becomes one derived from what it was.
    """
    base: Any = type(manager)
    if hasattr(base, _MARK):
        return False
    layer = _Layer(base)
    methods = {"get": layer.get_method(), "save": layer.save_method(), _MARK: layer}
    if hasattr(base, "check_and_sign"):
        methods["check_and_sign"] = layer.sign_method()
    manager.__class__ = type(base)(f"{base.__name__}WithNbpipe", (base,), methods)
    return True


class _Layer:
    """Makes the two methods of a contents manager that are replaced.

    Args:
        base: the manager's class.
    """

    def __init__(self, base: type) -> None:
        self.base: Any = base
        self.tasks = Tasks()

    def get_method(self) -> Callable[..., Any]:
        """``get`` with the cell added to notebooks that are a task's source."""
        below = self.base.get
        if not inspect.iscoroutinefunction(below):

            @wraps(below)
            def get(manager: Any, path: str, *args: Any, **options: Any) -> Model:
                model: Model = below(manager, path, *args, **options)
                if _wants_content(args, options):
                    self.add(manager, path, model)
                return model

            return get

        @wraps(below)
        async def get_async(manager: Any, path: str, *args: Any, **options: Any) -> Model:
            model: Model = await below(manager, path, *args, **options)
            if _wants_content(args, options):
                await asyncio.to_thread(self.add, manager, path, model)
            return model

        return get_async

    def save_method(self) -> Callable[..., Any]:
        """``save`` with the cell taken out, and without a write where nothing was edited."""
        below, get = self.base.save, self.base.get
        if not inspect.iscoroutinefunction(below):

            @wraps(below)
            def save(manager: Any, model: Model, path: str = "") -> Model:
                model = self.take_out(model)
                saving = self.begin(manager, model, path)
                if saving is None:
                    return below(manager, model, path)  # type: ignore[no-any-return]
                if saving.unchanged(_tried(lambda: get(manager, path, type="notebook"))):
                    return get(manager, path, content=False)  # type: ignore[no-any-return]
                saved: Model = below(manager, model, path)
                return get(manager, path, content=False) if saving.undone() else saved

            return save

        @wraps(below)
        async def save_async(manager: Any, model: Model, path: str = "") -> Model:
            model = self.take_out(model)
            saving = await asyncio.to_thread(self.begin, manager, model, path)
            if saving is None:
                return await below(manager, model, path)  # type: ignore[no-any-return]
            try:
                old = await get(manager, path, type="notebook")
            except Exception:
                old = None
            if saving.unchanged(old):
                return await get(manager, path, content=False)  # type: ignore[no-any-return]
            saved: Model = await below(manager, model, path)
            return await get(manager, path, content=False) if saving.undone() else saved

        return save_async

    def sign_method(self) -> Callable[..., Any]:
        """``check_and_sign`` for what the file holds: trusting a notebook reads it through us."""
        below = self.base.check_and_sign

        @wraps(below)
        def check_and_sign(manager: Any, nb: Any, *args: Any, **options: Any) -> Any:
            bare = type(nb)(nb)
            without_live_cells(bare)
            return below(manager, bare, *args, **options)

        return check_and_sign

    def add(self, manager: Any, path: str, model: Model) -> None:
        """Add the cell to what was read, if it is a task's source."""
        notebook = model.get("content")
        if model.get("type") != "notebook" or not isinstance(notebook, dict):
            return
        try:
            files = _files(manager, path, notebook)
            shown = next(filter(None, (self.tasks.shown(f, notebook) for f in files)), None)
            if shown is not None:
                with_live_cells(notebook, shown)
        except Exception:
            manager.log.warning("nbpipe | no cell for %s", path, exc_info=True)

    def take_out(self, model: Model) -> Model:
        """A model to save without our cells; the very same when it has none."""
        notebook = model.get("content")
        if model.get("type") != "notebook" or not isinstance(notebook, dict):
            return model
        bare = type(notebook)(notebook)
        return {**model, "content": bare} if without_live_cells(bare) else model

    def begin(self, manager: Any, model: Model, path: str) -> _Saving | None:
        """What to look at while a task's source is saved; None: it is none."""
        notebook = model.get("content")
        if model.get("type") != "notebook" or not isinstance(notebook, dict):
            return None
        try:
            files = filter(os.path.isfile, _files(manager, path, notebook))
            found = next(filter(None, map(self.tasks.source, files)), None)
            return _Saving(manager, found, notebook) if found else None
        except Exception:
            manager.log.warning("nbpipe | saving %s as any file", path, exc_info=True)
            return None


class _Saving:
    """One save of a task's source.

    Args:
        manager: the contents manager.
        found: the source.
        notebook: what is saved.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(self, manager: Any, found: Found, notebook: dict[str, Any]) -> None:
        self._manager = manager
        self._found = found
        self._notebook = notebook
        self._before = Path(found.path).read_bytes()

    def unchanged(self, old: Model | None) -> bool:
        """Whether the notebook is what the file says already."""
        content = old.get("content") if old is not None else None
        if not isinstance(content, dict):
            return False
        try:
            same = same_content(self._notebook, content, self._found.kernel)
            if same and self._found.path.endswith(".ipynb"):
                self._sign(content)
        except Exception:
            self._warn()
            return False
        return same

    def undone(self) -> bool:
        """Put the file back if what was written says the same in other words.

        jupytext adds a header, or its own version to one; outputs that a paired notebook keeps
        are written, while the script stays as it was.
        """
        try:
            return put_back_if_same(self._found, self._before)
        except Exception:
            self._warn()
            return False

    def _sign(self, content: Any) -> None:
        """Trust what the file holds where the reader trusts it now: no edit, but kept by saving."""
        import nbformat  # the server has it; this module is imported without one, too

        if self._manager.notary.check_cells(nbformat.from_dict(self._notebook)):
            self._manager.notary.mark_cells(content, True)
            self._manager.check_and_sign(content, self._found.path)

    def _warn(self) -> None:
        self._manager.log.warning("nbpipe | %s", self._found.source, exc_info=True)


def _tried(read: Callable[[], Model]) -> Model | None:
    """What reading gives; None: it fails, and saving will tell why."""
    try:
        return read()
    except Exception:
        return None


def _wants_content(args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    return bool(args[0] if args else options.get("content", True))


def _files(manager: Any, path: str, notebook: dict[str, Any]) -> Iterator[str]:
    """The file that an API path names, then those that jupytext keeps in step with it.

    Nothing for a manager that keeps no files.
    """
    root = getattr(manager, "root_dir", None)
    if not isinstance(root, str) or not root or ":" in path.partition("/")[0]:
        return
    for name in (path, *paired(path, notebook)):
        yield os.path.join(os.path.abspath(root), *name.strip("/").split("/"))
