"""Hostile and turned JPEG files: taken and refused as libjpeg-turbo does, with the pixels that Pillow gives.

Two archives of about 3,000 files that a fuzzer made are decoded three ways: by libjpeg-turbo alone (a C
program that this test compiles), by `decode_jpeg`, and by `load_picture` and `render`, which is what training
sees. Ours run in a process of their own, so that a crash is the failure of one named file.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from yolofast.errors import ImageError
from yolofast.images import read_image
from yolofast.kernels import decode_jpeg, jpeg_info, render
from yolofast.kernels.packed_paths import PackedPaths
from yolofast.load.execute._engine import Engine, RenderJobs, load_picture
from yolofast.types import BatchPlan, Picture

pytestmark = pytest.mark.deep

Pixels = NDArray[np.uint8]

FULL_SIZE = 1 << 24

REFERENCE = Path(__file__).with_name("hostile_jpeg_reference.c")


class Reference(NamedTuple):
    """What libjpeg-turbo alone makes of a file."""

    outcome: str
    checksum: int
    smoothed: bool
    """Coefficients are missing and were guessed from the neighbouring blocks."""

    @property
    def decodes(self) -> bool:
        return self.outcome in ("lost", "good")


class Case(NamedTuple):
    path: Path
    reference: Reference
    ours: dict[str, Any]


SCANS_MISSING = "progressive scans are missing"
# Where we refuse what libjpeg-turbo decodes, and why that is meant.
MEANT = {
    "does not begin with a JPEG marker": "FF D8 without FF behind: nor does Pillow or OpenCV take it",
    "colour components": "2, 7, 8, 9 components: libjpeg hands out channels whose colours nobody knows",
    "over the limit": "more than 2^28 pixels",
    SCANS_MISSING: "libjpeg guesses what they would say, each version in its own way; salvage takes them",
}


def meant(reason: str | None) -> str:
    """Which of `MEANT` a refusal is; the reason itself where it is none of them."""
    return next((key for key in MEANT if key in (reason or "")), reason or "accepted")


# ---------------------------------------------------------------------------------- in a process apart


def shown(picture: Picture) -> Pixels:
    """The whole picture, rendered pixel by pixel at full size with the plain colours of JFIF."""
    height, width = picture.shape
    one, matrix = np.zeros(1, np.int64), np.eye(3)[None]
    colour = np.array([[1, 0, 1.402, 0], [1, -0.344136, -0.714136, 0], [1, 1.772, 0, 0]])
    colour[:, 3] = -128 * colour[:, 1:3].sum(axis=1)
    window = np.array([[0, 0, width, height]], float)
    plan = BatchPlan((height, width), one, one, one, one, matrix, matrix, window, np.ones(1), colour[None])
    return np.ascontiguousarray(render(plan, [picture])[0].transpose(1, 2, 0))


def pillow_rgb(data: bytes) -> Pixels:
    """Pillow's pixels, turned upright; raises what Pillow raises."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def furthest(one: Pixels, other: Pixels) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(np.int16) - other).max())


def examine(path: Path) -> dict[str, Any]:
    """Everything that the tests want to know of one file, as JSON can carry it."""
    data = path.read_bytes()
    facts: dict[str, Any] = {"salvage": None, "strict": None, "load": None, "pillow": None}
    rgb = picture = None
    try:
        kept = decode_jpeg(data, salvage=True, orient=False)
        facts["checksum"] = zlib.adler32(kept.tobytes())
    except ImageError as error:
        facts["salvage"] = str(error)
    try:
        rgb = decode_jpeg(data)
    except ImageError as error:
        facts["strict"] = str(error)
    try:
        picture = load_picture(path, jpeg_info(data).shape, FULL_SIZE)
        facts["subsampling"] = picture.ycc.subsampling
        facts["chroma_width"] = 0 if picture.ycc.cb is None else picture.ycc.cb.shape[1]
    except ImageError as error:
        facts["load"] = str(error)
    try:
        theirs = pillow_rgb(data)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        facts["pillow"] = f"{type(error).__name__}: {error}"
        return facts
    if rgb is not None:
        facts["off"] = furthest(rgb, theirs)
    if picture is not None:
        facts["off_rendered"] = furthest(shown(picture), theirs)
    return facts


def main() -> None:
    """Name each file that standard input lists, then say what `examine` finds."""
    for line in sys.stdin:
        print(line, end="", flush=True)
        print(json.dumps(examine(Path(line.rstrip("\n")))), flush=True)


