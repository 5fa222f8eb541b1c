"""The one way speed is compared here: alternating rounds of participants that have been shown to agree."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tqdm import tqdm

from yolofast.bench.figures import OURS, compared_times
from yolofast.bench.process import Participant, launch
from yolofast.errors import ConfigError, DataError

T = TypeVar("T")
ROUNDS = 11
ROUND_SECONDS = 0.15


def interleave(
    runs: Mapping[str, Callable[[], T]],
    rounds: int,
    *,
    warm_up: int = 0,
    limit_s: float = math.inf,
    left_out: dict[str, str] | None = None,
) -> dict[str, list[T]]:
    """Run all in turn, `rounds` times: what each returned in every round.

    `warm_up` rounds come first and are not returned. After `limit_s` seconds no further round begins, but one
    is always returned. With `left_out`, a peer that raises `DataError` is left out from then on, and those
    already in it do not run; without, the error is passed on.
    """
    results: dict[str, list[T]] = {name: [] for name in runs}
    absent: dict[str, str] = {} if left_out is None else left_out
    begun = time.monotonic()
    for index in tqdm(range(-warm_up, rounds), desc="rounds", unit="round", leave=False, disable=None):
        if index > 0 and time.monotonic() - begun > limit_s:
            break
        for name, run in runs.items():
            if name in absent:
                continue
            with contextlib.nullcontext() if left_out is None else leave_out_on_failure(name, absent):
                result = run()
                if index >= 0:
                    results[name].append(result)
    return results


def calls_per_round(run: Callable[[int], float], seconds: float) -> int:
    """How many calls take `seconds`, at least 1; `run(n)` makes n calls and returns their seconds."""
    run(1)
    return max(1, int(seconds / max(run(1), 1e-9)))


def compare_calls(
    ours: Callable[[], object], peers: Mapping[str, Callable[[], object]], rounds: int = ROUNDS
) -> dict[str, Any]:
    """Time functions of this process: `rounds`, `ms` per call, and `ratio` > 1 where ours is faster."""

    def timer(work: Callable[[], object]) -> Callable[[int], float]:
        def seconds(count: int) -> float:
            started = time.perf_counter()
            for _ in range(count):
                work()
            return time.perf_counter() - started

        return seconds

    def round_of(run: Callable[[int], float]) -> Callable[[], float]:
        count = calls_per_round(run, ROUND_SECONDS)
        return lambda: run(count) / count * 1e3

    runs = {name: round_of(timer(work)) for name, work in {OURS: ours, **peers}.items()}
    return {"rounds": rounds, **compared_times(interleave(runs, rounds))}


@contextlib.contextmanager
def leave_out_on_failure(name: str, left_out: dict[str, str], python: Path | None = None) -> Iterator[None]:
    """A peer whose work in the block raises `DataError` goes to `left_out` with the reason.

    When ours fails (its name begins with "yolofast"), the error is raised with that name. `python` is the
    peer's interpreter, which the reason names when a package is missing there.
    """
    try:
        yield
    except DataError as error:
        if name.startswith(OURS):
            raise DataError(f"{name} failed: {error}") from None
        missing = python is not None and "No module named" in str(error)
        hint = f" for {python}. Install it there, or give --peers-python." if missing else ""
        left_out[name] = f"{error}{hint}"


class Participants:
    """Those who take part in a comparison, each in a process of its own, until the `with` block ends.

    `scratch`: a temporary folder for what they exchange. `left_out`: peer -> why it does not take part.

    Raises `ConfigError` when the interpreter `peers_python` does not exist.
    """

    def __init__(self, peers_python: Path) -> None:
        if not peers_python.exists():
            raise ConfigError(
                f"peers_python: {peers_python}: no such file. Give the interpreter of the peers' environment."
            )
        self.peers_python = peers_python.absolute()  # it is started in another folder
        self.left_out: dict[str, str] = {}
        self._started: dict[str, Participant] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        folder = tempfile.TemporaryDirectory(prefix="yolofast-bench-")
        self.scratch = Path(self._stack.enter_context(folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def present(self) -> dict[str, Participant]:
        """Those who were started and have not been left out, by name."""
        return {name: each for name, each in self._started.items() if name not in self.left_out}

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the packages that they measure, by package."""
        return {k: v for each in self.present.values() for k, v in each.hello["versions"].items()}

    def launch(self, name: str, module: str, job: Mapping[str, Any], **options: Any) -> Participant:
        """A process of this participant alone, to be closed by the caller: `process.launch` with the
        interpreter that belongs to the name, unless `options` name another."""
        python = None if name.startswith(OURS) else self.peers_python
        return launch(name, module, job, self.scratch, **{"python": python, **options})

    def start(self, name: str, module: str, job: Mapping[str, Any], **options: Any) -> None:
        """Launch a participant that stays until the block ends; a peer that cannot start is left out.

        Raises `DataError` when ours cannot.
        """
        with leave_out_on_failure(name, self.left_out, options.get("python", self.peers_python)):
            self._started[name] = self._stack.enter_context(self.launch(name, module, job, **options))
