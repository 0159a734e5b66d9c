"""A build's end of the two channels of a kernel that it needs.

jupyter_client's own client knows all five, and costs a task two milliseconds: it copies the
manager's session and reads its configuration again. Imports jupyter_client.
"""

from __future__ import annotations

from typing import Any

from jupyter_client.channels import AsyncZMQSocketChannel

from nbpipe.executors.messages import execute_request


class Channels:
    """Cells and replies on the one channel, outputs on the other.

    Args:
        manager: jupyter_client's, whose kernel has been launched with an asyncio zmq context.

    Attributes:
        session: signs messages.
        shell_channel: for requests and their replies.
        iopub_channel: for outputs.
    """

    def __init__(self, manager: Any) -> None:
        self.session = manager.session
        shell = manager.connect_shell(identity=self.session.bsession)
        self.shell_channel = AsyncZMQSocketChannel(shell, self.session)
        self.iopub_channel = AsyncZMQSocketChannel(manager.connect_iopub(), self.session)

    def kernel_info(self) -> str:
        """Ask what the kernel is; returns the id of the request."""
        return self._send(self.session.msg("kernel_info_request"))

    def execute_silently(self, code: str) -> str:
        """Have code run that leaves no trace; returns the id of the request."""
        return self._send(execute_request(self.session, code, silent=True))

    def _send(self, message: dict[str, Any]) -> str:
        self.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def close(self) -> None:
        """Close both. Calling it twice is harmless."""
        self.shell_channel.stop()
        self.iopub_channel.stop()
