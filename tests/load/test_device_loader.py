"""Loader with a device: the samples of the CPU executor, whatever the chunks, threads and interruptions.

Every test runs on the CPU, through the same code, and on a CUDA device where there is one.
"""

from __future__ import annotations

import gc
import itertools
import logging
import multiprocessing
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.coloured_dataset import eventually, loader_threads, plain_samples, write_coloured
from support.cuda_device import skip_without_cuda
from support.emulated_library import build_emulated_library
from support.loader_cases import COUNT, dataset, one_by_one, through_json

from yolofast.config import AugmentConfig
from yolofast.errors import ConfigError, DataError, YolofastError
from yolofast.load import DataFlowMonitor, Loader, YOLODataset
from yolofast.load.execute import _engine as engine_module
from yolofast.types import Batch

torch = pytest.importorskip("torch")

from yolofast.kernels import torch_ops  # noqa: E402
from yolofast.load.execute.device import DeviceExecutor  # noqa: E402
from yolofast.load.execute.device_stream import Mark, SideStream  # noqa: E402

CHUNK = 40_000
"""Bytes of a staging chunk: a few pictures, so that a block takes several."""


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def place(request: pytest.FixtureRequest) -> str:
    """The device that batches are rendered on."""
    name = str(request.param)
    reason = torch_ops.why_no_cuda() if name == "cuda" else None
    if reason is not None:
        skip_without_cuda(reason)
    return name


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    assert eventually(lambda: not loader_threads()), loader_threads()


def device_loader(
    samples: YOLODataset,
    batch: int,
    place: str,
    *,
    prefetch: int = 3,
    dtype: Any = None,
    chunk_bytes: int = CHUNK,
    arena_bytes: int = 10**6,
    operators: Any = torch.ops.yolofast,
    **options: Any,
) -> Loader:
    """A loader with a little memory to work in."""
    loader = Loader(samples, batch, prefetch=prefetch, device=place, dtype=dtype, **options)
    loader._executor = DeviceExecutor(
        samples,
        batch,
        prefetch,
        place,
        dtype,
        chunk_bytes=chunk_bytes,
        arena_bytes=arena_bytes,
        operators=operators,
    )
    return loader


