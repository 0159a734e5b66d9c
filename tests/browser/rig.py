"""A real Jupyter server and a real browser, for tests that watch a notebook as a reader does."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import nbformat

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
"""Screenshots of the last run; git-ignored."""

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

BROWSER_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Server:
    """A Jupyter server of its own: its settings, data and files lie under ``home``."""

    def __init__(self, home: Path, root: Path) -> None:
        self.home, self.root, self.token = home, root, secrets.token_hex(8)
        self.port = _free_port()
        self.settings = home / "config" / "lab" / "user-settings" / "@jupyterlab"
        self._kernelspec()
        labconfig = home / "config" / "labconfig"
        labconfig.mkdir(parents=True)
        disabled = {"disabledExtensions": {"ploomber-extension": True}}
        (labconfig / "page_config.json").write_text(json.dumps(disabled))
        self.lab_setting(
            "apputils-extension/notification", fetchNews="false", checkForUpdates=False
        )
        self.lab_setting("docmanager-extension/plugin", autosave=False)
        self.log = (home / "server.log").open("wb")
        command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
        command += [f"--ServerApp.port={self.port}", "--ServerApp.ip=127.0.0.1"]
        command += [f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={root}"]
        command += ["--ServerApp.port_retries=0", "--ServerApp.terminals_enabled=False"]
        command += ["--LabApp.extension_manager=readonly"]
        self.process = subprocess.Popen(
            command, env=self.environ(), stdout=self.log, stderr=self.log, cwd=root
        )
        self._await_up()

    def environ(self) -> dict[str, str]:
        places = {
            "JUPYTER_CONFIG_DIR": self.home / "config",
            "JUPYTER_DATA_DIR": self.home / "data",
            "JUPYTER_RUNTIME_DIR": self.home / "runtime",
            "JUPYTERLAB_SETTINGS_DIR": self.home / "config" / "lab" / "user-settings",
            "JUPYTERLAB_WORKSPACES_DIR": self.home / "config" / "lab" / "workspaces",
            "IPYTHONDIR": self.home / "ipython",
        }
        for place in places.values():
            place.mkdir(parents=True, exist_ok=True)
        own = str(Path(sys.executable).parent)
        path = f"{own}{os.pathsep}{os.environ.get('PATH', '')}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("JPY_", "NBPIPE_"))}
        return {**kept, **{k: str(v) for k, v in places.items()}, "PATH": path}

    def lab_setting(self, name: str, **values: Any) -> None:
        path = self.settings / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def stop(self) -> None:
        """End the server, which ends its kernels."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self.log.close()

    def _kernelspec(self) -> None:
        folder = self.home / "data" / "kernels" / "python3"
        folder.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec))

    def _await_up(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(self.url("api"), timeout=2).read()
                return
            except OSError:
                time.sleep(0.1)
                if self.process.poll() is not None:
                    break
        raise RuntimeError((self.home / "server.log").read_text())


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def write_notebook(path: Path, *cells: str) -> Path:
    """A notebook with code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)
    return path


class NotebookPage:
    """A notebook in a browser, in JupyterLab or in Notebook 7."""

    def __init__(self, page: Any, server: Server, path: str, app: str = "lab") -> None:
        self.page, self.server, self.path, self.app = page, server, path, app
        self.frames: list[str] = []
        page.on("websocket", self._listen)
        where = f"lab/tree/{path}?reset" if app == "lab" else f"notebooks/{path}"
        page.goto(server.url(where + ("&" if "?" in where else "?") + f"token={server.token}"))
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        page.wait_for_selector(".jp-Spinner", state="detached", timeout=60_000)
        if app == "lab":
            self._hide_sidebar()
        self.wait_idle(first=True)

    def _hide_sidebar(self) -> None:
        self.page.wait_for_selector("#jp-left-stack", state="attached")
        if self.page.locator("#jp-left-stack").is_visible():
            self.page.keyboard.press("Control+b")

    def _listen(self, socket: Any) -> None:
        def received(data: Any) -> None:
            self.frames.append(data if isinstance(data, str) else data.decode("latin-1"))

        socket.on("framereceived", received)

    def comm_messages(self) -> int:
        """How many comm messages the browser has received so far."""
        return sum(bool(re.search(r'"msg_type": ?"comm_', frame)) for frame in self.frames)

    @property
    def _status(self) -> Any:
        return self.page.locator(".jp-Notebook-ExecutionIndicator").first

    def wait_idle(self, *, first: bool = False, timeout: float = 60) -> None:
        """Wait until no cell runs."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            running = self.page.locator('.jp-InputPrompt:has-text("[*]")').count()
            if self._status.get_attribute("data-status") == "idle" and (first or not running):
                return
            self.page.wait_for_timeout(100)
        raise TimeoutError(f"the kernel is {self._status.get_attribute('data-status')}")

    def select_cell(self, index: int) -> None:
        self.page.locator(".jp-Cell").nth(index).locator(".cm-content").click()

    def run_cell(self, index: int, *, wait: bool = True) -> None:
        """Select a cell and run it with the keyboard."""
        before = self._prompt(index)
        for _ in range(10):
            self.select_cell(index)
            self.page.keyboard.press("Shift+Enter")
            # The front end drops the key while it is still connecting to the kernel.
            if self._changes(index, before):
                break
        if wait:
            self.wait_idle()

    def _prompt(self, index: int) -> str:
        prompt = self.page.locator(".jp-Cell").nth(index).locator(".jp-InputPrompt")
        return str(prompt.inner_text())

    def _changes(self, index: int, before: str) -> bool:
        for _ in range(40):
            if self._prompt(index) != before:
                return True
            self.page.wait_for_timeout(25)
        return False

    def outputs(self, index: int) -> Any:
        return self.page.locator(".jp-Cell").nth(index).locator(".jp-OutputArea-output")

    def save(self) -> None:
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("Control+s")
        self.page.wait_for_timeout(800)

    def shot(self, name: str, locator: Any = None) -> Path:
        ARTEFACTS.mkdir(exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        (locator or self.page).screenshot(path=str(path))
        return path

    # The panel

    @property
    def panel(self) -> Any:
        return self.page.locator(".nbp-panel")

    def await_panel(self, timeout: float = 20) -> None:
        self.page.wait_for_selector(".nbp-panel .nbp-canvas canvas:visible", timeout=timeout * 1000)

    def states(self) -> dict[str, str]:
        """The states in the panel's table."""
        cells = self.panel.locator("td[data-state]").all()
        return {c.get_attribute("data-task"): c.get_attribute("data-state") for c in cells}

    def await_states(self, wanted: dict[str, str], timeout: float = 40) -> dict[str, str]:
        end, seen = time.monotonic() + timeout, {}
        while time.monotonic() < end:
            seen = self.table_states()
            if all(seen.get(task) == state for task, state in wanted.items()):
                return seen
            self.page.wait_for_timeout(80)
        raise AssertionError(f"wanted {wanted}, saw {seen}; {self.panel.inner_text()[:800]}")

    def table_states(self) -> dict[str, str]:
        script = """els => Object.fromEntries(els.map(e => [e.dataset.task, e.dataset.state]))"""
        return dict(self.page.eval_on_selector_all(".nbp-panel td[data-state]", script))

    def canvas(self, theme: str = "light") -> dict[str, Any]:
        """What Cytoscape itself knows: its nodes, their classes and colours, its zoom."""
        return dict(self.page.evaluate(CANVAS, theme))

    def click_node(self, label: str, theme: str = "light") -> None:
        """Click where Cytoscape has drawn the node."""
        at = self.canvas(theme)["nodes"][label]
        self.page.mouse.click(at["x"], at["y"])

    def button(self, name: str) -> Any:
        return self.panel.get_by_role("button", name=name)


CANVAS = """theme => {
  const el = document.querySelector(`.nbp-panel .nbp-${theme}`);
  const cy = el._cyreg && el._cyreg.cy;
  if (!cy) return {};
  const box = el.getBoundingClientRect();
  const nodes = {};
  cy.nodes().forEach(n => {
    if (!n.data('label')) return;
    const p = n.renderedPosition();
    nodes[n.data('label')] = {x: box.x + p.x, y: box.y + p.y, classes: n.classes(),
      border: n.style('border-color'), image: n.style('background-image').slice(0, 60),
      width: n.style('border-width')};
  });
  const ext = cy.extent(), bb = cy.elements().boundingBox();
  return {nodes, zoom: cy.zoom(), pan: cy.pan(), width: cy.width(), height: cy.height(),
    inside: bb.x1 >= ext.x1 - 1 && bb.x2 <= ext.x2 + 1
      && bb.y1 >= ext.y1 - 1 && bb.y2 <= ext.y2 + 1};
}"""
