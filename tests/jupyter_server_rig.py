"""A real Jupyter server over HTTP, with a contents manager and extensions of the test's choice."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SYNC = "jupyter_server.services.contents.largefilemanager.LargeFileManager"
ASYNC = "jupyter_server.services.contents.largefilemanager.AsyncLargeFileManager"

OTHERS = ("jupyter_lsp", "jupyter_server_terminals", "jupyterlab", "notebook", "notebook_shim")
"""Extensions that these tests do not need and that cost seconds to load."""

_MAIN = """
import sys
sys.modules['rfc3987_syntax'] = None  # see nbpipe.cli.process
from jupyter_server.serverapp import main
main()
"""


class ContentsServer:
    """A server of its own: its settings, data and files lie under ``home``.

    Args:
        home: a new folder.
        manager: class of the contents manager.
        jupytext: whether jupytext's server extension is on.
        nbpipe: whether ours is.
        extensions: others, by their names.
    """

    def __init__(
        self,
        home: Path,
        manager: str = ASYNC,
        *,
        jupytext: bool = True,
        nbpipe: bool = True,
        extensions: Mapping[str, bool] | None = None,
    ) -> None:
        self.home, self.root = home, home / "files"
        self.root.mkdir(parents=True)
        self.token = secrets.token_hex(8)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = int(sock.getsockname()[1])
        enabled = dict.fromkeys((*OTHERS, "ploomber_extension"), False)
        enabled |= {"jupyterlab_jupytext": jupytext, "nbpipe": nbpipe, **(extensions or {})}
        app = {"jpserver_extensions": enabled, "contents_manager_class": manager}
        (home / "config").mkdir()
        text = json.dumps({"ServerApp": app, "IdentityProvider": {"token": self.token}})
        (home / "config" / "jupyter_server_config.json").write_text(text)
        self.log = home / "server.log"
        command = [sys.executable, "-c", _MAIN, "--no-browser", "--allow-root"]
        command += [f"--ServerApp.port={self.port}", "--ServerApp.ip=127.0.0.1"]
        command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.root}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=self._environ(), stdout=log, stderr=log, cwd=self.root
            )

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """The model of a file, as a front end asks for it."""
        pairs = "&".join(f"{key}={value}" for key, value in query.items())
        return self.call("GET", f"contents/{path}?{pairs}")

    def notebook(self, path: str) -> dict[str, Any]:
        """The content of a file that is opened as a notebook."""
        return self.get(path, type="notebook", content=1)["content"]

    def save(self, path: str, notebook: dict[str, Any]) -> dict[str, Any]:
        """Save a notebook as a front end does."""
        body = {"type": "notebook", "format": "json", "content": notebook, "path": path}
        return self.call("PUT", f"contents/{path}", body)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the API.

        Raises:
            HTTPError: the server refused it.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.port}/api/{path}"
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def stop(self) -> None:
        """End the server."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)

    def _environ(self) -> dict[str, str]:
        places = {"CONFIG": "config", "DATA": "data", "RUNTIME": "runtime"}
        own = {f"JUPYTER_{key}_DIR": str(self.home / name) for key, name in places.items()}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("JPY_", "NBPIPE_"))}
        kept["PYTHONPATH"] = os.pathsep.join([str(self.home), kept.get("PYTHONPATH", "")])
        return {**kept, **own, "IPYTHONDIR": str(self.home / "ipython")}

    def await_up(self) -> None:
        """Wait until the server answers.

        Raises:
            RuntimeError: it does not; carries its log.
        """
        end = time.monotonic() + 40
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api", timeout=2).read()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(self.log.read_text())
