"""A command of yolofast in a fresh process, as `yolofast.bench.data_stages` measures it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .serve import Answer, Requests


def participate(job: dict[str, Any]) -> tuple[Answer, Requests]:
    """Run the command before the first answer; nothing is served.

    The job: `arguments` of the command line. A command that fails ends the process with its exit code.
    """
    # By name: this is the program as a user starts it, not a layer below.
    code = import_module("yolofast.cli").main(job["arguments"])
    if code:
        raise SystemExit(code)
    return {}, {}
