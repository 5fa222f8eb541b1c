"""Small videos, and a web server on loopback with images and a Motion JPEG stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

BITS = 10
"""Of the number of a frame, drawn as black and white columns."""


def numbered_frame(number: int, size: int = 64) -> np.ndarray:
    """uint8 [size, size, 3]: column i is white where bit i of `number` is set."""
    bits = np.array([number >> i & 1 for i in range(BITS)], np.uint8) * 255
    row = np.resize(np.repeat(bits, size // BITS), size)
    return np.repeat(np.repeat(row[None, :, None], size, 0), 3, 2)


def number_in(frame: np.ndarray) -> int:
    """The number that `numbered_frame` has drawn."""
    width = frame.shape[1] // BITS
    levels = [frame[:, i * width + 1 : (i + 1) * width - 1].mean() > 127 for i in range(BITS)]
    return sum(1 << i for i, is_set in enumerate(levels) if is_set)


def write_video(path: Path, count: int, size: int = 64) -> Path:
    """A Motion JPEG video of `count` numbered frames, 10 per second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (size, size))
    assert writer.isOpened()
    for number in range(count):
        writer.write(numbered_frame(number, size))
    writer.release()
    return path


class Site:
    """What the server has: `files` by path, each with its type; /stream sends `frames` JPEGs and ends."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, bytes]] = {}
        self.redirects: dict[str, str] = {}
        self.frames = 30
        self.interval_s = 0.0
        self.stopped = threading.Event()
        self.url = ""


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in site.redirects:
                self.send_response(302)
                self.send_header("Location", site.redirects[path])
                self.end_headers()
            elif path in site.files:
                kind, body = site.files[path]
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            elif path == "/stream":
                self._stream()
            else:
                self.send_error(404)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for number in range(site.frames):
                jpeg = cv2.imencode(".jpg", numbered_frame(number))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:
                    return
                if site.stopped.wait(site.interval_s):
                    return
            self.wfile.write(b"--frame--\r\n")

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    return Handler


@contextmanager
def served_site() -> Iterator[Site]:
    """A running server; `url` is its address."""
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
