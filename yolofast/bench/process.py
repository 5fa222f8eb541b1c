"""A participant of a comparison: a process of its own, on its own cores, asked one thing at a time.

Ours and the peers alike serve the requests of `peers.serve`. So a package that crashes, hangs or prints
cannot disturb the measurement, and an idle participant does nothing: it waits for its next line of input.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from yolofast.errors import ConfigError, DataError

START_SECONDS = 900.0
"""A participant may decode a whole dataset into its cache before its first answer."""
ANSWER_SECONDS = 600.0
STOP_SECONDS = 5.0
PACKAGE_ROOT = Path(__file__).resolve().parents[2]
START_SCRIPT = Path(__file__).resolve().parent / "peers" / "start.py"
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


def environment(scratch: Path, threads: int) -> dict[str, str]:
    """Variables of a participant: `threads`, no GPU, no network, its settings and caches in `scratch`."""
    folders = ("YOLO_CONFIG_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TORCH_HOME")
    return {
        **os.environ,
        **dict.fromkeys(THREADS, str(threads)),
        **dict.fromkeys(folders, str(scratch)),
        "CUDA_VISIBLE_DEVICES": "",
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        # Without it Python puts the script's folder first, where our own modules would hide others'.
        "PYTHONSAFEPATH": "1",
    }


def cores(count: int) -> list[int]:
    """The cores that a participant of `count` threads is pinned to: the last ones this process may use.

    Raises `ConfigError` when there are fewer.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if count > len(allowed):
        raise ConfigError(f"threads: got {count}, but this process may use only {len(allowed)} cores.")
    return allowed[-count:]


@contextlib.contextmanager
def _pinned(chosen: Sequence[int]) -> Iterator[None]:
    """A process started in this block runs on the cores `chosen` from its first instruction."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Participant:
    """A running participant, pinned to `threads` cores.

    `hello` is its first answer: versions and what else `participate` returned. Raises `DataError` when it
    cannot be started or declines; so does `ask` when it ends or does not answer.
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
        self._errors = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed by `close`
        with _pinned(cores(threads)):
            try:
                self._process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    env=environment(scratch, threads) | dict(variables or {}),
                    cwd=scratch,
                )
            except OSError as problem:
                self._errors.close()
                raise DataError(f"{command[0]} cannot be started: {problem.strerror}") from None
        try:
            self.hello = self._answer(START_SECONDS)
            if "left_out" in self.hello:
                raise DataError(str(self.hello["left_out"]))
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

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
        """The exit code, and the last line of standard error."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return DataError(f"it ended with exit code {code}: {lines[-1] if lines else 'no message'}")

    def close(self) -> None:
        """End the process by closing its input, or kill it when that does not help."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def launch(
    name: str,
    module: str,
    job: Mapping[str, Any],
    scratch: Path,
    *,
    python: Path | None = None,
    threads: int = 1,
    variables: Mapping[str, str] | None = None,
) -> Participant:
    """Start a process that serves a module of `bench.peers` (`.name`) or of this package, for a job.

    `python` None: this interpreter, with this package. Raises `DataError` as `Participant` does.
    """
    given = dict(variables or {})
    if python is None:
        search = [str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        given["PYTHONPATH"] = os.pathsep.join(search)
    command = [str(python or sys.executable), str(START_SCRIPT), module, json.dumps(job)]
    return Participant(name, command, scratch, threads=threads, variables=given)
