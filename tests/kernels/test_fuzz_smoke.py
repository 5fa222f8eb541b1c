"""The JPEG fuzz targets, built with sanitizers, over good, cut and flipped files: no crash, no difference."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from support.fuzz_programs import feed, fuzz_programs
from support.fuzz_seeds import jpeg_files
from support.jpeg_files import coded_file, drawn_file

pytestmark = pytest.mark.deep

TARGETS = ("fuzz_jpeg", "fuzz_jpeg_differential", "fuzz_jpeg_kernels", "fuzz_jpeg_restart")


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    """The programs of csrc/fuzz/README.md that feed files to a fuzz target."""
    return fuzz_programs(*TARGETS)


def decodes(said: str) -> tuple[int, int]:
    """Of the differential target: how many decodes, and how many of them by our own decoder."""
    found = re.search(r"(\d+) decodes, (\d+) by our own decoder", said)
    assert found is not None, said
    return int(found[1]), int(found[2])


def save(folder: Path, inputs: list[bytes]) -> None:
    for i, data in enumerate(inputs):
        (folder / f"{i:04}.jpg").write_bytes(data)


def test_every_program_still_compiles() -> None:
    """Not all of them are run here."""
    assert len(fuzz_programs()) >= 10


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_files_never_crash(programs: dict[str, Path], tmp_path: Path, target: str) -> None:
    rng = np.random.default_rng(1)
    inputs = [b"", b"\xff\xd8", b"\xff\xd8\xff"]
    for data in jpeg_files():
        # What lies behind the end of the picture are choices: scale, orientation, salvage, region.
        inputs += [data, *(data + rng.bytes(24) for _ in range(10))]
        inputs += [data[:cut] for cut in rng.integers(1, len(data), 8)]
        for _ in range(24):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 4):
                damaged[place] ^= 1 << int(rng.integers(8))
            inputs.append(bytes(damaged + rng.bytes(24)))
    save(tmp_path, inputs)
    assert feed(programs[target], tmp_path)[0] == len(inputs)


def test_our_own_decoder_decodes_to_the_end(programs: dict[str, Path], tmp_path: Path) -> None:
    """What encoders write is never left to libjpeg-turbo: else all comparisons would hold for nothing."""
    rng = np.random.default_rng(2)
    files = [drawn_file(seed) for seed in range(150)] + [coded_file(seed) for seed in range(50)]
    save(tmp_path, [data + rng.bytes(24) for data in files])
    fed, said = feed(programs["fuzz_jpeg_differential"], tmp_path)
    assert fed == len(files)
    assert decodes(said) == (len(files), len(files))


def test_machines_without_newer_instructions(tmp_path: Path) -> None:
    """As if the CPU had none of what is asked for at run time: the same pixels as libjpeg-turbo's."""
    program = fuzz_programs("fuzz_jpeg_differential", variant="plain")["fuzz_jpeg_differential"]
    rng = np.random.default_rng(3)
    files = [drawn_file(seed) for seed in range(100)] + [coded_file(seed) for seed in range(50)]
    save(tmp_path, [data + rng.bytes(24) for data in files])
    fed, said = feed(program, tmp_path)
    assert fed == len(files)
    assert decodes(said) == (len(files), len(files))


@pytest.mark.parametrize("target", TARGETS[:2])
@pytest.mark.parametrize("archive", ["afl_jpeg.tar", "afl_jpeg_turbo.tar"])
def test_hostile_files_never_crash(
    programs: dict[str, Path], shared_data: Path, tmp_path: Path, archive: str, target: str
) -> None:
    with tarfile.open(shared_data / "jpeg" / archive) as tar:
        sample = [member for member in tar.getmembers() if member.isfile()][::10]
        for i, member in enumerate(sample):
            stream = tar.extractfile(member)
            assert stream is not None
            (tmp_path / str(i)).write_bytes(stream.read())
    assert len(sample) > 50
    assert feed(programs[target], tmp_path)[0] == len(sample)
