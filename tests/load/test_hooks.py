"""Hooks: run once on every final sample, the same whoever renders it; what goes wrong in one is an error."""

from __future__ import annotations

import ctypes
import functools
import importlib
import itertools
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import hook_cases
from support.coloured_dataset import Plain, plain, plain_samples, write_coloured
from support.hook_cases import HOOKS, PYTHON, count_labels, drop_some, nothing, stripes
from support.loader_cases import COUNT, SIZE, dataset, one_by_one, through_json

from yolofast.config import YOLOConfig
from yolofast.errors import ConfigError, HookError, MissingExtraError
from yolofast.load import DataFlowMonitor, Loader, YOLODataset, create_dataloader, create_loader
from yolofast.load.hooks import Hook, hook
from yolofast.load.plan import draws as streams
from yolofast.types import Sample


def applied(samples: YOLODataset, epoch: int, hooks: tuple[Any, ...] = HOOKS) -> list[Plain]:
    """What hooks make of the samples of a dataset without any: the definition, in plain Python."""
    result = []
    for position in range(len(samples)):
        sample = samples[epoch, position]
        image, labels = sample.image.copy(), sample.labels.copy()
        for number, each in enumerate(hooks):
            ids = streams.Stream.HOOK + 4096 * number + np.arange(getattr(each, "draws", 0))
            drawn = streams.uniform(samples.seed, epoch, np.uint64(position), ids)
            kept = each(image, labels, drawn)
            labels = labels if kept is None else labels[:kept]
        result.append(plain(Sample(image, labels, sample.path, sample.shape)))
    return result


# ------------------------------------------------------------ the same samples


@pytest.mark.parametrize(
    "options", [{}, {"seed": 7, "cache": "ram"}, {"rect": True, "shuffle": False}], ids=str
)
def test_every_sample_is_hooked_once(data: Path, options: dict[str, Any]) -> None:
    """For any number of threads, any batch size, compiled or not: what plain Python makes of each sample."""
    expected = [applied(dataset(data, **options), epoch) for epoch in range(2)]
    hooked = dataset(data, hooks=HOOKS, **options)
    batches = (1,) if "rect" in options else (4, 16)  # a sample alone has a size of its own
    assert one_by_one(hooked, 0) == expected[0]
    assert one_by_one(dataset(data, hooks=PYTHON, **options), 1) == expected[1]
    for threads, batch in itertools.product((0, 1, 2, 4), batches):
        loader = Loader(hooked, batch, threads=threads, prefetch=3)
        assert [plain_samples(loader) for _ in range(2)] == expected, (threads, batch)
        loader.close()


def test_hooks_change_something(data: Path) -> None:
    without, with_hooks = one_by_one(dataset(data)), one_by_one(dataset(data, hooks=HOOKS))
    assert all(a[0] != b[0] for a, b in zip(without, with_hooks, strict=True))
    assert sum(len(b[2]) < len(a[2]) for a, b in zip(without, with_hooks, strict=True)) > 5


def test_a_hook_that_does_nothing_changes_nothing(data: Path) -> None:
    assert one_by_one(dataset(data, hooks=[nothing])) == one_by_one(dataset(data))


@pytest.mark.parametrize(
    ("workers", "method"), [(0, "fork"), (2, "fork"), pytest.param(2, "spawn", marks=pytest.mark.deep)]
)
def test_torch_loaders_hook_too(data: Path, workers: int, method: str) -> None:
    """Forked processes have the machine code, spawned ones make it again."""
    config = YOLOConfig().replace(data=data, imgsz=SIZE, batch=4, workers=workers, mosaic_block=8, mixup=0.3)
    expected = applied(dataset(data), 1)
    loader, torch_loader = (create(config, hooks=HOOKS) for create in (create_loader, create_dataloader))
    if workers:
        torch_loader.multiprocessing_context = method
    for each in (loader, torch_loader):
        each.set_epoch(1)
        assert plain_samples(each) == expected


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_and_resume(data: Path, world: int) -> None:
    """Stopped after a batch on one rank, gone on with on others: every sample once, as it ever is."""
    first = Loader(dataset(data, hooks=HOOKS), 4, threads=2)
    got = plain_samples(itertools.islice(first, 1))
    state = through_json(first.state_dict())
    for rank in range(world):
        loader = Loader(dataset(data, hooks=HOOKS), 4, threads=2, rank=rank, world_size=world)
        loader.load_state_dict(state)
        got += plain_samples(loader)
    assert sorted(got) == sorted(applied(dataset(data), 0))


