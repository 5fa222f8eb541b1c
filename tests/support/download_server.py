"""A web server on loopback that serves one file, correctly or with faults, and records its requests."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What the server does. Each request consumes one entry of the lists; afterwards it behaves correctly."""

    body: bytes
    etag: str | None = '"v1"'
    last_modified: str | None = None
    ranges: bool = True
    states_length: bool = True
    cuts: list[int | None] = field(default_factory=list)
    """Bytes after which the connection is dropped; None: it is not."""
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Responses without the file, with headers."""
    content_ranges: list[str] = field(default_factory=list)
    """False Content-Range headers to send."""
    later_body: bytes | None = None
    """The body from the second request on."""
    ignores_conditions: bool = False
    """Send a range whatever If-Range says."""
    stalls: bool = False
    """Keep the connection open after it stops sending, until `released`."""

    released: threading.Event = field(default_factory=threading.Event)
    asked: list[str | None] = field(default_factory=list)
    """The Range of every request."""
    conditions: list[str | None] = field(default_factory=list)
    """The If-Range of every request."""
    answered: list[int] = field(default_factory=list)
    """The status of every response."""
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    served: Served

    def do_GET(self) -> None:
        served = self.served
        if served.asked and served.later_body is not None:
            served.body = served.later_body
        served.asked.append(self.headers["Range"])
        served.conditions.append(self.headers["If-Range"])
        if served.statuses:
            status, headers = served.statuses.pop(0)
            self._begin(status, headers)
            return
        start = self._start()
        if start is not None and start >= len(served.body):
            self._begin(416, {"Content-Range": f"bytes */{len(served.body)}"})
            return
        body = served.body[start or 0 :]
        headers = {"ETag": served.etag, "Last-Modified": served.last_modified}
        if served.states_length:
            headers["Content-Length"] = str(len(body))
        if start is not None:
            claimed = f"bytes {start}-{len(served.body) - 1}/{len(served.body)}"
            headers["Content-Range"] = served.content_ranges.pop(0) if served.content_ranges else claimed
        self._begin(200 if start is None else 206, headers)
        cut = served.cuts.pop(0) if served.cuts else None
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None and served.stalls:
            self.wfile.flush()
            served.released.wait(30)

    def _start(self) -> int | None:
        """The first byte of the requested range, if the request wants a range of the current version."""
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        condition = self.headers["If-Range"]
        if wanted is None or not self.served.ranges:
            return None
        knows = (self.served.etag, self.served.last_modified)
        if not self.served.ignores_conditions and condition is not None and condition not in knows:
            return None
        return int(wanted[1])

    def _begin(self, status: int, headers: dict[str, str | None] | dict[str, str]) -> None:
        self.served.answered.append(status)
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the test output quiet."""


@contextmanager
def running(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a server on loopback with `handler`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving(served: Served) -> Iterator[Served]:
    """A running server; `served.url` is its URL."""
    with running(type("Handler", (_Handler,), {"served": served})) as address:
        served.url = f"{address}/cats.tar.gz"
        try:
            yield served
        finally:
            served.released.set()
