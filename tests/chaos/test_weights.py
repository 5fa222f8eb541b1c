"""Attacks on the files of training and export: changed bytes, cut files, hostile headers.

A change is noticed where the reader raises, or where a warning names the file; it is harmless where the same
values are read.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.chaos import Attack, python
from support.tensor_files import container

from yolofast.config import YOLOConfig
from yolofast.errors import CheckpointError, ConfigError, ExportError
from yolofast.export import check_export, export_model
from yolofast.limits import MAX_TENSOR_HEADER_BYTES
from yolofast.models import Detector, build_model, fused_copy, load_weights
from yolofast.runs import resumed_config
from yolofast.train import CheckpointManager, Trainer, TrainingMonitor
from yolofast.types import Batch

pytestmark = pytest.mark.chaos
CONFIG = YOLOConfig().replace(model="p", imgsz=64, epochs=2, device="cpu", amp="off", batch=2, resume=True)


class Loader:
    """Two batches of two random images with a box each."""

    def __len__(self) -> int:
        return 2

    def set_epoch(self, epoch: int) -> None:
        self.generator = torch.Generator().manual_seed(epoch)

    def __iter__(self) -> object:
        for _ in range(2):
            images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=self.generator)
            targets = torch.tensor([[i, 0, 0.5, 0.5, 0.5, 0.5] for i in range(2)])
            yield Batch(images, targets, ("a", "b"), torch.full((2, 2), 64))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs, with exports."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    model = build_model("p", 2, class_names=("a", "b"), seed=0)
    manager = CheckpointManager(folder / "weights", model.metadata())
    CONFIG.replace(resume=False).to_yaml(folder / "config.yaml")
    trainer = Trainer(
        model,
        Loader(),  # type: ignore[arg-type]
        CONFIG.training,
        num_classes=2,
        checkpoints=manager,
        monitor=TrainingMonitor(folder),
        progress=False,
    )
    trainer.fit()
    fused: Detector = fused_copy(model)
    export_model(fused, folder / "model.torchscript", format="torchscript", imgsz=64)
    if pytest.importorskip("onnx"):
        export_model(fused, folder / "model.onnx", imgsz=64)
    return folder


def read_checkpoint(path: Path) -> None:
    """As --resume does, without a checkpoint before it to go back to."""
    manager = CheckpointManager(path.parent)
    manager.load_latest()


def damaged(whole: bytes, draw: random.Random, header: int) -> bytes:
    """`whole` with another byte somewhere; every other time within the first `header` bytes."""
    at = draw.randrange(draw.choice((min(header, len(whole)), len(whole))))
    other = draw.choice((whole[at] ^ 1 << draw.randrange(8), draw.randrange(256)))
    return whole[:at] + bytes([other if other != whole[at] else other ^ 255]) + whole[at + 1 :]


READERS: dict[str, tuple[str, Callable[[Path], object], int]] = {
    "best": ("weights/best.safetensors", load_weights, 40_000),
    "last": ("weights/last.safetensors", read_checkpoint, 150_000),
    "previous": ("weights/previous.safetensors", read_checkpoint, 150_000),
    "onnx": ("model.onnx", check_export, 20_000),
    "torchscript": ("model.torchscript", check_export, 20_000),
}


def alone(run: Path, kind: str, tmp_path: Path) -> tuple[Path, bytes, Callable[[Path], object], int]:
    """A copy of a file of the run, with nothing beside it."""
    name, read, header = READERS[kind]
    whole = (run / name).read_bytes()
    path = tmp_path / ("last.safetensors" if read is read_checkpoint else Path(name).name)
    path.write_bytes(whole)
    read(path)
    return path, whole, read, header


def assert_refused(path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises((CheckpointError, ExportError)) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", READERS)
def test_changed_bytes_are_noticed(run: Path, kind: str, tmp_path: Path) -> None:
    path, whole, read, header = alone(run, kind, tmp_path)
    with Attack(f"a byte of {kind} changed", tries=1000) as attack:
        for draw in attack:
            path.write_bytes(damaged(whole, draw, header))
            assert_refused(path, read)


@pytest.mark.parametrize("kind", READERS)
def test_cut_files_are_noticed(run: Path, kind: str, tmp_path: Path) -> None:
    path, whole, read, header = alone(run, kind, tmp_path)
    with Attack(f"{kind} cut", tries=200) as attack:
        for draw in attack:
            path.write_bytes(whole[: draw.randrange(draw.choice((min(header, len(whole)), len(whole))))])
            assert_refused(path, read)


def test_a_changed_config_is_said(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Or refused, or the same settings: where the change is in the comment's words."""
    path = run / "config.yaml"
    whole = path.read_bytes()
    wanted = resumed_config(run)
    assert not caplog.records
    with Attack("a byte of config.yaml changed", tries=1000) as attack, caplog.at_level(logging.WARNING):
        for draw in attack:
            path.write_bytes(damaged(whole, draw, len(whole)))
            caplog.clear()
            configs: list[YOLOConfig] = []
            refusal = refused(lambda: configs.append(resumed_config(run)), ConfigError)  # noqa: B023
            said = refusal + caplog.text
            assert configs == [wanted] or f"{path}: changed since" in said or (refusal and str(path) in said)
    path.write_bytes(whole)


