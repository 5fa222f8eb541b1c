"""Keeps keys out of everything that is shown: log records of any logger, what is printed, messages.

`urllib3` logs whole URLs, `http.client` prints the headers it sends when its debug level is set, Roboflow's
package prints and raises what it likes, and a server may echo a key in any form. So while a download runs,
every log record and all that is written to stdout and stderr is searched for the secrets it knows.
"""

from __future__ import annotations

import base64
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO
from urllib.parse import parse_qsl, urlsplit

MASK = "***"
MIN_SECRET = 4
"""Characters of a part of a URL that is taken for a secret: shorter ones occur everywhere."""
_MIN_BASE64 = 8
_QUERY = re.compile(r"\?[^\s'\"<>]+")
_PAIRS = re.compile(r"\?[^\s'\"<>=?]+=[^\s'\"<>]+")
"""A query in printed text, where a question mark alone means nothing."""
_USER = re.compile(r"(?<=://)[^\s/@'\"]+@")


def redact(text: str) -> str:
    """A text without the queries and users of the URLs in it."""
    return _USER.sub(f"{MASK}@", _QUERY.sub(f"?{MASK}", text))


class Secrets:
    """Texts that must never be shown, however they are written."""

    def __init__(self, *secrets: str) -> None:
        self._patterns = dict[str, None]()
        self._known = re.compile(r"(?!)")
        for secret in secrets:
            self._add(secret)

    def learn_url(self, url: str) -> None:
        """Take the user, the password and the query of a URL for secrets."""
        with suppress(ValueError):
            parts = urlsplit(url)
            found = [parts.query, *(value for _, value in parse_qsl(parts.query, keep_blank_values=True))]
            found += [parts.username or "", parts.password or "", parts.netloc.rpartition("@")[0]]
            for secret in found:
                if len(secret) >= MIN_SECRET:
                    self._add(secret)

    def hide(self, text: str) -> str:
        """The text with `***` in place of every secret: as it is, quoted for a URL or in JSON, in base64."""
        return self._known.sub(MASK, text)

    def _add(self, secret: str) -> None:
        if not secret:
            return
        self._patterns |= dict.fromkeys([_written(secret), *_in_base64(secret)])
        longest_first = sorted(self._patterns, key=len, reverse=True)
        self._known = re.compile("|".join(longest_first))


def _written(secret: str) -> str:
    """A pattern for a text in which any character may be quoted for a URL (also twice) or in JSON."""
    return "".join(_character(character) for character in secret)


def _character(character: str) -> str:
    quoted = "".join(f"%(?:25)*{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
    spaces = r"|\+" if character == " " else ""
    return rf"(?:\\?{re.escape(character)}|(?i:{quoted}|\\u{ord(character):04x}){spaces})"


def _in_base64(secret: str) -> Iterator[str]:
    """Patterns for the text inside a longer one (such as `user:key`) that is encoded in base64.

    Three bytes become four characters, so there are three ways to begin. The first and last characters that
    also depend on the neighbours are left out.
    """
    raw = secret.encode("utf-8", "surrogateescape")
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + raw).decode()
        first = (0, 2, 3)[shift]
        last = len(encoded) - (0, 3, 2)[(shift + len(raw)) % 3]
        core = encoded[first:last]
        if len(core) >= _MIN_BASE64:
            yield "".join({"+": r"[+\-]", "/": "[/_]"}.get(c, c) for c in core)


_lock = threading.Lock()
_active = list[Secrets]()


def _hide(text: str) -> str:
    for secrets in tuple(_active):
        text = secrets.hide(text)
    return text


class _RecordFactory:
    """Makes log records without secrets: in the message, a traceback and a stack."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = self.make(*args, **kwargs)
        if not _active:
            return record
        with suppress(Exception):  # wrong arguments: logging itself reports these, to stderr
            message = _hide(record.getMessage())
            record.msg = redact(message) if record.name.partition(".")[0] == "urllib3" else message
            record.args = ()
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = _hide(redact("".join(traceback.format_exception(record.exc_info[1])).rstrip()))
            record.exc_info = None
        if record.stack_info:
            record.stack_info = _hide(record.stack_info)
        return record


class _Output:
    """A text stream that hides secrets in what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(_PAIRS.sub(f"?{MASK}", _hide(text)))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def hidden(secrets: Secrets) -> Iterator[None]:
    """Hide secrets, also those learned later, in all logs and output of the process while the block runs."""
    with _lock:
        if not _active:
            _install()
        _active.append(secrets)
    try:
        yield
    finally:
        with _lock:
            _active.remove(secrets)
            if not _active:
                _uninstall()


def _install() -> None:
    logging.setLogRecordFactory(_RecordFactory(logging.getLogRecordFactory()))
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is not None:
            setattr(sys, name, _Output(getattr(sys, name)))


def _uninstall() -> None:
    factory = logging.getLogRecordFactory()
    if isinstance(factory, _RecordFactory):  # otherwise somebody has replaced or wrapped ours meanwhile
        logging.setLogRecordFactory(factory.make)
    for name in ("stdout", "stderr"):
        output = getattr(sys, name)
        if isinstance(output, _Output):
            setattr(sys, name, output.stream)
