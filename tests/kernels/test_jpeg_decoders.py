"""Our own JPEG decoder against libjpeg-turbo: the same pixels, to the bit, whoever decodes.

What is damaged is in test_jpeg_damage.py, parts of pictures in test_jpeg_region.py.
"""

from __future__ import annotations

import io
import itertools
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.jpeg_files import (
    APP0,
    APP14,
    COM,
    DHT,
    DNL,
    DQT,
    DRI,
    SOF0,
    SOS,
    Parts,
    coded_file,
    draw,
    drawn_file,
    encoded,
    segment,
    take_apart,
)
from support.jpeg_outcomes import LAYOUTS, assert_same, is_for_own_decoder, outcome, place_of_error, side_at

from yolofast.errors import ImageError
from yolofast.kernels import decode_jpeg, jpeg_info
from yolofast.kernels.packed_paths import PackedPaths
from yolofast.load.execute._engine import Engine, RenderJobs, load_picture
from yolofast.types import BatchPlan

SCALES = range(1, 9)


def assert_all_same(data: bytes, scales: Any = SCALES) -> None:
    """Planes and RGB at every scale, the other layouts at one; taken without a warning."""
    for scale, layout in itertools.product(scales, ("ycc", "rgb")):
        made = assert_same(data, layout=layout, min_size=side_at(data, scale))
        assert made.error is made.lost is None
    for layout, orient in (("bgr", True), ("gray", True), ("rgb", False)):
        assert assert_same(data, layout=layout, orient=orient).error is None
    one = scales[len(data) % len(scales)]
    for layout in ("bgr", "gray"):
        assert_same(data, layout=layout, min_size=side_at(data, one), salvage=True)


@pytest.mark.parametrize("seed", range(500))
def test_files_of_encoders(seed: int) -> None:
    data = drawn_file(seed)
    assert is_for_own_decoder(data)
    assert_all_same(data)


@pytest.mark.parametrize("seed", range(120))
def test_files_of_random_symbols(seed: int) -> None:
    """Any code lengths, coefficients so large that the inverse transform overflows, any quantisers."""
    assert_all_same(coded_file(seed))