def test_draws_are_those_of_the_hook_in_its_place(data: Path) -> None:
    """Whatever the hooks before it draw."""
    alone = one_by_one(dataset(data, hooks=[count_labels, drop_some]))
    behind = one_by_one(dataset(data, hooks=[Hook(lambda image, labels, draws: None, draws=9), drop_some]))
    assert [each[2] for each in alone] == [each[2] for each in behind]


def test_no_other_stream_reaches_the_hooks() -> None:
    assert max(streams.Stream) == streams.Stream.HOOK
    assert streams.Stream.HOOK > streams.Stream.ORDER


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("hooks", [HOOKS, PYTHON], ids=["compiled", "python"])
def test_what_stands_in_for_a_bad_image_is_hooked_once(
    tmp_path: Path, threads: int, hooks: tuple[Any, ...]
) -> None:
    data = write_coloured(tmp_path / "data", COUNT)
    hooked, single, bare = dataset(data, hooks=hooks), dataset(data, hooks=hooks), dataset(data)
    for number in (3, 4, 15):
        next((tmp_path / "data" / "images").glob(f"{number:04}.*")).write_bytes(b"")
    assert plain_samples(Loader(hooked, 4, threads=threads)) == applied(bare, 0)
    assert one_by_one(single, 0) == applied(bare, 0)


# ------------------------------------------------------------ what goes wrong


def raises(image, labels, draws):
    if image[0, 0, 0] >= 0:
        raise ValueError("not this one")


def writes_behind_labels(image, labels, draws):
    labels[len(labels), 0] = 1


def writes_behind_image(image, labels, draws):
    image[2, image.shape[1], 0] = 1


def reads_before_draws(image, labels, draws):
    image[0, 0, 0] = draws[-2]


def divides_by_zero(image, labels, draws):
    return 1 // (image.shape[0] - 3)


def keeps_too_many(image, labels, draws):
    return len(labels) + 1


def keeps_less_than_none(image, labels, draws):
    return -1


def leaves_nan(image, labels, draws):
    labels[1, 2] = np.nan


def leaves_infinity(image, labels, draws):
    labels[1, 3] = np.inf


def leaves_another_class(image, labels, draws):
    labels[1, 0] = 8


def leaves_half_a_class(image, labels, draws):
    labels[1, 0] = 0.5


def leaves_a_negative_side(image, labels, draws):
    labels[1, 4] = -0.1


FAILURES: list[tuple[Callable[..., Any], str]] = [
    (raises, "raised ValueError: not this one"),
    (writes_behind_labels, "raised IndexError: index"),
    (writes_behind_image, "raised IndexError: index"),
    (reads_before_draws, "raised IndexError: index"),
    (divides_by_zero, "raised ZeroDivisionError"),
    (keeps_too_many, "returned 3 labels to keep; expected 0..2"),
    (keeps_less_than_none, "returned -1 labels to keep; expected 0..2"),
    (leaves_nan, "left label 1 as .*nan.*; expected a class of 0..7"),
    (leaves_infinity, "left label 1 as .*inf"),
    (leaves_another_class, r"left label 1 as \[8.0, "),
    (leaves_half_a_class, r"left label 1 as \[0.5, "),
    (leaves_a_negative_side, "left label 1 as .* -0.1"),
]


@pytest.mark.parametrize(("function", "said"), FAILURES, ids=[each.__name__ for each, _ in FAILURES])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_failure_ends_the_iteration_with_the_path(
    data: Path, compiled: bool, function: Callable[..., Any], said: str
) -> None:
    """The error is that of the first sample in order; then the loader and the dataset can be used again."""
    hooks = [stripes, Hook(function, draws=1, compiled=compiled)]
    failing = dataset(data, augment=None, shuffle=False, hooks=hooks)
    message = f"0000.jpg: hook '{function.__name__}' {said}"
    for threads in (0, 2):
        loader = Loader(failing, 4, threads=threads)
        for _ in range(2):
            with pytest.raises(HookError, match=message) as caught:
                list(loader)
        assert isinstance(caught.value.__cause__, Exception) == ("raised" in said)
        loader.close()
    for _ in range(2):
        with pytest.raises(HookError, match=message):
            failing[0]


