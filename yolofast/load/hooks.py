"""Hooks: a user's own transforms of training samples, compiled by Numba and run in the native threads.

    @hook(draws=1)
    def gray_sometimes(image, labels, draws): ...

    YOLODataset("data.yaml", "train", augment=AugmentConfig(), hooks=[gray_sometimes])

A hook sees each sample once, after it is rendered and before it is put into a batch. Its randomness comes as
an argument, from the same counter-based streams as the plan, so samples stay pure functions of (seed, epoch,
position). See docs/hooks.md for what a hook may do, and what happens when it fails.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from yolofast.config_fields import at_least
from yolofast.errors import ConfigError, HookError, missing_extra
from yolofast.load.plan import draws as streams

Image: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.float32]
Draws: TypeAlias = NDArray[np.float64]
HookFunction: TypeAlias = Callable[[Image, Labels, Draws], int | None]
"""function(image, labels, draws): changes `image` uint8 [3, H, W] RGB and `labels` float32 [N, 5] class,
xywhn in place, by `draws` float64 [D], uniform in [0, 1). Returns how many labels to keep, the first ones;
None keeps all."""

RAISED = -(2**63)
"""What a compiled hook returns when its function raised: kHookRaised of core/pictures/hooks.hpp."""


class Hook:
    """A transform of one sample.

    function  see `HookFunction`. Compiled hooks are restricted to what Numba compiles in nopython mode
    draws     random numbers per sample that it takes, at most 4096
    compiled  False calls the function as it is, with the GIL: slower, since one thread at a time can do that
    cache     keep the machine code next to the function's file for the next process. Numba does not notice
              when globals or functions of other files have changed: clear `__pycache__` then

    Calling a hook calls its function in plain Python, to try it out. A compiled hook is compiled when a
    dataset takes it, and again in a process that unpickles it; forked processes share the code.

    Raises `ConfigError` for draws that are not a whole number of 0..4096.
    """

    def __init__(
        self, function: HookFunction, *, draws: int = 0, compiled: bool = True, cache: bool = False
    ) -> None:
        function = getattr(function, "py_func", function)  # of @njit: compiled here again, with checks
        if not callable(function):
            raise ConfigError(f"hooks: got {function!r}, expected a function of (image, labels, draws).")
        if not isinstance(draws, int):
            raise ConfigError(f"draws: got {draws!r}, expected a whole number.")
        at_least(draws=(draws, 0))
        if draws > streams.MAX_HOOK_DRAWS:
            raise ConfigError(f"draws: got {draws}, expected at most {streams.MAX_HOOK_DRAWS} per hook.")
        self.function, self.draws, self.compiled, self.cache = function, draws, compiled, cache
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self._code: tuple[Any, Any] | None = None
        functools.update_wrapper(self, function, updated=())

    def __call__(self, image: Image, labels: Labels, draws: Draws) -> int | None:
        return self.function(image, labels, draws)

    def __repr__(self) -> str:
        return f"Hook({self.name}, draws={self.draws}, compiled={self.compiled})"

    def __reduce__(self) -> str | tuple[Any, ...]:
        # The name of a decorated function means the hook: pickle finds it there, and not the function.
        found: Any = sys.modules.get(getattr(self, "__module__", None) or "")
        for part in getattr(self, "__qualname__", "").split("."):
            found = getattr(found, part, None)
        if found is self:
            return str(self.__qualname__)
        make = functools.partial(Hook, draws=self.draws, compiled=self.compiled, cache=self.cache)
        return make, (self.function,)

    def compile(self) -> None:
        """Compile the function unless that is done or the hook is not a compiled one.

        Raises `MissingExtraError` without Numba, `HookError` with Numba's message for a function that it
        cannot compile or that returns something else than a count or nothing.
        """
        if self.compiled and self._code is None:
            self._code = _compile(self)

    @property
    def address(self) -> int:
        """Address of the compiled hook, a `HookFunction` of core/pictures/hooks.hpp."""
        self.compile()
        assert self._code is not None
        return int(self._code[0].address)

    def run_checked(self, image: Image, labels: Labels, draws: Draws) -> int:
        """Run the hook as native code does, on C-contiguous arrays, but let exceptions through.

        Returns the number of labels to keep. Raises `TypeError` when the hook returns something else.
        """
        self.compile()
        function = self.function if self._code is None else self._code[1]
        kept = function(image, labels, draws)
        if kept is None:
            return len(labels)
        if isinstance(kept, bool) or not isinstance(kept, int | np.integer):
            raise TypeError(f"returned {kept!r}; expected how many labels to keep, or None")
        return int(kept)


def hook(*, draws: int = 0, compiled: bool = True, cache: bool = False) -> Callable[[HookFunction], Hook]:
    """Decorator that makes a function a `Hook`, which has the same arguments."""
    return functools.partial(Hook, draws=draws, compiled=compiled, cache=cache)


def compiled_hooks(hooks: Iterable[Hook | HookFunction]) -> tuple[Hook, ...]:
    """The hooks, ready to run. A bare function becomes a hook that is not compiled and has no draws.

    Raises as `Hook.compile`; `ConfigError` for what is not a function.
    """
    made = tuple(each if isinstance(each, Hook) else Hook(each, compiled=False) for each in hooks)
    for each in made:
        each.compile()
    return made


def draw_hooks(hooks: Sequence[Hook], seed: int, epoch: int, positions: NDArray[np.int64]) -> Draws:
    """The random numbers of all hooks for each position, float64 [B, D], those of the first hook first."""
    ids = [
        streams.Stream.HOOK + streams.MAX_HOOK_DRAWS * number + np.arange(each.draws)
        for number, each in enumerate(hooks)
    ]
    drawn = streams.uniform(seed, epoch, positions[:, None], np.concatenate(ids))
    return np.ascontiguousarray(drawn)


def _compile(made: Hook) -> tuple[Any, Any]:
    """(C callback, compiled function) of a hook. Array accesses of the function itself are bounds-checked."""
    try:
        numba: Any = importlib.import_module("numba")
    except ImportError:
        raise missing_extra("numba", "numba", f"The compiled hook '{made.name}'") from None

    carray, types = numba.carray, numba.types
    image = types.Array(types.uint8, 3, "C")
    labels, numbers = types.Array(types.float32, 2, "C"), types.Array(types.float64, 1, "C")
    try:
        function = _jit(numba, made)
        function.compile((image, labels, numbers))
    except Exception as error:  # Numba lets errors of all kinds through, not only its own
        raise HookError(
            f"hook '{made.name}' cannot be compiled: {type(error).__name__}: {error}\n"
            "Change it to what Numba supports, or declare it with compiled=False."
        ) from error
    result = function.nopython_signatures[0].return_type
    kind = result.type if isinstance(result, types.Optional) else result
    if not isinstance(kind, types.Integer | types.NoneType):
        raise HookError(
            f"hook '{made.name}' returns {result}; expected the number of labels to keep (an integer), or "
            "nothing to keep all."
        )
    returns_nothing, draws = isinstance(kind, types.NoneType), made.draws

    def keep_all(_context, _sample, image, height, width, labels, n, drawn):  # type: ignore[no-untyped-def]
        kept = n
        try:
            function(carray(image, (3, height, width)), carray(labels, (n, 5)), carray(drawn, (draws,)))
        except Exception:
            kept = np.int64(RAISED)
        return kept

    def keep_some(_context, _sample, image, height, width, labels, n, drawn):  # type: ignore[no-untyped-def]
        kept = n
        try:
            result = function(
                carray(image, (3, height, width)), carray(labels, (n, 5)), carray(drawn, (draws,))
            )
            if result is not None:
                kept = np.int64(result + 0)  # an optional integer has to become an integer first
        except Exception:
            kept = np.int64(RAISED)
        return kept

    signature = types.int64(
        types.voidptr,
        types.int64,
        types.CPointer(types.uint8),
        types.int64,
        types.int64,
        types.CPointer(types.float32),
        types.int64,
        types.CPointer(types.float64),
    )
    return numba.cfunc(signature)(keep_all if returns_nothing else keep_some), function


def _jit(numba: Any, made: Hook) -> Any:
    """The dispatcher of a hook's function, with bounds checks."""
    options = {"boundscheck": True, "nogil": True}
    function = made.function
    if not (made.cache and isinstance(function, FunctionType)):
        return numba.njit(**options)(function)
    # Numba's cache goes by the function's name, not by the options. Under another name it does not find what
    # the user's own @njit(cache=True) has compiled without bounds checks.
    name, defaults, closure = function.__name__, function.__defaults__, function.__closure__
    copy = FunctionType(function.__code__, function.__globals__, name, defaults, closure)
    copy.__module__, copy.__qualname__ = function.__module__, f"{function.__qualname__}.hook"
    try:
        return numba.njit(cache=True, **options)(copy)
    except RuntimeError:  # a function of an interactive session has no file to be cached next to
        return numba.njit(**options)(function)
