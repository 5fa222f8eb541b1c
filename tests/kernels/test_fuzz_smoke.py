"""The JPEG fuzz target, built with sanitizers, over good, cut and bit-flipped files: no crash."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
CORE, FUZZ = REPOSITORY / "csrc" / "core", REPOSITORY / "csrc" / "fuzz"


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of csrc/fuzz/README.md that feeds files to the fuzz target."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ here")
    if not FUZZ.is_dir():
        pytest.skip("no sources here (an installed package)")
    program = tmp_path_factory.mktemp("fuzz") / "replay_jpeg"
    command = [
        compiler,
        "-std=c++20",
        "-O1",
        "-g",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ]
    command += ["-DYOLOFAST_NO_MULTIVERSION", f"-I{CORE}"]
    command += [str(FUZZ / "fuzz_jpeg.cpp"), str(FUZZ / "replay_main.cpp"), str(CORE / "jpeg.cpp")]
    built = subprocess.run(
        [*command, "-ljpeg", "-o", str(program)], capture_output=True, text=True, check=False
    )
    if "cannot find -lasan" in built.stderr or "cannot find -lubsan" in built.stderr:
        pytest.skip("g++ has no sanitizer libraries here")
    assert built.returncode == 0, built.stderr
    return program


def feed(program: Path, *paths: Path) -> int:
    """How many inputs the target survived; fails with the sanitizer's report when it did not."""
    done = subprocess.run(
        [program, *paths], capture_output=True, text=True, timeout=300, errors="replace", check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return int(done.stdout.split()[0])


def good_files() -> list[bytes]:
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (9, 13, 3), dtype=np.uint8), (83, 61))
    files = [
        cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factors])[1].tobytes()
        for factors in (0x111111, 0x211111, 0x221111, 0x121111, 0x411111)
    ]
    image = Image.fromarray(picture)
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode, options in [
        ("L", {}),
        ("CMYK", {}),
        ("RGB", {"keep_rgb": True}),
        ("RGB", {"progressive": True, "exif": exif}),
        ("RGB", {"restart_marker_blocks": 3, "exif": exif}),
    ]:
        buffer = io.BytesIO()
        image.convert(mode).save(buffer, "JPEG", **options)
        files.append(buffer.getvalue())
    return files


def test_damaged_files_never_crash(replay: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    inputs = [b"", b"\xff\xd8", b"\xff\xd8\xff"]
    for data in good_files():
        inputs += [data, *(data + bytes([choice]) for choice in rng.integers(0, 256, 8))]
        inputs += [data[:cut] for cut in rng.integers(1, len(data), 8)]
        for _ in range(24):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 4):
                damaged[place] ^= 1 << int(rng.integers(8))
            inputs.append(bytes(damaged))
    for i, data in enumerate(inputs):
        (tmp_path / f"{i:04}.jpg").write_bytes(data)
    assert feed(replay, tmp_path) == len(inputs)


@pytest.mark.parametrize("archive", ["afl_jpeg.tar", "afl_jpeg_turbo.tar"])
def test_hostile_files_never_crash(replay: Path, shared_data: Path, tmp_path: Path, archive: str) -> None:
    with tarfile.open(shared_data / "jpeg" / archive) as tar:
        sample = [member for member in tar.getmembers() if member.isfile()][::10]
        for i, member in enumerate(sample):
            stream = tar.extractfile(member)
            assert stream is not None
            (tmp_path / str(i)).write_bytes(stream.read())
    assert len(sample) > 50
    assert feed(replay, tmp_path) == len(sample)