def in_process_apart(argument: str, text: str = "") -> str:
    """What this file prints when it is run as a program."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, __file__, argument]
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    last = done.stdout.rstrip("\n").rpartition("\n")[2]
    assert done.returncode == 0, f"ended with {done.returncode} at {last}: {done.stderr[-2000:]}"
    return done.stdout


# ---------------------------------------------------------------------------------- the archives


def ask_libjpeg(folder: Path, paths: list[Path]) -> list[Reference]:
    """What the system's libjpeg-turbo makes of each file."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    program = folder / "reference"
    subprocess.run([compiler, "-O2", "-w", REFERENCE, "-ljpeg", "-o", program], check=True, timeout=120)
    text = "".join(f"{path}\n" for path in paths)
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=True, timeout=300)
    _version, *rows = (line.split() for line in done.stdout.splitlines())
    return [Reference(outcome, int(total), smoothed == "1") for outcome, total, smoothed in rows]


@pytest.fixture(scope="module")
def cases(hostile_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    references = ask_libjpeg(tmp_path_factory.mktemp("reference"), hostile_files)
    lines = in_process_apart("examine", "".join(f"{path}\n" for path in hostile_files)).splitlines()
    assert lines[0::2] == [str(path) for path in hostile_files]
    ours = [json.loads(line) for line in lines[1::2]]
    return [Case(*row) for row in zip(hostile_files, references, ours, strict=True)]


def test_nothing_is_taken_that_libjpeg_refuses(cases: list[Case]) -> None:
    refused = [case for case in cases if not case.reference.decodes]
    assert len(refused) > 1500
    assert [case.path.name for case in refused if case.ours["salvage"] is None] == []


@pytest.mark.parametrize(("mode", "outcomes"), [("salvage", ("good", "lost")), ("strict", ("good",))])
def test_all_is_taken_that_libjpeg_decodes(cases: list[Case], mode: str, outcomes: tuple[str, ...]) -> None:
    """`salvage` takes what libjpeg ends without an error, strict what it also decodes without a loss."""
    wanted = [case for case in cases if case.reference.outcome in outcomes]
    refused = Counter(meant(case.ours[mode]) for case in wanted if case.ours[mode] is not None)
    assert set(refused) <= set(MEANT), refused
    guessed = [case for case in wanted if case.reference.smoothed] if mode == "strict" else []
    assert {meant(case.ours[mode]) for case in guessed} <= {SCANS_MISSING}
    assert refused.total() - refused[SCANS_MISSING] <= 0.05 * len(wanted), refused
    taken = [case for case in cases if case.ours[mode] is None]
    assert [case.path.name for case in taken if case.reference.outcome not in outcomes] == []


def test_the_engine_takes_what_a_strict_decode_takes(cases: list[Case]) -> None:
    taken = [case.ours["load"] is None for case in cases]
    assert sum(taken) > 110
    assert taken == [case.ours["strict"] is None for case in cases]


def test_huge_pictures_are_refused(cases: list[Case]) -> None:
    huge = [case for case in cases if case.reference.outcome == "huge"]
    assert len(huge) > 0
    assert {meant(case.ours["salvage"]) for case in huge} == {"over the limit"}


def test_pixels_are_those_of_libjpeg(cases: list[Case]) -> None:
    """Of damaged files too: to the bit, but for CMYK, which libjpeg does not turn into RGB."""
    taken = [case for case in cases if case.ours["salvage"] is None]
    rgb = [case for case in taken if jpeg_info(case.path.read_bytes()).components != 4]
    assert len(rgb) > 900
    assert [c.path.name for c in rgb if c.ours["checksum"] != c.reference.checksum] == []


def far_from_pillow(cases: list[Case], key: str) -> dict[str, int]:
    """Of files that both take: how far the pixels are from Pillow's, where that is more than 2 levels."""
    return {case.path.name: case.ours[key] for case in cases if case.ours.get(key, 0) > 2}


def test_pixels_are_those_of_pillow(cases: list[Case]) -> None:
    assert sum("off" in case.ours for case in cases) > 110
    assert far_from_pillow(cases, "off") == {}


def repeats_chroma(ours: dict[str, Any]) -> bool:
    """Whether libjpeg may repeat chroma pixels where the renderer always interpolates: at 4:1:1 and 4:4:0,
    and in any picture whose chroma plane is at most two pixels wide."""
    sampling = ours.get("subsampling")
    return sampling in ("411", "440") or (sampling in ("420", "422") and ours["chroma_width"] <= 2)


def test_rendered_pixels_are_those_of_pillow(cases: list[Case]) -> None:
    """Where chroma is repeated the luma plane alone is compared, and has to be the same."""
    rendered = [case for case in cases if "off_rendered" in case.ours]
    repeated = [case for case in rendered if repeats_chroma(case.ours)]
    assert len(repeated) <= 0.15 * len(rendered)
    for case in repeated:
        data = case.path.read_bytes()
        luma = load_picture(case.path, jpeg_info(data).shape, FULL_SIZE).ycc.y
        np.testing.assert_array_equal(luma, decode_jpeg(data, layout="gray", orient=False))
    compared = [case for case in rendered if case not in repeated]
    assert len(compared) > 90
    assert far_from_pillow(compared, "off_rendered") == {}


# ---------------------------------------------------------------------------------- orientation


def test_every_orientation_is_turned_as_pillow_does(shared_data: Path) -> None:
    paths = sorted((shared_data / "jpeg" / "exif").glob("*.jpg"))
    orientations = set()
    first: Pixels | None = None
    for path in paths:
        data = path.read_bytes()
        orientations.add(jpeg_info(data).orientation)
        expected, rgb = pillow_rgb(data), read_image(path)
        rendered = shown(load_picture(path, rgb.shape[:2], FULL_SIZE))
        assert furthest(rgb, expected) <= 2, path
        assert furthest(rendered, expected) <= 2, path
        first = rgb if first is None else first
        # The same photograph, coded anew; only the number printed on it differs.
        assert np.abs(first.astype(np.int16) - rgb).mean() < 6, path
        assert np.abs(first.astype(np.int16) - rendered).mean() < 6, path
    assert orientations == set(range(1, 9))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2), (7, 7), (8, 5), (16, 9)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_small_pictures_keep_every_pixel(tmp_path: Path, height: int, width: int, orientation: int) -> None:
    """A few pixels are as many at scale 7/8 as at full size."""
    rng = np.random.default_rng(height)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "small.jpg"
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95, subsampling=0, exif=exif)
    expected = pillow_rgb(path.read_bytes())
    assert furthest(shown(load_picture(path, expected.shape[:2], 640)), expected) <= 2


