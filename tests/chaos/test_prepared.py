"""Bytes changed in a prepared dataset: `train` and `val` ask `changed_files`, which names the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.chaos import Attack

from yolofast.prepare import changed_files, prepare_dataset
from yolofast.sample import make_sample_dataset

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared")
    make_sample_dataset(root / "raw", count=12)
    return prepare_dataset(root / "raw", root / "out", link="copy").root


@pytest.mark.parametrize(
    "kind", ["train/images/*", "train/labels/*.txt", "valid/labels/*.txt", "data.yaml", "manifest.json"]
)
def test_a_changed_byte_is_named(prepared: Path, kind: str) -> None:
    files = sorted(prepared.glob(kind))
    before = (prepared / "manifest.json").stat()
    with Attack(f"a byte of a prepared {kind} changed", tries=1000) as attack:
        for random in attack:
            path = random.choice(files)
            data = path.read_bytes()
            at = random.randrange(len(data))
            times = path.stat()
            path.write_bytes(data[:at] + bytes([data[at] ^ random.randrange(1, 256)]) + data[at + 1 :])
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
            assert str(path) in changed_files(prepared), f"{path}, byte {at}"
            path.write_bytes(data)
            os.utime(prepared / "manifest.json", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert changed_files(prepared) == []
