"""Breaks off connections over which too little arrives.

A timeout of the socket starts anew with every byte, so a server that sends one now and then is never too
slow for it. This counts what arrives in a while, from the first byte of the headers to the last of the body.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType


class SpeedWatch:
    """Shuts its sockets when fewer than `speed` bytes per second have been counted in `window_s` seconds.

    A context manager. `expired` says that it has done so. A speed of 0 never expires.
    """

    def __init__(self, speed: float, window_s: float) -> None:
        self.speed, self.window_s = speed, window_s
        self.expired = False
        self._counted = 0
        self._sockets = list[socket.socket]()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __str__(self) -> str:
        return f"the server sent less than {self.speed:g} bytes per second for {self.window_s:g} s"

    def follow(self, connection: socket.socket) -> None:
        """Shut this connection too when the time comes. TLS may wrap the socket later."""
        with self._lock:
            self._sockets.append(connection.dup())
            if self.expired:
                self._shut()

    def count(self, size: int) -> None:
        """Say that `size` bytes have arrived."""
        self._counted += size

    def _watch(self) -> None:
        before = 0
        while not self._stop.wait(self.window_s):
            now = self._counted
            if now - before < self.speed * self.window_s:
                with self._lock:
                    self.expired = True
                    self._shut()
                return
            before = now

    def _shut(self) -> None:
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> SpeedWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for one in self._sockets:
            one.close()
