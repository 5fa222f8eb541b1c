"""The hostile JPEG archives, unpacked once for all tests that read them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def hostile_files(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """About 3,000 files that a fuzzer made."""
    folder = tmp_path_factory.mktemp("hostile")
    paths: list[Path] = []
    for archive in ("afl_jpeg", "afl_jpeg_turbo"):
        with tarfile.open(shared_data / "jpeg" / f"{archive}.tar") as tar:
            for member in tar.getmembers():
                stream = tar.extractfile(member) if member.isfile() else None
                if stream is not None:
                    path = folder / f"{archive}_{len(paths):04}_{Path(member.name).name.split(',')[0]}"
                    path.write_bytes(stream.read())
                    paths.append(path)
    assert len(paths) > 2900
    return paths