@pytest.mark.parametrize("seed", range(20))
def test_scans_of_one_component(seed: int) -> None:
    assert_all_same(coded_file(seed, interleaved=False), scales=(1, 3, 8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(orientation: int) -> None:
    rng = np.random.default_rng(orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for subsampling in range(3):
        buffer = io.BytesIO()
        image = Image.fromarray(draw(rng, 75, 118, noise=False))
        image.save(buffer, "JPEG", exif=exif, subsampling=subsampling)
        assert jpeg_info(buffer.getvalue()).orientation == orientation
        assert_all_same(buffer.getvalue())


# ------------------------------------------------------------------------------------------ real files


def baseline_files(shared_data: Path, folder: str) -> list[tuple[Path, bytes]]:
    files = [(path, path.read_bytes()) for path in sorted((shared_data / folder).rglob("*.jpg"))]
    return [(path, data) for path, data in files if not jpeg_info(data).progressive]


@pytest.mark.parametrize(("folder", "count"), [("coco128", 128), ("bccd_voc", 350), ("jpeg/exif", 8)])
def test_real_files(shared_data: Path, folder: str, count: int) -> None:
    files = baseline_files(shared_data, folder)
    assert len(files) >= count
    for path, data in files:
        made = assert_same(data, layout="ycc")
        assert made.error is made.lost is None, path


@pytest.mark.parametrize(("folder", "step"), [("coco128", 12), ("bccd_voc", 40), ("jpeg/exif", 1)])
def test_real_files_in_every_layout_and_scale(shared_data: Path, folder: str, step: int) -> None:
    for path, data in baseline_files(shared_data, folder)[::step]:
        assert is_for_own_decoder(data), path
        for i, layout in enumerate(LAYOUTS):
            for scale in (8, 1 + len(data) % 7) if i else SCALES:
                made = assert_same(data, layout=layout, min_size=side_at(data, scale))
                assert made.error is made.lost is None, path


# ------------------------------------------------------------------------------------------ odd but legal


def with_ids(parts: Parts, ids: bytes) -> Parts:
    """With other names for the components."""
    scan = bytearray(parts[SOS])
    scan[1:7:2] = ids
    return with_frame(parts, slice(6, None, 3), ids).changed(SOS, lambda _: bytes(scan))


def with_frame(parts: Parts, where: slice, values: bytes) -> Parts:
    """With other bytes in the frame header."""
    frame = bytearray(parts[SOF0])
    frame[where] = values
    return parts.changed(SOF0, lambda _: bytes(frame))


def wide_quantisers(payload: bytes) -> bytes:
    """A DQT segment's tables as 16-bit ones."""
    tables = [payload[at : at + 65] for at in range(0, len(payload), 65)]
    return b"".join(
        bytes([0x10 | t[0]]) + np.frombuffer(t[1:], np.uint8).astype(">u2").tobytes() for t in tables
    )


def joined(parts: Parts, marker: int) -> Parts:
    """All segments of a kind as one."""
    payload = b"".join(p for m, p in parts.segments if m == marker)
    first = next(i for i, (m, _) in enumerate(parts.segments) if m == marker)
    rest = [each for each in parts.segments if each[0] != marker]
    return replace(parts, segments=(*rest[:first], (marker, payload), *rest[first:]))


def repeated(parts: Parts, marker: int) -> Parts:
    """Each segment of a kind first for another table, which the last one then replaces."""
    first = [(m, p) for m, p in parts.segments if m == marker]
    others = [(m, p[:1] + q[1:]) for (m, p), (_, q) in zip(first, reversed(first), strict=True)]
    return replace(parts, segments=(*others, *parts.segments))


def filled(data: bytes) -> bytes:
    """Fill bytes (FF) before every marker of the header."""
    parts = take_apart(data)
    head = b"".join(b"\xff\xff\xff" + segment(*each) for each in parts.segments)
    return data[:2] + head + parts.scan + b"\xff\xff\xff\xd9"


PLAIN, GRAY, RESTARTS = encoded(), encoded("L"), encoded(restart_marker_blocks=2)
FULL = encoded(subsampling=0)
SAME_AS_PLAIN = {
    "fill bytes": filled(PLAIN.join()),
    "16-bit quantisers": PLAIN.changed(DQT, wide_quantisers).join(),
    "tables in one segment": joined(joined(PLAIN, DHT), DQT).join(),
    "quantisers twice": repeated(PLAIN, DQT).join(),
    "codes twice": repeated(PLAIN, DHT).join(),
    "comments": PLAIN.with_first(COM, b"").with_first(COM, b"\xff\xd8\xff\xd9" * 9).join(),
    "application segments": PLAIN.with_first(0xE5, b"\xff" * 300).with_first(0xEF, b"x").join(),
    "empty application segment": PLAIN.with_first(APP0, b"").join(),
    "trailing bytes": PLAIN.join() + b"trailing \xff\xd8\xff",
    "another file behind": PLAIN.join() + RESTARTS.join(),
    "stray bytes before the end": PLAIN.join(b"\0\1\2\xff\xd9"),
    "fill bytes before the end": PLAIN.join(b"\xff\xff\xff\xd9"),
    "restart interval 0": PLAIN.with_first(DRI, b"\0\0").join(),
    "restart interval of the whole": PLAIN.with_first(DRI, b"\xff\xff").join(),
    "number of lines again": PLAIN.join(segment(DNL, PLAIN[SOF0][1:3]) + b"\xff\xd9"),
    "components 0, 1, 2": with_ids(PLAIN, b"\0\1\2").join(),
    "no application segments": PLAIN.without(APP0).join(),
}


@pytest.mark.parametrize("name", SAME_AS_PLAIN)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_odd_files_have_the_pixels_of_plain_ones(name: str, layout: str) -> None:
    made = assert_same(SAME_AS_PLAIN[name], layout=layout)
    assert made.error is made.lost is None
    assert made == outcome(PLAIN.join(), "turbo", layout=layout)


def test_restart_interval_without_restarts() -> None:
    """The last interval ends with the picture: no marker comes behind it."""
    blocks = -(-37 // 16) * -(-53 // 16)
    data = PLAIN.with_first(DRI, struct.pack(">H", blocks)).join()
    assert is_for_own_decoder(data)
    assert assert_same(data) == outcome(PLAIN.join(), "turbo")


@pytest.mark.parametrize("jfif", [False, True])
@pytest.mark.parametrize("adobe", [None, 0, 1, 2])
@pytest.mark.parametrize("ids", [b"\1\2\3", b"\0\1\2", b"RGB", b"rgb", b"\1\2\2", b"\7\x09\x80"])
def test_colours_are_told_by_libjpegs_rules(jfif: bool, adobe: int | None, ids: bytes) -> None:
    """JFIF says YCbCr, else Adobe's number does, else the components' names; equal names are no file."""
    parts = with_ids(FULL if jfif else FULL.without(APP0), ids)
    if adobe is not None:
        parts = parts.with_first(APP14, b"Adobe\0\x64" + bytes(4) + bytes([adobe]))
    made = [assert_same(parts.join(), layout=layout, salvage=True) for layout in LAYOUTS]
    strict = assert_same(parts.join(), layout="rgb")
    if ids == b"\1\2\2":
        return
    assert [each.error for each in made] == [None] * 4
    as_rgb = not jfif and (adobe == 0 or (adobe is None and ids == b"RGB"))
    plain = outcome(FULL.join(), "turbo", layout="rgb").pixels
    assert (strict.pixels == plain) is not as_rgb


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"keep_rgb": True, "subsampling": 0}),
        ("CMYK", {}),
        ("RGB", {"progressive": True}),
        ("L", {"progressive": True, "restart_marker_blocks": 1}),
    ],
)
def test_kinds_that_libjpeg_decodes(mode: str, options: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(draw(np.random.default_rng(1), 40, 61, noise=False)).convert(mode).save(
        buffer, "JPEG", **options
    )
    assert not is_for_own_decoder(buffer.getvalue())
    assert_all_same(buffer.getvalue())


def test_sampling_of_a_gray_file_means_nothing() -> None:
    for sampling in (0x22, 0x41, 0x14):
        made = assert_same(with_frame(GRAY, slice(7, 8), bytes([sampling])).join(), layout="gray")
        assert made == outcome(GRAY.join(), "turbo", layout="gray")


FACTORS = (0x11, 0x12, 0x21, 0x22, 0x31, 0x41, 0x14, 0x44)


@pytest.mark.parametrize("sampling", list(itertools.product(FACTORS, repeat=3)))
def test_any_sampling_factors(sampling: tuple[int, int, int]) -> None:
    """The bits fit none but one of them; what can be made of them is the same."""
    data = with_frame(FULL, slice(7, None, 3), bytes(sampling)).join()
    for layout in ("ycc", "rgb"):
        for options in ({}, {"min_size": side_at(data, 1 + sum(sampling) % 7)}):
            assert_same(data, layout=layout, salvage=True, **options)


# ------------------------------------------------------------------------------------------ which decoder


def broken() -> bytes:
    """A file in whose error our own decoder names a byte, and libjpeg-turbo none."""
    return replace(PLAIN, scan=PLAIN.scan[:-30]).join(b"")


def test_the_environment_chooses_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YOLOFAST_JPEG", raising=False)
    with pytest.raises(ImageError, match=r"near byte \d+"):
        decode_jpeg(broken())
    monkeypatch.setenv("YOLOFAST_JPEG", "turbo")
    with pytest.raises(ImageError) as caught:
        decode_jpeg(broken())
    assert "near byte" not in str(caught.value)
    with pytest.raises(ImageError, match="near byte"):  # an argument goes before it
        decode_jpeg(broken(), decoder="auto")
    assert place_of_error(broken()) is not None


def rendered(path: Path, shape: tuple[int, int]) -> tuple[Any, list[str]]:
    """What the loader's engine makes of a file, at full size, and its failures."""
    one, matrix = np.zeros(1, np.int64), np.eye(3)[None]
    window = np.array([[0.0, 0.0, shape[1], shape[0]]])
    colour = np.array([[[1, 0, 1.402, -179], [1, -0.344, -0.714, 135], [1, 1.772, 0, -227]]])
    plan = BatchPlan(shape, one, one, one, one, matrix, matrix, window, np.ones(1), colour)
    name = bytes(path) + b"\0"
    engine = Engine(
        PackedPaths(np.frombuffer(name, np.uint8), np.array([0, len(name)], np.int64)),
        np.array([shape], np.int32),
        640,
    )
    jobs = RenderJobs(plan, np.zeros((1, 3, *shape), np.uint8))
    engine.expect(plan.tile_image)
    engine.run(jobs)
    return jobs, [reason for _, _, reason in jobs.failures()]


@pytest.mark.parametrize("decoder", ["auto", "turbo"])
def test_the_loader_obeys_the_environment(
    decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(PLAIN.join())
    bad.write_bytes(broken())
    monkeypatch.setenv("YOLOFAST_JPEG", decoder)
    planes = load_picture(good, (37, 53), 640).ycc
    expected = decode_jpeg(PLAIN.join(), layout="ycc", decoder="turbo")
    for name in ("y", "cb", "cr"):
        np.testing.assert_array_equal(getattr(planes, name), getattr(expected, name))
    with pytest.raises(ImageError) as caught:
        load_picture(bad, (37, 53), 640)
    (reason,) = rendered(bad, (37, 53))[1]
    assert rendered(good, (37, 53))[1] == []
    for told in (str(caught.value), reason):
        assert ("near byte" in told) is (decoder == "auto"), told


def test_unknown_decoders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "good.jpg"
    path.write_bytes(PLAIN.join())
    for wrong in ("own", "Turbo", 1, b"turbo"):
        with pytest.raises(ValueError, match=r"decoder is .*; expected one of auto, turbo"):
            decode_jpeg(PLAIN.join(), decoder=wrong)  # type: ignore[call-overload]
    monkeypatch.setenv("YOLOFAST_JPEG", "fast")
    uses: list[Any] = [
        lambda: decode_jpeg(PLAIN.join()),
        lambda: load_picture(path, (37, 53), 640),
        lambda: rendered(path, (37, 53)),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="YOLOFAST_JPEG is 'fast'; expected one of auto, turbo"):
            use()