def test_batches_before_the_failure_come_out(data: Path) -> None:
    """Only position 13 fails; `image[0, -1, -1]` is what `count_labels` wrote."""
    calls = []

    def fails_late(image, labels, draws):
        calls.append(len(labels))
        if len(calls) == 14:
            raise RuntimeError("at last")

    options = {"augment": None, "shuffle": False}
    loader = Loader(dataset(data, hooks=[fails_late], **options), 4, threads=0)
    batches = iter(loader)
    before = plain_samples(itertools.islice(batches, 3))
    with pytest.raises(HookError, match=r"0013.* hook 'fails_late' raised RuntimeError: at last"):
        next(batches)
    assert before == one_by_one(dataset(data, **options))[:12]


@pytest.mark.deep
def test_the_error_comes_through_torchs_processes(data: Path) -> None:
    config = YOLOConfig().replace(data=data, imgsz=SIZE, batch=4, workers=1)
    with pytest.raises(HookError, match="hook 'raises' raised ValueError"):
        list(create_dataloader(config, hooks=[Hook(raises)]))


def test_interrupting_a_python_hook_interrupts(data: Path) -> None:
    def interrupts(image, labels, draws):
        raise KeyboardInterrupt

    for threads in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            list(Loader(dataset(data, hooks=[interrupts]), 4, threads=threads))


def test_an_interrupt_in_native_code_interrupts(data: Path) -> None:
    """It reaches Python when the next hook that is not compiled is called, before its first line."""
    pytest.importorskip("numba")
    send = ctypes.CDLL(None)["raise"]
    send.argtypes, send.restype = (ctypes.c_int,), ctypes.c_int
    number, interrupts = int(signal.SIGINT), iter([KeyboardInterrupt])

    def once(*_: Any) -> None:
        for interrupt in interrupts:
            raise interrupt

    def is_interrupted(image, labels, draws):
        send(number)

    before = signal.signal(signal.SIGINT, once)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(Loader(dataset(data, hooks=[Hook(is_interrupted), count_labels]), 4, threads=0))
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("result", "said"),
    [(True, "TypeError"), (1.0, "TypeError"), ("2", "TypeError"), (2**70, "OverflowError")],
)
def test_a_python_hook_returns_a_count_or_none(data: Path, result: Any, said: str) -> None:
    with pytest.raises(HookError, match=f"hook '<lambda>' raised {said}"):
        dataset(data, hooks=[lambda image, labels, draws: result])[0]


def test_arrays_that_a_python_hook_keeps_stay_valid(data: Path) -> None:
    kept = []

    def keeps(image, labels, draws):
        kept.append((image, labels, image.copy(), labels.copy()))

    for _ in range(3):
        list(Loader(dataset(data, hooks=[keeps]), 4, threads=2))
    for image, labels, image_then, labels_then in kept:
        np.testing.assert_array_equal(image, image_then)
        np.testing.assert_array_equal(labels, labels_then)


# ------------------------------------------------------------ declared wrongly


def test_what_numba_cannot_compile_is_said(data: Path) -> None:
    def unsupported(image, labels, draws):
        return open(str(image.shape))  # noqa: PTH123

    with pytest.raises(HookError, match=r"(?s)'unsupported' cannot be compiled: .*compiled=False"):
        dataset(data, hooks=[Hook(unsupported)])
    with pytest.raises(HookError, match=r"(?s)'<lambda>' cannot be compiled: "):
        dataset(data, hooks=[Hook(lambda image: 1)])
    with pytest.raises(HookError, match=r"(?s)cannot be compiled: "):
        dataset(data, hooks=[Hook(functools.partial(count_labels))])
    with pytest.raises(HookError, match=r"(?s)'len' cannot be compiled: "):
        dataset(data, hooks=[Hook(len)])  # type: ignore[arg-type]


@pytest.mark.parametrize("result", [1.0, True, (1, 2)], ids=str)
def test_a_compiled_hook_returns_a_count_or_nothing(data: Path, result: Any) -> None:
    with pytest.raises(HookError, match="expected the number of labels to keep"):
        dataset(data, hooks=[Hook(lambda image, labels, draws: result)])


def test_a_compiled_hook_may_return_a_count_at_times(data: Path) -> None:
    def at_times(image, labels, draws):
        if draws[0] < 0.5:
            return 1
        return None

    counts = [len(labels) // 20 for _, _, labels, *_ in one_by_one(
        dataset(data, augment=None, hooks=[Hook(at_times, draws=1)]))]  # fmt: skip
    assert set(counts) == {1, 2}


