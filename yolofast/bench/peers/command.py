"""A command of yolofast in a fresh process, as `yolofast.bench.data_stages` measures it."""

from __future__ import annotations

import runpy
import sys
from typing import Any

from .serve import Answer, Requests


def participate(job: dict[str, Any]) -> tuple[Answer, Requests]:
    """Run the command before the first answer; nothing is served.

    The job: `arguments` of the command line. A command that fails ends the process with its exit code.
    """
    sys.argv = ["yolofast", *job["arguments"]]
    try:
        runpy.run_module("yolofast.cli", run_name="__main__")
    except SystemExit as stop:
        if stop.code:
            raise
    return {}, {}
