"""The lifecycle of a loader: several at once, left, collected, closed, forked, interrupted; nothing hangs."""

from __future__ import annotations

import contextlib
import gc
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.coloured_dataset import Plain, eventually, loader_threads, plain, plain_samples, write_coloured

from yolofast.config import AugmentConfig, YOLOConfig
from yolofast.errors import YolofastError
from yolofast.kernels.packed_paths import PackedPaths
from yolofast.load import Loader, YOLODataset, create_dataloader
from yolofast.load.execute import _engine as engine_module

COUNT = 22
LONG = 30.0  # seconds after which a subprocess hangs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coloured(tmp_path_factory.mktemp("coloured"), COUNT)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Any:
    yield
    gc.collect()
    assert eventually(lambda: not loader_threads()), loader_threads()


def loader(data: Path, threads: int = 2, **options: Any) -> Loader:
    samples = YOLODataset(data, "train", imgsz=64, augment=AugmentConfig(), shuffle=True)
    return Loader(samples, 4, threads=threads, **options)


def whole_epoch(data: Path) -> list[Plain]:
    samples = loader(data).dataset
    return [plain(sample) for sample in samples]


# ------------------------------------------------------------ several at once


def test_loaders_take_turns(data: Path) -> None:
    expected = whole_epoch(data)
    loaders = [loader(data, threads) for threads in (0, 1, 2, 3)]
    rounds = list(zip(*loaders, strict=True))
    for batches in zip(*rounds, strict=True):
        assert plain_samples(batches) == expected