def test_arguments_of_a_hook_are_checked(data: Path) -> None:
    with pytest.raises(ConfigError, match="draws: got -1"):
        hook(draws=-1)(count_labels)
    with pytest.raises(ConfigError, match="draws: got 4097, expected at most 4096"):
        hook(draws=4097)(count_labels)
    with pytest.raises(ConfigError, match=r"draws: got 1.5, expected a whole number"):
        hook(draws=1.5)(count_labels)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="got 3, expected a function"):
        dataset(data, hooks=[3])


def test_hooks_run_on_the_cpu(data: Path) -> None:
    with pytest.raises(
        ConfigError, match="device: got 'cpu' with the hooks stripes, count_labels, drop_some"
    ):
        Loader(dataset(data, hooks=HOOKS), 4, device="cpu")


def test_without_numba_python_hooks_run(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert one_by_one(dataset(data, hooks=PYTHON)) == applied(dataset(data), 0)
    with pytest.raises(MissingExtraError, match=r"hook 'raises' needs .*yolofast\[numba\]"):
        dataset(data, hooks=[Hook(raises)])


# ------------------------------------------------------------ the object


def test_a_hook_is_its_function(data: Path) -> None:
    assert stripes.__name__ == "stripes"
    assert "Inverts the rows" in (stripes.__doc__ or "")
    assert repr(drop_some) == "Hook(drop_some, draws=3, compiled=True)"
    numba = pytest.importorskip("numba")
    assert Hook(numba.njit(count_labels)).function is count_labels


def test_pickled_hooks_make_the_same_samples(data: Path) -> None:
    assert pickle.loads(pickle.dumps(stripes)) is hook_cases.stripes
    again = pickle.loads(pickle.dumps(Hook(count_labels, draws=2, compiled=False, cache=True)))
    assert (again.function, again.draws, again.compiled, again.cache) == (count_labels, 2, False, True)
    hooked = dataset(data, hooks=(*HOOKS, Hook(count_labels)))
    expected = one_by_one(hooked)
    assert one_by_one(pickle.loads(pickle.dumps(hooked))) == expected


@pytest.mark.deep
def test_machine_code_is_kept_on_request(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path))
    hooks = [Hook(stripes.function, draws=2, cache=True)]
    assert one_by_one(dataset(data, hooks=hooks)) == one_by_one(dataset(data, hooks=[stripes]))
    assert list(tmp_path.rglob("*stripes*.nbc"))
    names: dict[str, Any] = {}
    exec("def typed_in(image, labels, draws): pass", names)
    assert one_by_one(dataset(data, hooks=[Hook(names["typed_in"], cache=True)])) == one_by_one(dataset(data))


@pytest.mark.deep
def test_kept_machine_code_has_bounds_checks(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the function's own decorator has kept some without."""
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path / "code"))
    (tmp_path / "reads_behind.py").write_text(
        "import numba\n"
        "@numba.njit(cache=True)\n"
        "def reads_behind(image, labels, draws):\n"
        "    image[0, 0, 0] = labels[len(labels), 0]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    function = importlib.import_module("reads_behind").reads_behind
    function(np.zeros((3, 4, 4), np.uint8), np.zeros((2, 5), np.float32)[:1], np.zeros(0))
    with pytest.raises(HookError, match="hook 'reads_behind' raised IndexError"):
        dataset(data, hooks=[Hook(function, cache=True)])[0]


def test_the_monitor_tells_what_hooks_take(data: Path) -> None:
    for hooks in ((), HOOKS):
        monitor = DataFlowMonitor()
        list(Loader(dataset(data, hooks=hooks), 4, threads=2, monitor=monitor))
        assert ("hooks" in monitor.report()["stages"]) == bool(hooks)


def test_train_model_hooks_the_training_samples(data: Path) -> None:
    from yolofast.models import build_model
    from yolofast.pipeline import train_model

    config = YOLOConfig().replace(data=data, imgsz=SIZE, batch=4, workers=0, epochs=1, device="cpu")
    model = build_model("p", 8, class_names=tuple(f"c{number}" for number in range(8)))
    with pytest.raises(HookError, match="hook 'raises' raised ValueError"):
        train_model(model, config, hooks=[Hook(raises)])
