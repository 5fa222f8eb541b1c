"""A server on loopback that misbehaves in more than sixty ways, byte by byte.

Every fault has a name and says what the user should see: nothing (the dataset is installed) or part of the
error. `request` is the number of the request for this fault, from 0.
"""

from __future__ import annotations

import gzip
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import sleep

import numpy as np
from support.archive_files import tar_bytes

FILES = {"data.yaml": "names: [a]\n", "train/images/a.jpg": np.random.default_rng(0).bytes(40_000)}
BODY = tar_bytes(FILES, "gz")
HALF = len(BODY) // 2
OTHER = tar_bytes({"data.yaml": "names: [b]\n", "train/images/a.jpg": bytes(range(256)) * 200}, "gz")
SLOW_S = 0.05
Answer = Callable[["Exchange"], None]


@dataclass
class Exchange:
    """One request on one connection, and ways to answer it."""

    connection: socket.socket
    head: str
    request: int

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def drip(self, data: bytes, pause_s: float = SLOW_S) -> None:
        """Send byte by byte, for as long as somebody listens."""
        for byte in data:
            self.send(bytes([byte]))
            sleep(pause_s)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def response(
    body: bytes = BODY, *headers: str, status: str = "200 OK", length: int | str | None = None
) -> bytes:
    """A response; `length` is what it states, by default the truth; an empty text states nothing."""
    lines = [f"HTTP/1.1 {status}", "Connection: close", *headers]
    if length != "":
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return response(body + end, "Transfer-Encoding: chunked", length="")


def always(data: bytes) -> Answer:
    return lambda exchange: exchange.send(data)


def then(*data: bytes) -> Answer:
    """One response after the other; the last one again and again."""
    return lambda exchange: exchange.send(data[min(exchange.request, len(data) - 1)])


def endlessly(start: bytes, part: bytes) -> Answer:
    def answer(exchange: Exchange) -> None:
        exchange.send(start)
        while True:
            exchange.send(part)

    return answer


def redirect(location: str, *headers: str, status: str = "302 Found") -> bytes:
    return response(b"", f"Location: {location}", *headers, status=status)


def _moves_on(exchange: Exchange) -> None:
    exchange.send(redirect(f"next-{exchange.request}.zip"))


def _endless_redirect_body(exchange: Exchange) -> None:
    if exchange.request:
        exchange.send(response())
    else:
        endlessly(redirect("next.zip").replace(b"Content-Length: 0\r\n", b""), bytes(1 << 16))(exchange)


def _slowly(start: bytes, rest: bytes) -> Answer:
    def answer(exchange: Exchange) -> None:
        exchange.send(start)
        exchange.drip(rest)

    return answer


def _reset(exchange: Exchange) -> None:
    exchange.send(response()[:HALF])
    exchange.reset()


def resumed(*headers: str, body: bytes = BODY[HALF:]) -> Answer:
    """Half the file, then the rest as these headers say, then the whole file to those who ask for it."""
    cut = response(BODY[:HALF], 'ETag: "v1"', length=len(BODY))

    def answer(exchange: Exchange) -> None:
        wants_range = "range: bytes=" in exchange.head.lower()
        if exchange.request == 0:
            exchange.send(cut)
        elif wants_range:
            exchange.send(response(body, *headers, status="206 Partial Content"))
        else:
            exchange.send(response())

    return answer


RANGE = f"Content-Range: bytes {HALF}-{len(BODY) - 1}/{len(BODY)}"
FAILED = "cannot be downloaded: the connection failed or was interrupted"
TOO_SLOW = "cannot be downloaded: the server sent less than 1000 bytes per second for"
ENDLESS = "cannot be downloaded: the server redirects endlessly"
ASTRAY = "cannot be downloaded: the URL, or one that the server redirected to, is invalid"
ELSEWHERE = "redirected to a URL that does not begin with http:// or https://"
NO_ARCHIVE = "is not an archive of a supported format, expected a .zip"
DAMAGED = "is damaged or truncated"

