"""Streams of a kernel that are flushed only when there is something to flush.

ipykernel flushes both streams twice after each request. Each time it waits until its thread for
outputs has been woken up and has answered, though most of the time nothing was written.
"""

from __future__ import annotations

from typing import Any


def calm(*streams: Any) -> None:
    """Let ipykernel's streams return at once from a flush when they hold nothing."""
    for stream in streams:
        if hasattr(stream, "_flush_buffers"):
            _Calm(stream)


class _Calm:
    """Stands before two methods of one stream.

    Args:
        stream: ipykernel's, of this process.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._flush, self._send = stream.flush, stream._flush
        self._sending = 0
        stream.flush, stream._flush = self.flush, self.send

    def flush(self) -> None:
        """Wait until all that was written is on its way."""
        with self._stream._buffer_lock:
            holds = bool(self._stream._buffers)
        if holds or self._sending or not self._stream._is_master_process():
            self._flush()

    def send(self) -> None:
        """Send what was written; runs in the thread for outputs."""
        self._sending += 1
        try:
            self._send()
        finally:
            self._sending -= 1
