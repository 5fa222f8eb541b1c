"""A side of a loader comparison: a process of its own, on its own cores, asked one thing at a time.

Every side lives behind the protocol of `peers.py`, so a package that crashes, hangs or prints cannot
disturb the measurement, and an idle side does nothing: it waits for its next line of input.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from yolofast.errors import ConfigError, DataError

START_SECONDS = 900.0
"""A side may decode a whole dataset into its cache before it says hello."""
ANSWER_SECONDS = 600.0
STOP_SECONDS = 5.0
SINGLE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def environment(scratch: Path) -> dict[str, str]:
    """Variables for a side: one thread, no GPU, no network, and every file of its own in `scratch`."""
    places = ("YOLO_CONFIG_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TORCH_HOME")
    return {
        **os.environ,
        **dict.fromkeys(SINGLE_THREAD, "1"),
        **dict.fromkeys(places, str(scratch)),
        "CUDA_VISIBLE_DEVICES": "",
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        # Without it Python puts the script's folder first, where our own modules would hide others'.
        "PYTHONSAFEPATH": "1",
    }


def cores(count: int) -> list[int]:
    """The cores that a side of `count` threads is kept on: the last ones this process may use.

    Raises `ConfigError` when there are not so many.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if count > len(allowed):
        raise ConfigError(f"threads: got {count}, but this process may use only {len(allowed)} cores.")
    return allowed[-count:]


@contextlib.contextmanager
def _pinned(chosen: Sequence[int]) -> Iterator[None]:
    """A process that is started inside is on `chosen` from its first instruction."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Side:
    """A started side of `threads` cores. `hello` is what it said first: name, versions, number of images.

    Raises `DataError` when it cannot be started or leaves itself out; so does `ask` when it ends or
    does not answer.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        scratch: Path,
        *,
        threads: int = 1,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.threads = name, threads
        self._errors = scratch / f"{name}.stderr"
        with self._errors.open("wb") as errors, _pinned(cores(threads)):
            try:
                self._process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=environment(scratch) | dict(variables or {}),
                    cwd=scratch,
                )
            except OSError as problem:
                raise DataError(f"{command[0]} cannot be started: {problem.strerror}") from None
        try:
            self.hello = self._answer(START_SECONDS)
            if "left_out" in self.hello:
                raise DataError(str(self.hello["left_out"]))
        except BaseException:
            self.close()
            raise

    def ask(self, what: str, **details: Any) -> Mapping[str, Any]:
        """The answer to one request."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps({"ask": what, **details}).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer(ANSWER_SECONDS)

    def _answer(self, seconds: float) -> Mapping[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        if not select.select([stdout], [], [], seconds)[0]:
            raise DataError(f"no answer in {seconds:.0f} s")
        line = stdout.readline()
        if not line:
            raise self._ended()
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> DataError:
        """What the side said last on its standard error."""
        code = self._process.wait()
        said = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return DataError(f"it ended with exit code {code}: {said[-1] if said else 'it said nothing'}")

    def close(self) -> None:
        """End the process: politely by the end of its input, else by force."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
