"""The protocol that every participant of a comparison serves, ours and the peers' alike: lines of JSON.

A module takes part through `participate(job)`, which returns its first answer and the requests it serves. The
first answer holds `versions`, or `left_out` with the reason why it cannot do the job. Each request is one
line, `{"ask": NAME, ...arguments}`, and has one line of answer. The end of the input ends the process.

Imports are few, and late, because the start of a process is measured too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

Answer = dict[str, Any]
Requests = Mapping[str, Callable[..., Answer]]


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of those distributions that are installed; yolofast's is that of the imported package."""
    from importlib import metadata

    found = {}
    for package in packages:
        if package == "yolofast":
            found[package] = str(import_module(package).__version__)
            continue
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def timed(run: Callable[[int], int]) -> Callable[..., Answer]:
    """A request `count` for `run`, which makes at least so many samples and returns how many it made.

    The answer: samples, seconds, and cpu_seconds of the whole process.
    """

    def answer(count: int) -> Answer:
        started, cpu = time.perf_counter(), time.process_time()
        made = run(count)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        return {"samples": made, "seconds": seconds, "cpu_seconds": cpu}

    return answer


def main(package: str) -> None:
    """Serve the module named on the command line; one that begins with a dot is in `package`."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    module, job = sys.argv[1], json.loads(sys.argv[2])
    try:
        hello, requests = import_module(module, package).participate(job)
    except ImportError as problem:
        hello, requests = {"left_out": str(problem)}, {}
    print(json.dumps(hello), file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(requests[request.pop("ask")](**request)), file=replies, flush=True)