FAULTS: dict[str, tuple[Answer, str | None]] = {
    "none": (always(response()), None),
    "no length": (always(response(length="")), None),
    "HTTP 1.0": (always(response().replace(b"HTTP/1.1", b"HTTP/1.0", 1)), None),
    "HTTP 0.9": (always(BODY), FAILED),
    "HTTP 9.9": (always(response().replace(b"HTTP/1.1", b"HTTP/9.9", 1)), FAILED),
    # lengths
    "more than stated": (always(response(BODY + b"more", length=len(BODY))), None),
    "less than stated": (always(response(length=len(BODY) + 1000)), "cannot be downloaded"),
    "states too little": (always(response(length=HALF)), DAMAGED),
    "negative length": (always(response(length=-5)), None),
    "length of letters": (always(response(length="many")), None),
    "two lengths": (always(response(BODY, "Content-Length: 7")), "cannot be downloaded"),
    "length of an exabyte": (always(response(length=10**18)), "bytes or more, expected at most"),
    "length of a terabyte": (always(response(length=10**12)), r"MB to download and unpack, and the disk has"),
    "length of 99 digits": (always(response(length="9" * 99)), "cannot be downloaded"),
    # chunks
    "chunks": (always(chunked(BODY[:HALF], BODY[HALF:])), None),
    "chunks and a length": (
        always(chunked(BODY).replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n", 1)),
        None,
    ),
    "chunk extensions": (always(chunked(BODY).replace(b"\r\n\x1f\x8b", b";a=b\r\n\x1f\x8b", 1)), None),
    "chunk of letters": (always(chunked(BODY[:HALF], end=b"xyz\r\n")), "cannot be downloaded"),
    "negative chunk": (always(chunked(BODY[:HALF], end=b"-5\r\n")), "cannot be downloaded"),
    "absurd chunk": (always(chunked(BODY[:HALF], end=b"f" * 16 + b"\r\n")), "cannot be downloaded"),
    "chunk line without an end": (endlessly(chunked(end=b""), b"1" * 65536), "cannot be downloaded"),
    "cut within a chunk": (always(chunked(BODY)[:-HALF]), "cannot be downloaded"),
    "endless trailers": (endlessly(chunked(BODY, end=b"0\r\n"), b"a: b\r\n" * 1000), TOO_SLOW),
    "a transfer coding that is none": (
        always(response(BODY, "Transfer-Encoding: snappy", length="")),
        None,
    ),
    # encodings and contents
    "gzip as encoding of a tar.gz": (always(response(BODY, "Content-Encoding: gzip")), None),
    "brotli": (always(response(b"x" * 600, "Content-Encoding: br")), "encoded as 'br', expected the file"),
    "an encoding with control characters": (
        always(response(b"x", "Content-Encoding: \x1b[2Jx")),
        r"encoded as '\\x1b\[2jx'",
    ),
    "gzip bomb": (
        always(response(gzip.compress(bytes(32 << 20)), "Content-Encoding: gzip")),
        "empty bytes follow its end mark",
    ),
    "a web page": (always(response(b"<html>sign in</html>", "Content-Type: text/html")), "is a web page"),
    "an endless web page": (
        endlessly(response(b"<!DOCTYPE html>", length=""), b"<p>sign in</p>" * 5000),
        "is a web page; perhaps the URL requires you to sign in first",
    ),
    "endless noise": (endlessly(response(b"noise", length=""), b"noise" * 9999), NO_ARCHIVE),
    "JSON": (always(response(b'{"error": "no"}')), NO_ARCHIVE),
    "nothing": (always(response(b"")), "is empty"),
    # redirects
    "redirect": (then(redirect("next.zip"), response()), None),
    "redirect without a place": (
        always(response(b"", status="302 Found")),
        "the server answered 302 Found, expected",
    ),
    "redirect to nothing": (always(redirect("")), ENDLESS),
    "redirect to itself": (always(redirect("here.zip")), ENDLESS),
    "redirects without an end": (_moves_on, ENDLESS),
    "redirect with an endless body": (_endless_redirect_body, None),
    "redirect to FTP": (always(redirect("ftp://127.0.0.1/x")), ELSEWHERE),
    "redirect to a file": (always(redirect("file:///etc/passwd")), ELSEWHERE),
    "redirect to a script": (always(redirect("javascript:alert(1)")), ELSEWHERE),
    "redirect to an impossible port": (always(redirect("http://127.0.0.1:99999/x")), ASTRAY),
    "redirect to half an address": (always(redirect("http://[::1")), ASTRAY),
    "redirect to a host of dots": (always(redirect("http://../x")), "cannot be downloaded"),
    "redirect to the metadata service": (
        always(redirect("//169.254.169.254/latest")),
        "redirected to 169.254.169.254, a private address",
    ),
    "redirect to a number": (always(redirect("http://2130706434/x")), "cannot be downloaded"),
    # statuses
    **{
        f"status {status}": (
            always(response(b"no", status=f"{status} No")),
            f"the server answered {status} No, expected a zip or tar archive",
        )
        for status in (204, 206, 304, 400, 401, 403, 404, 410, 451)
    },
    "status 999": (always(response(b"", status="999 No")), r"the server answered 999 No \(2 attempts\)"),
    "status 503": (always(response(b"", status="503 Busy")), r"the server answered 503 Busy \(2 attempts\)"),
    "status of letters": (always(response(b"", status="abc No")), FAILED),
    "status without a reason": (always(response(b"", status="404")), "the server answered 404, expected"),
    "an hour to wait": (then(response(b"", "Retry-After: 3600", status="429 Slow"), response()), None),
    "an aeon to wait": (then(response(b"", f"Retry-After: {'9' * 400}", status="429 x"), response()), None),
    "less than no time": (then(response(b"", "Retry-After: -7", status="503 x"), response()), None),
    "an impossible date": (
        then(response(b"", "Retry-After: Fri, 31 Dec 99999 23:59:59 GMT", status="503 x"), response()),
        None,
    ),
    "terminal codes in the reason": (
        always(response(b"", status="404 \x1b[2J\x07no\x9b31m")),
        r"the server answered 404 \\x1b\[2J\\x07no\\x9b31m, expected",
    ),
    "a reason of 60 kB": (
        always(response(b"", status="404 " + "n" * 60_000)),
        "the server answered 404 n{99}",
    ),
    # headers
    "a thousand headers": (always(response(BODY, *["a: b"] * 1000)), FAILED),
    "headers without an end": (endlessly(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000), FAILED),
    "a header of 70 kB": (always(response(BODY, "a: " + "b" * 70_000)), FAILED),
    "a header line without a colon": (always(response(BODY, "nonsense")), None),
    "headers in Latin-1": (always(response(BODY, "a: \xe4\xff")), None),
    "cookies by the dozen": (
        always(response(BODY, *[f"Set-Cookie: a{i}={'b' * 4000}" for i in range(50)])),
        None,
    ),
    "an ETag of 20 kB": (
        then(response(BODY[:HALF], f'ETag: "{"e" * 20_000}"', length=len(BODY)), response()),
        None,
    ),
    "continue without an end": (endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500), TOO_SLOW),
    # connections
    "silence": (lambda _: sleep(2), TOO_SLOW),
    "closed at once": (lambda _: None, FAILED),
    "reset in the middle": (_reset, FAILED),
    "headers byte by byte": (_slowly(b"", response()), TOO_SLOW),
    "a body byte by byte": (_slowly(response()[:-HALF], BODY[-HALF:]), TOO_SLOW),
    "a body of unknown length byte by byte": (_slowly(response(length="")[:-HALF], BODY[-HALF:]), TOO_SLOW),
    # resuming
    "the rest": (resumed(RANGE, 'ETag: "v1"'), None),
    "the rest of another version": (resumed(RANGE, 'ETag: "v2"', body=OTHER), None),
    "the rest without a version": (resumed(RANGE, body=OTHER[HALF:]), None),
    "the rest with a weak version": (resumed(RANGE, 'ETag: W/"v1"', body=OTHER[HALF:]), None),
    "the rest of a larger file": (
        resumed(f"Content-Range: bytes {HALF}-{len(BODY) - 1}/{len(BODY) + 9}", 'ETag: "v1"'),
        None,
    ),
    "the rest without its place": (resumed('ETag: "v1"'), None),
    "the rest of an unknown size": (
        resumed(f"Content-Range: bytes {HALF}-{len(BODY) - 1}/*", 'ETag: "v1"'),
        None,
    ),
    "more than the rest": (resumed(RANGE, 'ETag: "v1"', body=BODY[HALF:] + b"more"), None),
    "the rest in parts": (
        resumed("Content-Type: multipart/byteranges; boundary=x", 'ETag: "v1"', body=b"--x\r\n\r\n" + BODY),
        None,
    ),
}


class FaultServer:
    """Serves every fault at a URL of its own."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._counts = Counter[str]()
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def url_of(self, fault: str) -> str:
        """A URL of which the fault is one of the folders, never used before."""
        self._counts["urls"] += 1
        return f"{self.url}/{self._counts['urls']}/{fault.replace(' ', '_')}/cats.zip"

    def serve(self) -> None:
        while True:
            try:
                connection = self._listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def stop(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            head = b""
            while b"\r\n\r\n" not in head:
                data = connection.recv(65536)
                if not data:
                    return
                head += data
            found = re.match(rb"GET /(\d+)/([^/]+)/", head)
            if found is None:
                return
            key, fault = found[0].decode(), found[2].decode().replace("_", " ")
            request = self._counts[key]
            self._counts[key] += 1
            FAULTS[fault][0](Exchange(connection, head.decode("latin-1"), request))
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)


@contextmanager
def misbehaving() -> Iterator[FaultServer]:
    """The running server."""
    server = FaultServer()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