def test_loaders_over_one_dataset_in_threads(data: Path) -> None:
    """Two loaders, and the dataset itself, each from a thread of its own, each for three epochs."""
    samples = loader(data).dataset
    expected = [[plain(samples[epoch, at]) for at in range(COUNT)] for epoch in range(3)]
    shared = loader(data).dataset
    got: list[list[list[Plain]]] = [[] for _ in range(4)]
    loaders = [Loader(shared, 4, threads=threads) for threads in (2, 0)]
    jobs: list[Callable[[], list[Plain]]] = [
        lambda: plain_samples(loaders[0]),
        lambda: plain_samples(loaders[1]),
    ]

    def iterate(slot: int) -> None:
        for epoch in range(3):
            run = jobs[slot] if slot < 2 else lambda e=epoch: [plain(shared[e, at]) for at in range(COUNT)]
            got[slot].append(run())

    threads = [threading.Thread(target=iterate, args=(slot,)) for slot in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()
    assert got == [expected] * 4


# ------------------------------------------------------------ the end


@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize("keep", ["nothing", "iterator", "loader", "cycle"])
def test_who_is_not_held_ends(data: Path, threads: int, keep: str) -> None:
    subject: Loader | None = loader(data, threads)
    iterator = iter(subject or ())
    batch = next(iterator)
    assert len(loader_threads()) == threads
    held: Any = {"loader": subject, "iterator": iterator}.get(keep)
    if keep == "cycle":
        cycle: list[Any] = [subject, iterator]
        cycle.append(cycle)
        del cycle
    subject = None
    del iterator
    gc.collect()
    if held is not None:
        assert len(loader_threads()) == threads
        if isinstance(held, Loader):
            held.set_epoch(0)
        assert plain_samples([batch] if keep == "iterator" else []) + plain_samples(held) == whole_epoch(data)
        del held
        gc.collect()
    assert eventually(lambda: not loader_threads())
    assert plain_samples([batch]) == whole_epoch(data)[:4]


@pytest.mark.parametrize("threads", [0, 2])
def test_closing_and_iterating_again(data: Path, threads: int) -> None:
    subject = loader(data, threads)
    expected = whole_epoch(data)
    subject.close()
    for _ in range(3):
        subject.set_epoch(0)
        assert plain_samples(subject) == expected
        assert len(loader_threads()) == threads
        subject.close()
        subject.close()
        assert not loader_threads()


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("prefetch", [1, 8])
def test_closed_in_the_middle_the_iteration_says_so(data: Path, threads: int, prefetch: int) -> None:
    """It neither waits for ever nor ends as if the epoch were over."""
    subject = loader(data, threads, prefetch=prefetch)
    iterator = iter(subject)
    next(iterator)
    subject.close()
    with pytest.raises(YolofastError, match="closed during an iteration"):
        next(iterator)
    assert plain_samples(subject) == whole_epoch(data)


def test_an_error_of_the_consumer_passes_and_the_loader_lives_on(data: Path) -> None:
    subject = loader(data)

    def consume() -> None:
        for _batch in subject:
            raise KeyError("mine")

    for _ in range(3):
        with pytest.raises(KeyError, match="mine"):
            consume()
    subject.set_epoch(0)
    assert plain_samples(subject) == whole_epoch(data)


def test_the_collector_may_end_an_iteration_in_a_thread_of_its_own_pool(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector runs in any thread that runs Python, and loader threads do so for PNG files."""
    decode, collected = engine_module.decode_other, threading.Event()

    def decode_and_collect(path: Any) -> Any:
        if threading.current_thread().name.startswith("yolofast-") and dropped.is_set():
            gc.collect()
            collected.set()
        return decode(path)

    monkeypatch.setattr(engine_module, "decode_other", decode_and_collect)
    expected = whole_epoch(data)
    for keep_loader in (False, True):
        dropped = threading.Event()
        gc.collect()
        gc.disable()
        try:
            subject = loader(data, 2, prefetch=8)
            iterator = iter(subject)
            first = next(iterator)
            cycle: list[Any] = [iterator]
            cycle.append(cycle)
            if not keep_loader:
                cycle.append(subject)
                del subject
            del iterator, cycle
            dropped.set()
            collected.wait(0.5)
        finally:
            gc.enable()
        assert plain_samples([first]) == expected[:4]
        if keep_loader:
            subject.set_epoch(0)
            assert plain_samples(subject) == expected
            del subject
        gc.collect()
        assert eventually(lambda: not loader_threads())


# ------------------------------------------------------------ errors in a thread


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("error", [MemoryError("none left"), RuntimeError("broken")], ids=repr)
def test_an_error_that_is_not_the_images_fault_reaches_the_consumer(
    data: Path, monkeypatch: pytest.MonkeyPatch, threads: int, error: Exception
) -> None:
    """Soon, with the file's path; no image is called bad for it, and the loader can be used again."""
    subject, expected = loader(data, threads), whole_epoch(data)

    def fail(path: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "decode_other", fail)
        started = time.monotonic()
        with pytest.raises(YolofastError, match=r"\d+\.png: .*(none left|broken)"):
            list(subject)
        assert time.monotonic() - started < 5
        with pytest.raises(YolofastError, match=r"\d+\.png: .*(none left|broken)"):
            list(subject.dataset)
    assert len(subject.dataset.bad_images) == 0
    assert plain_samples(subject) == expected


def test_a_thread_that_fails_elsewhere_hangs_nobody_and_leaves_no_thread(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = loader(data, 2)
    read = PackedPaths.__getitem__

    def fail(paths: PackedPaths, index: int) -> str:
        if threading.current_thread().name.startswith("yolofast-"):
            raise MemoryError("none left")
        return read(paths, index)

    with monkeypatch.context() as patch:
        patch.setattr(PackedPaths, "__getitem__", fail)
        for _ in range(3):
            started = time.monotonic()
            with pytest.raises(YolofastError, match="none left"):
                list(subject)
            assert time.monotonic() - started < 5
    subject.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("yolofast-")]


def test_an_interrupt_while_a_dataset_decodes_leaves_it_usable(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, expected = loader(data).dataset, whole_epoch(data)

    def interrupt(path: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "decode_other", interrupt)
        with pytest.raises(KeyboardInterrupt):
            list(samples)
    done: list[Plain] = []
    thread = threading.Thread(target=lambda: done.extend(map(plain, samples)), daemon=True)
    thread.start()
    thread.join(LONG)
    assert done == expected
    assert len(samples.bad_images) == 0


# ------------------------------------------------------------ processes

# A shell starts its background jobs with Ctrl-C ignored, and this may run in one.
HEAD = """
    import gc, os, signal, sys, threading, time
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from yolofast.config import AugmentConfig
    from yolofast.load import Loader, YOLODataset

    def make(threads=2, **options):
        samples = YOLODataset(sys.argv[1], "train", imgsz=64, augment=AugmentConfig(), shuffle=True)
        return Loader(samples, 4, threads=threads, **options)
"""


def script(body: str, data: Path) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(HEAD) + textwrap.dedent(body), str(data)]


def run(body: str, data: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(script(body, data), capture_output=True, text=True, timeout=LONG, check=False)


@pytest.mark.parametrize(
    ("threads", "ending"),
    [
        (0, ""),
        (1, ""),
        (4, ""),
        (4, "sys.exit(0)"),
        (4, "del iterator"),
        (4, "del loader"),
        (4, "loader.close()"),
        (4, "loader.me = iterator"),
    ],
)
def test_a_program_may_end_in_the_middle_of_an_iteration(data: Path, threads: int, ending: str) -> None:
    body = f"""
    loader = make({threads}, prefetch=8)
    iterator = iter(loader)
    batch = next(iterator)
    print(len(batch))
    {ending}
    """
    started = time.monotonic()
    done = run(body, data)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")
    assert time.monotonic() - started < 10


def test_a_program_may_end_by_an_error(data: Path) -> None:
    done = run("for batch in make(3, prefetch=8):\n        raise SystemError('mine')", data)
    assert done.returncode == 1
    assert done.stderr.count("Error") == 1
    assert "SystemError: mine" in done.stderr


@pytest.mark.parametrize("threads", [0, 2])
def test_ctrl_c_ends_an_iteration_at_once(data: Path, threads: int) -> None:
    body = f"""
    loader = make({threads})
    list(loader)
    print("ready", flush=True)
    try:
        while True:
            for batch in loader:
                batch = None
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        print(sum(map(len, loader)), flush=True)
        raise
    """
    process = subprocess.Popen(script(body, data), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.2)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n"
            assert time.monotonic() - sent < 2
            assert process.stdout.readline() == f"{COUNT}\n"
            process.wait(10)
            assert "KeyboardInterrupt" in process.stderr.read()
            assert process.returncode == -signal.SIGINT
        finally:
            process.kill()


def test_ctrl_c_does_not_wait_for_a_slow_image(data: Path) -> None:
    body = """
    from yolofast.load.execute import _engine
    decode = _engine.decode_other
    _engine.decode_other = lambda path: (time.sleep(0.5), decode(path))[1]
    for index in range(2):
        print("ready", flush=True)
        try:
            list(make(1))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    process = subprocess.Popen(script(body, data), stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        try:
            for _ in range(2):
                assert process.stdout.readline() == "ready\n"
                time.sleep(0.6)
                sent = time.monotonic()
                process.send_signal(signal.SIGINT)
                assert process.stdout.readline() == "interrupted\n"
                assert time.monotonic() - sent < 2
            assert process.wait(10) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_a_forked_child_iterates_by_itself(data: Path, threads: int) -> None:
    """With the parent's loader object, in the middle of the parent's iteration; both see the whole epoch."""
    body = f"""
    from support.coloured_dataset import plain_samples
    expected = plain_samples(make(0))
    loader = make({threads}, prefetch=8)
    samples = loader.dataset
    samples[0]
    iterator = iter(loader)
    first = next(iterator)
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            loader.set_epoch(0)
            assert plain_samples(loader) == expected
            loader.set_epoch(0)
            assert len(plain_samples([next(iter(loader))])) == 4
            assert samples[0].path == expected[0][3]
            del loader, iterator, samples
            gc.collect()
            names = [thread.name for thread in threading.enumerate()]
            assert not any(name.startswith("yolofast-") for name in names), names
            sys.exit(7)
        children.append(child)
    assert plain_samples([first, *iterator]) == expected
    for child in children:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        script(body, data), capture_output=True, text=True, timeout=LONG, env=environment, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n" * 4, "")


@pytest.mark.parametrize("threads", [0, 2])
def test_a_forked_child_cannot_go_on_with_its_parents_iteration(data: Path, threads: int) -> None:
    body = f"""
    iterator = iter(make({threads}, prefetch=2))
    next(iterator)
    child = os.fork()
    if child == 0:
        next(iterator)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), sum(map(len, iterator)))
    """
    done = run(body, data)
    assert (done.returncode, done.stdout) == (0, f"1 {COUNT - 4}\n")
    assert "YolofastError: a forked process cannot continue its parent's iteration" in done.stderr


def _send_epoch(data: Path, threads: int, connection: Any) -> None:
    connection.send(plain_samples(loader(data, threads)))


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.deep)])
def test_child_processes_of_multiprocessing(data: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    running = loader(data, 2, prefetch=8)
    iterator = iter(running)
    first = next(iterator)
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_epoch, args=(data, 2, sender))
    child.start()
    assert receiver.poll(LONG)
    assert receiver.recv() == whole_epoch(data)
    child.join(LONG)
    assert child.exitcode == 0
    assert plain_samples([first, *iterator]) == whole_epoch(data)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.deep)])
def test_torch_loader_processes(data: Path, method: str) -> None:
    """Also beside a loader whose threads are at work."""
    running = loader(data, 2, prefetch=8)
    iterator = iter(running)
    next(iterator)
    torch_loader = create_dataloader(YOLOConfig().replace(data=data, imgsz=64, batch=4, workers=2))
    torch_loader.multiprocessing_context = method
    assert plain_samples(torch_loader) == whole_epoch(data)
    torch_loader.set_epoch(1)
    second = plain_samples(torch_loader)
    assert len(list(iterator)) == len(running) - 1
    assert second == plain_samples(running)
    with contextlib.suppress(AttributeError):
        torch_loader._iterator._shutdown_workers()


def test_many_short_lives(data: Path) -> None:
    """Loaders that are made, used a little and dropped leave no thread, file or memory behind."""
    for number in range(30):
        list(itertools.islice(loader(data, number % 4), number % 3))
    assert eventually(lambda: not loader_threads())
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(30):
        list(itertools.islice(loader(data, number % 4), number % 3))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
