"""What the attacks of tests/chaos share: seeds, a share of time, commands measured from outside, a report.

    with Attack("prepare killed", tries=200) as attack:
        for random in attack:                 # one seeded random.Random per try, until tries or time run out
            ran = yolofast("prepare", source, "--out", out)
            attack.saw(ran)                   # the peak of memory and the longest time go into the report
            assert ran.code == 0

Environment:
    YOLOFAST_CHAOS_SECONDS   of each attack, 60 by default; 0 = all tries, however long they take
    YOLOFAST_CHAOS_SEED      of the whole suite; drawn and printed where it is not given
    YOLOFAST_CHAOS_REPORT    a file that gets one line of JSON for each attack
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

SECONDS = float(os.environ.get("YOLOFAST_CHAOS_SECONDS", "60"))
# pytest-xdist gives all processes of one run the same id, hence the same seed.
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or os.urandom(16).hex()
SEED = int(os.environ.get("YOLOFAST_CHAOS_SEED") or random.Random(_RUN).randrange(10**6))
REPORT = os.environ.get("YOLOFAST_CHAOS_REPORT", "")

# A process that is started from a large one inherits its peak of memory, so a small one stands between.
_MEASURE = """
import json, os, sys, time
begun = time.monotonic()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
code = os.waitstatus_to_exitcode(status)
with open(sys.argv[1], "w") as file:
    json.dump([code, time.monotonic() - begun, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime], file)
"""


@dataclass(frozen=True)
class Ran:
    """A command that has ended: exit code (negative: the signal), output, seconds, peak memory in MB, and
    seconds of the processor, which say more than seconds on a busy machine."""

    code: int
    out: str
    err: str
    seconds: float
    peak_mb: float
    cpu_seconds: float = 0.0

    @property
    def crashed(self) -> bool:
        """Whether it ended by a signal, or in a traceback, which is a bug of ours."""
        return self.code < 0 or "Traceback (most recent call last)" in self.err


def run(
    *command: object,
    timeout: float = 120,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Run a command to its end. Raises `subprocess.TimeoutExpired` after `timeout` seconds, nothing left."""
    with (
        tempfile.NamedTemporaryFile() as figures,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        process = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _MEASURE, figures.name, *map(os.fspath, map(_word, command))],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        code, seconds, peak, cpu = json.loads(Path(figures.name).read_text())
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "surrogateescape"))
    return Ran(code, texts[0], texts[1], seconds, peak, cpu)


def yolofast(*words: object, **options: Any) -> Ran:
    """`yolofast WORDS...` in a process of its own, as `run` runs it."""
    return run(sys.executable, "-m", "yolofast.cli", *words, **options)


def python(code: str, *words: object, **options: Any) -> Ran:
    """Python code in a process of its own, with `words` as sys.argv[1:]."""
    return run(sys.executable, "-c", code, *words, **options)


def _word(word: object) -> str | bytes | os.PathLike[str]:
    return word if isinstance(word, bytes | os.PathLike) else str(word)


class Attack:
    """One kind of attack, tried many times: a seeded generator for each try, and a report of what it saw."""

    def __init__(self, name: str, tries: int, seconds: float = SECONDS) -> None:
        self.name, self.tries, self.seconds = name, tries, seconds
        self.done = 0
        self.survived = 0
        self.peak_mb = 0.0
        self.longest_s = 0.0
        self.longest_cpu_s = 0.0
        self._begun = 0.0

    def __enter__(self) -> Attack:
        self._begun = time.monotonic()
        print(f"chaos: {self.name}, YOLOFAST_CHAOS_SEED={SEED}")
        return self

    def __iter__(self) -> Iterator[random.Random]:
        while self.done < self.tries and not (0 < self.seconds < time.monotonic() - self._begun):
            self.done += 1
            yield random.Random(f"{SEED} {self.name} {self.done}")
            self.survived += 1  # the try's assertions have held

    def saw(self, ran: Ran) -> Ran:
        """Take the figures of a command into the report; fails where it crashed."""
        self.peak_mb = max(self.peak_mb, ran.peak_mb)
        self.longest_s = max(self.longest_s, ran.seconds)
        self.longest_cpu_s = max(self.longest_cpu_s, ran.cpu_seconds)
        assert not ran.crashed, f"{self.name}, try {self.done}, seed {SEED}: exit code {ran.code}\n{ran.err}"
        return ran

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        row = {
            "attack": self.name,
            "wanted": self.tries,
            "tries": self.done,
            "survived": self.survived,
            "peak_mb": round(self.peak_mb),
            "longest_s": round(self.longest_s, 2),
            "longest_cpu_s": round(self.longest_cpu_s, 2),
            "seconds": round(time.monotonic() - self._begun, 1),
            "seed": SEED,
        }
        print(f"chaos: {json.dumps(row)}")
        if REPORT:
            with Path(REPORT).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