def test_a_changed_results_csv_is_written_anew(run: Path, tmp_path: Path) -> None:
    """Nothing reads it but people: --resume writes it from the history in the checkpoint."""
    whole = (run / "results.csv").read_bytes()
    history = CheckpointManager(run / "weights").history()
    path = tmp_path / "results.csv"
    with Attack("a byte of results.csv changed, then resumed", tries=1000) as attack:
        for draw in attack:
            path.write_bytes(damaged(whole, draw, len(whole)))
            TrainingMonitor(tmp_path).resume(history)
            assert path.read_bytes() == whole


# ------------------------------------------------------------ headers

ENTRY = b'{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
LARGEST = MAX_TENSOR_HEADER_BYTES - 100


def bombs() -> dict[str, bytes]:
    """Headers that ask for time or memory; each is at the limit or above it."""
    return {
        "100 MB of spaces": b'{"a":1}' + b" " * 100 * 2**20,
        "spaces up to the limit": b'{"a":1}' + b" " * LARGEST,
        "100 MB of brackets": b"[" * 100 * 2**20,
        "200,000 brackets deep": b"[" * 200_000,
        "200,000 objects deep": b'{"a":' * 200_000,
        "empty lists": b"[" + b"[]," * 249_000 + b"1]",
        "empty objects": b"[" + b"{}," * 249_000 + b"1]",
        "floats": b"[" + b"1.1," * (LARGEST // 4) + b"1]",
        "texts": b"[" + b'"ab",' * (LARGEST // 5) + b"1]",
        "wide text": b'["' + "ab🙂".encode() * (LARGEST // 6) + b'"]',
        "many names": b"{" + b",".join(b'"%d":1' % n for n in range(1_000_000)) + b"}",
        "one name a million times": b"{" + b'"a":1,' * 1_000_000 + b'"a":1}',
        "many tensors": b"{" + b",".join(b'"%d":%s' % (n, ENTRY) for n in range(83_000)) + b"}",
        "a shape of a million sides": b'{"a":{"dtype":"F32","shape":['
        + b"1," * 1_000_000
        + b'2],"data_offsets":[0,8]}}',
        "a shape of long numbers": b'{"a":{"dtype":"F32","shape":['
        + b",".join([b"9" * 4000] * 3000)
        + b'],"data_offsets":[0,8]}}',
        "a number of a million digits": b'{"a":' + b"9" * 1_000_000 + b"}",
        "a terabyte": b'{"a":{"dtype":"F32","shape":[250000000000],"data_offsets":[0,1000000000000]}}',
        "metadata up to the limit": b'{"__metadata__":{"yolofast_training":"'
        + b"[" * 200_000
        + b"x" * (LARGEST - 200_100)
        + b'"}}',
    }


MEASURE = """
import re, sys, time
from pathlib import Path
from yolofast.errors import CheckpointError
from yolofast.models import load_weights
from yolofast.train import CheckpointManager

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

path = Path(sys.argv[1])
for read in (load_weights, lambda path: CheckpointManager(path.parent).load_latest()):
    Path("/proc/self/clear_refs").write_text("5")
    before, begun = resident(), time.perf_counter()
    try:
        read(path)
    except CheckpointError as error:
        print(f"{time.perf_counter() - begun:.3f} {peak() - before:.0f} {len(str(error).splitlines())}")
"""


def test_headers_that_are_bombs(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    names = list(bombs())
    with Attack("bombs in the headers of weights", tries=len(names)) as attack:
        for _ in attack:
            path.write_bytes(container(bombs()[names[attack.done - 1]], bytes(8)))
            ran = python(MEASURE, path)
            assert not ran.crashed, ran.err
            rows = [tuple(map(float, line.split())) for line in ran.out.splitlines()]
            assert len(rows) == 2, names[attack.done - 1]
            for seconds, megabytes, lines in rows:
                attack.longest_s = max(attack.longest_s, seconds)
                attack.peak_mb = max(attack.peak_mb, megabytes)
                assert seconds < 1, names[attack.done - 1]
                assert megabytes < 200, names[attack.done - 1]
                assert lines == 1


def test_headers_of_nonsense(run: Path, tmp_path: Path) -> None:
    """The header of a real file with a few of its parts exchanged, and no checksums to give that away."""
    whole = (run / "weights" / "last.safetensors").read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    header = (
        whole[8:end].replace(b"tensor_checksums", b"tensor-checksums").replace(b"yolofast-crc32", b"none")
    )
    parts = [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b"-1",
        b"1e99",
        b"null",
        b"NaN",
        b"F32",
        b"\\u0000",
        b"\xff",
    ]
    path = tmp_path / "last.safetensors"
    with Attack("nonsense in the headers of checkpoints", tries=2000) as attack:
        for draw in attack:
            changed = bytearray(header)
            for _ in range(draw.randrange(1, 5)):
                at = draw.randrange(draw.choice((2000, len(changed))))
                changed[at : at + draw.randrange(6)] = draw.choice(parts)
            path.write_bytes(container(bytes(changed), whole[end:]))
            begun = time.perf_counter()
            assert "\n" not in refused(lambda: load_weights(path), CheckpointError)
            assert "\n" not in refused(lambda: resume(tmp_path), CheckpointError)
            attack.longest_s = max(attack.longest_s, time.perf_counter() - begun)


def resume(folder: Path) -> None:
    Trainer(
        build_model("p", 2, class_names=("a", "b"), seed=0),
        Loader(),  # type: ignore[arg-type]
        CONFIG.training,
        num_classes=2,
        checkpoints=CheckpointManager(folder),
        progress=False,
    )


def refused(call: Callable[[], object], kind: type[Exception]) -> str:
    """What the error of `call` says; empty where it succeeds."""
    try:
        call()
    except kind as error:
        return str(error)
    return ""
