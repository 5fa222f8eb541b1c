"""The command line run in this process, as a fresh one would: what it prints is bytes, then text again."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from support.chaos import Ran

from yolofast.cli import main


def command(*words: str, cwd: Path | None = None) -> Ran:
    """`yolofast WORDS...`; exceptions that the command line does not handle propagate."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "strict", newline="\n") for _ in range(2))
    began = time.monotonic()
    with contextlib.chdir(cwd or Path.cwd()), _own_log(), _streams(out, err):
        try:
            code = main([os.fsdecode(os.fsencode(word)) if _is_argument(word) else word for word in words])
        except SystemExit as exit:  # --help
            code = int(exit.code or 0)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "surrogateescape"))  # type: ignore[attr-defined]
    return Ran(code, texts[0], texts[1], time.monotonic() - began, 0.0)


def _is_argument(word: str) -> bool:
    """Whether a process could get this word: half a pair is in no argument."""
    try:
        os.fsencode(word)
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def _streams(out: io.TextIOWrapper, err: io.TextIOWrapper) -> Iterator[None]:
    with mock.patch.object(sys, "stdout", out), mock.patch.object(sys, "stderr", err):
        yield


@contextlib.contextmanager
def _own_log() -> Iterator[None]:
    """Without the handlers of the tests, so that the command line sets up its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:], root.level = handlers, level