# ---------------------------------------------------------------------------------- sizes that cannot be


def save_with_size(path: Path, height: int, width: int) -> None:
    """A valid 64 x 64 JPEG whose frame header says another size."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 120, 30)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    at = data.find(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    path.write_bytes(data)


def refusals(path: Path, shape: tuple[int, int]) -> list[str]:
    """Why `load_picture` and `Engine` do not take a file."""
    reasons = []
    try:
        load_picture(path, shape, 640)
    except ImageError as error:
        reasons.append(str(error))
    one, matrix = np.zeros(1, np.int64), np.eye(3)[None]
    window, colour = np.array([[0.0, 0.0, 64.0, 64.0]]), np.zeros((1, 3, 4))
    plan = BatchPlan((32, 32), one, one, one, one, matrix, matrix, window, np.ones(1), colour)
    name = os.fsencode(path) + b"\0"
    paths = PackedPaths(np.frombuffer(name, np.uint8), np.array([0, len(name)], np.int64))
    engine = Engine(paths, np.array([shape], np.int32), 640)
    jobs = RenderJobs(plan, np.zeros((1, 3, 32, 32), np.uint8))
    engine.expect(plan.tile_image)
    engine.run(jobs)
    return reasons + [reason for _, _, reason in jobs.failures()]


def weigh() -> None:
    """Print why each picture that standard input names is refused, and by how many KiB memory grew."""
    for line in sys.stdin:
        path, height, width = line.rstrip("\n").rsplit(" ", 2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        reasons = refusals(Path(path), (int(height), int(width)))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps([reasons, grown]))


@pytest.mark.parametrize(
    ("size", "indexed", "message"),
    [
        ((65500, 65500), (65500, 65500), "65500 x 65500 pixels is over the limit"),
        ((65500, 65500), (64, 64), "expected 64 x 64 as when it was indexed"),
        ((16000, 16000), (16000, 16000), "too few bytes"),
    ],
)
def test_a_false_size_takes_no_memory(
    tmp_path: Path, size: tuple[int, int], indexed: tuple[int, int], message: str
) -> None:
    path = tmp_path / "false size.jpg"
    save_with_size(path, *size)
    reasons, grown = json.loads(in_process_apart("weigh", f"{path} {indexed[0]} {indexed[1]}\n"))
    assert len(reasons) == 2
    assert all(message in reason for reason in reasons), reasons
    assert grown < 8 * 1024  # KiB; the planes alone would be hundreds of MiB


if __name__ == "__main__":
    {"examine": main, "weigh": weigh}[sys.argv[1]]()