def on_host(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Batches brought home, one at a time."""
    for batch in batches:
        yield Batch(batch.images.cpu(), batch.targets.cpu(), batch.paths, batch.shapes)


class LateStream(SideStream):
    """A stream on the CPU that is as late as can be: it works when somebody waits, and in order.

    Memory that it is to copy from reads as it is then; results are poison until then.
    """

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.queued: list[tuple[Any, ...]] = []
        self.done = 0

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return torch.full(shape, 0xA5, dtype=dtype)

    def copy(self, to: Any, source: Any) -> None:
        self.queued.append((to.copy_, source))

    def call(self, operator: Any, *arguments: Any, **named: Any) -> None:
        self.queued.append((partial(operator, **named), *arguments))

    def mark(self) -> Mark:
        return LateMark(self, len(self.queued))


class LateMark(Mark):
    def __init__(self, stream: LateStream, end: int) -> None:
        self.stream, self.end = stream, end

    def is_done(self) -> bool:
        return self.stream.done >= self.end

    def wait(self) -> None:
        for at in range(self.stream.done, self.end):
            work, *arguments = self.stream.queued[at]
            work(*arguments)
            self.stream.queued[at] = ()
        self.stream.done = max(self.stream.done, self.end)

    def hand_over(self, *tensors: Any) -> None:
        self.wait()


CASES: dict[str, dict[str, Any]] = {
    "letterbox": {"augment": None, "shuffle": False},
    "mosaic": {"augment": AugmentConfig()},
    "mixup": {},
    "cutmix": {"augment": AugmentConfig(mosaic_block=8, mixup=0.3, cutmix=0.7, degrees=5, bgr=0.5)},
    "perspective": {"augment": AugmentConfig(degrees=20, shear=5, perspective=0.001, mosaic=0.7, mixup=0.5)},
    "partners from all": {"augment": AugmentConfig(mosaic_block=0, mixup=0.3)},
    "rect": {"augment": None, "rect": True, "shuffle": False, "stride": 16},
    "multi-scale": {"multi_scale": 0.5, "stride": 16},
    "cached": {"cache": "ram", "imgsz": 32},
}


# ------------------------------------------------------------ the same samples


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("name", CASES)
def test_samples_are_those_of_the_cpu(data: Path, place: str, name: str, threads: int) -> None:
    """In two epochs; the last batch is not full."""
    single = dataset(data, **CASES[name])
    loader = device_loader(dataset(data, **CASES[name]), 4, place, threads=threads)
    for epoch in range(2):
        batches = list(loader)
        assert len(batches) == len(loader) == -(-COUNT // 4)
        assert {batch.images.device.type for batch in batches} == {place}
        assert {batch.targets.device.type for batch in batches} == {place}
        assert plain_samples(on_host(batches)) == one_by_one(single, epoch, batch=4)


@pytest.mark.parametrize("chunk_bytes", [64, 9_000, 10**7])
@pytest.mark.parametrize("arena_bytes", [1, 10**9])
@pytest.mark.parametrize("prefetch", [1, 8])
def test_no_size_of_memory_changes_a_sample(
    data: Path, place: str, chunk_bytes: int, arena_bytes: int, prefetch: int
) -> None:
    """A chunk smaller than any picture, one that holds a block; an arena that holds a batch at most."""
    sizes = {"chunk_bytes": chunk_bytes, "arena_bytes": arena_bytes, "prefetch": prefetch}
    loader = device_loader(dataset(data), 4, place, threads=2, **sizes)
    assert plain_samples(on_host(loader)) == one_by_one(dataset(data))


def test_memory_as_it_is_by_default(data: Path, place: str) -> None:
    loader = Loader(dataset(data), 5, threads=2, device=place)
    assert plain_samples(on_host(loader)) == one_by_one(dataset(data))


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("chunk_bytes", [64, 9_000, CHUNK, 10**7])
@pytest.mark.parametrize("name", ["letterbox", "mixup"])
def test_a_device_may_be_late(data: Path, name: str, chunk_bytes: int, threads: int) -> None:
    """Nothing is written again before it was read, and no batch is handed out before it is there."""
    loader = device_loader(dataset(data, **CASES[name]), 4, "cpu", threads=threads, chunk_bytes=chunk_bytes)
    stream = loader._executor._stream = LateStream()  # type: ignore[attr-defined]
    single = dataset(data, **CASES[name])
    expected = one_by_one(single, 0) + one_by_one(single, 1)
    assert plain_samples(batch for _ in range(2) for batch in loader) == expected
    assert stream.done > 0


@pytest.mark.deep
def test_the_kernels_of_a_device_give_the_same(data: Path) -> None:
    """Those of csrc/cuda, which tests/emulation runs on the host."""
    torch.ops.load_library(build_emulated_library())
    operators = torch.ops.yolofast_emulated
    loader = device_loader(dataset(data), 4, "cpu", threads=2, operators=operators)
    assert plain_samples(loader) == one_by_one(dataset(data))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_images_of_other_dtypes_are_scaled(data: Path, place: str, dtype: Any) -> None:
    levels = device_loader(dataset(data), 4, place, threads=2)
    scaled = device_loader(dataset(data), 4, place, threads=2, dtype=dtype)
    for whole, batch in zip(levels, scaled, strict=True):
        assert batch.images.dtype is dtype
        expected = (whole.images.cpu().float() / 255).to(dtype)
        torch.testing.assert_close(batch.images.cpu(), expected, rtol=0, atol=0)


def test_batches_that_are_held_stay_as_they_are(data: Path, place: str) -> None:
    loader = device_loader(dataset(data), 4, place, threads=2)
    held = [batch for _ in range(2) for batch in loader]
    single = dataset(data)
    assert plain_samples(on_host(held)) == one_by_one(single, 0) + one_by_one(single, 1)


def test_a_picture_goes_to_the_device_once_a_block(
    data: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[int] = []
    jobs = engine_module.PackJobs

    def noted(images: Any, memory: Any) -> Any:
        packed.extend(images.tolist())
        return jobs(images, memory)

    monkeypatch.setattr("yolofast.load.execute.device_pictures.PackJobs", noted)
    samples = dataset(data, augment=AugmentConfig(mosaic_block=256))
    assert plain_samples(on_host(device_loader(samples, 4, place, threads=0, chunk_bytes=10**6)))
    assert sorted(packed) == list(range(COUNT))


# ------------------------------------------------------------ where it goes on


@pytest.mark.parametrize("threads", [0, 2])
def test_resumed_in_the_middle_the_stream_goes_on(data: Path, place: str, threads: int) -> None:
    expected = one_by_one(dataset(data), 0)
    loader = device_loader(dataset(data), 4, place, threads=threads)
    states = [through_json(loader.state_dict()) for _ in loader]
    for number, state in enumerate(states[:-1], 1):
        resumed = device_loader(dataset(data), 4, place, threads=threads)
        resumed.load_state_dict(state)
        assert through_json(resumed.state_dict()) == state
        assert plain_samples(on_host(resumed)) == expected[4 * number :]


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("taken", [0, 1, 4])
def test_an_iteration_may_be_left(data: Path, place: str, threads: int, taken: int) -> None:
    loader = device_loader(dataset(data), 4, place, threads=threads)
    for _ in range(2):
        assert len(list(itertools.islice(loader, taken))) == taken
    epoch = 2 if taken else 0
    assert plain_samples(on_host(loader)) == one_by_one(dataset(data), epoch)
    assert loader.epoch == epoch + 1


def test_a_loader_may_be_dropped_in_the_middle(data: Path, place: str) -> None:
    iterator = iter(device_loader(dataset(data), 4, place, threads=3, prefetch=1))
    batch = next(iterator)
    del iterator
    gc.collect()
    assert eventually(lambda: not loader_threads())
    assert plain_samples(on_host([batch])) == one_by_one(dataset(data))[:4]


@pytest.mark.parametrize("threads", [0, 2])
def test_closed_in_the_middle_the_iteration_says_so(data: Path, place: str, threads: int) -> None:
    loader = device_loader(dataset(data), 4, place, threads=threads)
    iterator = iter(loader)
    next(iterator)
    loader.close()
    with pytest.raises(YolofastError, match="closed during an iteration"):
        next(iterator)
    assert plain_samples(on_host(loader)) == one_by_one(dataset(data))


@pytest.mark.parametrize("threads", [0, 3])
def test_a_forked_child_iterates_by_itself(data: Path, threads: int) -> None:
    """With the parent's loader, in the middle of the parent's iteration; both see the whole epoch."""
    loader = device_loader(dataset(data), 4, "cpu", threads=threads)
    expected = one_by_one(dataset(data))
    iterator = iter(loader)
    first = next(iterator)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def send_epoch() -> None:
        torch.set_num_threads(1)  # a forked process has none of torch's threads, which the operator would use
        loader.set_epoch(0)
        sender.send(plain_samples(loader))

    child = context.Process(target=send_epoch)
    child.start()
    assert receiver.poll(30)
    assert receiver.recv() == expected
    child.join(30)
    assert child.exitcode == 0
    assert plain_samples([first, *iterator]) == expected


# ------------------------------------------------------------ what goes wrong


def indexed_before(root: Path, **options: Any) -> list[YOLODataset]:
    """The same dataset twice, indexed before its images were spoiled."""
    data = write_coloured(root, 40, kinds=("420", "png", "444"))
    samples = [dataset(data, **options) for _ in range(2)]
    for number, keep in ((3, 0), (16, 20), (19, 700)):
        path = Path(samples[0].paths[number])
        path.write_bytes(path.read_bytes()[:keep])
    return samples


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("augment", [None, AugmentConfig(mosaic_block=8, mixup=0.3)], ids=["plain", "mixed"])
def test_bad_images_are_replaced_as_on_the_cpu(
    tmp_path: Path, place: str, augment: AugmentConfig | None, threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"augment": augment, "shuffle": augment is not None}
    single, samples = indexed_before(tmp_path / "data", **options)
    expected = [one_by_one(single, epoch) for epoch in range(2)]
    assert len(single.bad_images) == 3
    loader = device_loader(samples, 4, place, threads=threads)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert [plain_samples(on_host(loader)) for _ in range(2)] == expected
    assert samples.bad_images.reasons == single.bad_images.reasons
    assert sum("replaced by another image" in record.message for record in caplog.records) == 3


@pytest.mark.parametrize("threads", [0, 2])
def test_what_stands_in_may_be_known_to_be_bad_too(tmp_path: Path, place: str, threads: int) -> None:
    """All pictures have been decoded when the first of them is replaced, by the one after it."""
    data = write_coloured(tmp_path / "data", 12, kinds=("420",))
    options = {"augment": AugmentConfig(), "shuffle": False, "max_bad_share": 0.5}
    single, samples = (dataset(data, **options) for _ in range(2))
    for number in (3, 4, 8, 9):
        path = Path(single.paths[number])
        path.write_bytes(path.read_bytes()[:20])
    loader = device_loader(samples, 4, place, threads=threads, chunk_bytes=10**6)
    assert plain_samples(on_host(loader)) == one_by_one(single)
    assert samples.bad_images.reasons == single.bad_images.reasons


@pytest.mark.parametrize("threads", [0, 2])
def test_too_many_bad_images_end_it_where_the_cpu_ends_it(tmp_path: Path, place: str, threads: int) -> None:
    options = {"augment": None, "shuffle": False, "max_bad_share": 0.05}
    on_cpu, on_device = indexed_before(tmp_path / "data", **options)
    counts = []
    for loader in (
        Loader(on_cpu, 4, threads=threads),
        device_loader(on_device, 4, place, threads=threads, prefetch=8),
    ):
        taken: list[Batch] = []
        with pytest.raises(DataError, match="3 of 40 images cannot be read"):
            taken.extend(loader)
        counts.append(len(taken))
        loader.close()
    assert counts == [4, 4]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_that_is_not_the_images_fault_reaches_the_consumer(
    data: Path, place: str, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    loader = device_loader(dataset(data), 4, place, threads=threads)

    def fail(path: Any) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "decode_other", fail)
        with pytest.raises(YolofastError, match=r"\d+\.png: .*broken"):
            list(loader)
    assert len(loader.dataset.bad_images) == 0
    assert plain_samples(on_host(loader)) == one_by_one(dataset(data))


@pytest.mark.parametrize("threads", [0, 2])
def test_a_monitor_hears_of_every_batch(data: Path, place: str, threads: int) -> None:
    monitor = DataFlowMonitor(warm_up=0)
    loader = device_loader(dataset(data), 4, place, threads=threads, monitor=monitor)
    list(loader)
    report = monitor.report()
    assert report["batches"] == len(loader)
    assert report["total_samples_processed"] == COUNT
    assert set(report["stages"]) == {"read", "decode", "pack", "wait", "render", "labels"}
    assert all(report["stages"][stage]["total_s"] > 0 for stage in ("read", "decode", "pack", "render"))
    assert 0 <= report["queue_depth"]["mean"] <= 3


# ------------------------------------------------------------ settings


@pytest.mark.parametrize("device", ["mps", "tpu", "cuda:77", "meta"])
def test_a_device_that_cannot_render_is_refused(data: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=f"device: got '{device}'"):
        Loader(dataset(data), 4, device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
def test_without_cuda_the_error_names_what_is_missing(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"device: got 'cuda', but (torch found no|yolofast was built)"):
        Loader(dataset(data), 4, device="cuda")


def test_a_dtype_needs_a_device_and_a_known_one(data: Path) -> None:
    with pytest.raises(ConfigError, match="without a device"):
        Loader(dataset(data), 4, dtype=torch.float16)
    with pytest.raises(ConfigError, match=r"dtype: got torch\.int64"):
        Loader(dataset(data), 4, device="cpu", dtype=torch.int64)
