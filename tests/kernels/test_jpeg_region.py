"""A region of a JPEG: what cutting it out of the whole gives, whoever decodes it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.jpeg_files import coded_file, draw, drawn_file, encoded
from support.jpeg_outcomes import LAYOUTS, arrays_of, cut, is_for_own_decoder, outcome, scan_start, side_at

from yolofast.errors import ImageError
from yolofast.kernels import decode_jpeg, jpeg_info
from yolofast.types import SUBSAMPLING_FACTORS, Ycc

Region = tuple[int, int, int, int]


def factors_of(decoded: Any) -> tuple[int, int]:
    """How much smaller chroma is: (down, across)."""
    if not isinstance(decoded, Ycc) or decoded.subsampling == "gray":
        return 1, 1
    across, down = SUBSAMPLING_FACTORS[decoded.subsampling]
    return down, across


def random_region(rng: np.random.Generator, decoded: Any) -> Region:
    """Anywhere in the picture; in planes it begins on the chroma grid."""
    down, across = factors_of(decoded)
    height, width = arrays_of(decoded)[0].shape[:2]
    x0, y0 = int(rng.integers(width)) // across * across, int(rng.integers(height)) // down * down
    return x0, y0, int(rng.integers(x0, width)) + 1, int(rng.integers(y0, height)) + 1


def assert_cut(data: bytes, region: Region, whole: Any, **options: Any) -> None:
    expected = cut(whole, region, factors_of(whole))
    for decoder in ("auto", "turbo"):
        part = decode_jpeg(data, region=region, decoder=decoder, **options)
        for ours, wanted in zip(arrays_of(part), expected, strict=True):
            np.testing.assert_array_equal(ours, wanted, err_msg=f"{decoder} {region} {options}")


@pytest.mark.parametrize("seed", range(150))
def test_regions_of_encoded_files(seed: int) -> None:
    """All layouts, any scale and orientation; one file in two has restart markers."""
    rng = np.random.default_rng(seed)
    data = drawn_file(10_000 + seed)
    for layout in LAYOUTS:
        for scale in (8, int(rng.integers(1, 8))):
            options: dict[str, Any] = {"layout": layout, "min_size": side_at(data, scale)}
            options["orient"] = bool(rng.integers(4))
            if not options["orient"] and jpeg_info(data).orientation >= 5:
                options["min_size"] = options["min_size"][::-1]
            whole = decode_jpeg(data, decoder="turbo", **options)
            for _ in range(3):
                assert_cut(data, random_region(rng, whole), whole, **options)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_regions_of_random_symbols(seed: int, layout: Any) -> None:
    rng = np.random.default_rng(seed)
    data = coded_file(20_000 + seed)
    whole = decode_jpeg(data, layout=layout, decoder="turbo")
    for _ in range(3):
        assert_cut(data, random_region(rng, whole), whole, layout=layout)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("restarts", [{}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 3}])
def test_every_pixel_of_every_orientation(orientation: int, restarts: dict[str, int]) -> None:
    """Regions that tile the picture give all of it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    pixels = draw(np.random.default_rng(3), 70, 101, noise=True)
    Image.fromarray(pixels).save(buffer, "JPEG", exif=exif, subsampling=2, **restarts)
    data = buffer.getvalue()
    whole = decode_jpeg(data, decoder="turbo")
    height, width = whole.shape[:2]
    for y0 in range(0, height, 23):
        for x0 in range(0, width, 29):
            assert_cut(data, (x0, y0, min(x0 + 29, width), min(y0 + 23, height)), whole)


@pytest.mark.parametrize(
    "kind", [{"progressive": True}, {"keep_rgb": True, "subsampling": 0}, {"mode": "CMYK"}]
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_regions_of_files_for_libjpeg(kind: dict[str, Any], layout: Any) -> None:
    rng = np.random.default_rng(4)
    options: dict[str, Any] = {"subsampling": 2, **kind}
    image = Image.fromarray(draw(rng, 50, 61, noise=False)).convert(options.pop("mode", "RGB"))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    whole = decode_jpeg(buffer.getvalue(), layout=layout)
    for _ in range(4):
        assert_cut(buffer.getvalue(), random_region(rng, whole), whole, layout=layout)


@pytest.mark.parametrize("folder", ["coco128", "bccd_voc", "jpeg/exif"])
def test_regions_of_real_files(shared_data: Path, folder: str) -> None:
    rng = np.random.default_rng(5)
    for path in sorted((shared_data / folder).rglob("*.jpg"))[::40]:
        data = path.read_bytes()
        for layout in LAYOUTS:
            options: dict[str, Any] = {
                "layout": layout,
                "min_size": side_at(data, int(rng.choice([8, 4, 3]))),
            }
            whole = decode_jpeg(data, decoder="turbo", **options)
            for _ in range(3):
                assert_cut(data, random_region(rng, whole), whole, **options)


PLAIN = encoded().join()


def test_the_region_may_be_the_whole_or_one_pixel() -> None:
    whole = decode_jpeg(PLAIN)
    for region in [(0, 0, 53, 37), (52, 36, 53, 37), (0, 0, 1, 1)]:
        assert_cut(PLAIN, region, whole)


def test_a_region_fills_out() -> None:
    out = np.zeros((9, 20, 3), np.uint8)
    assert decode_jpeg(PLAIN, region=(30, 5, 50, 14), out=out) is out
    np.testing.assert_array_equal(out, decode_jpeg(PLAIN)[5:14, 30:50])
    with pytest.raises(ValueError, match="expected a uint8 array of shape"):
        decode_jpeg(PLAIN, region=(30, 5, 50, 15), out=out)


@pytest.mark.parametrize("decoder", ["auto", "turbo"])
@pytest.mark.parametrize(
    ("region", "options", "message"),
    [
        ((0, 0, 54, 37), {}, "not inside the decoded picture of 53 x 37"),
        ((0, 37, 1, 38), {}, "not inside"),
        ((0, 0, 53, 37), {"min_size": (10, 14)}, "not inside the decoded picture of 14 x 10"),
        ((5, 5, 5, 6), {}, "x0 < x1"),
        ((5, 5, 6, 4), {}, "y0 < y1"),
        ((-1, 0, 5, 5), {}, "whole pixels from 0"),
        ((0, 0, 70000, 5), {}, "whole pixels from 0"),
        ((0, 0, 5), {}, "expected \\(x0, y0, x1, y1\\)"),
        ((0, 0, 5.0, 5), {}, "whole pixels"),
        (7, {}, "expected \\(x0, y0, x1, y1\\)"),
        ((1, 0, 5, 5), {"layout": "ycc"}, "chroma grid, a multiple of 2 x 2"),
        ((0, 1, 5, 5), {"layout": "ycc"}, "chroma grid"),
    ],
)
def test_bad_regions_are_refused(decoder: Any, region: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_jpeg(PLAIN, region=region, decoder=decoder, **options)


@pytest.mark.parametrize("decoder", ["auto", "turbo"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_below_a_region_is_not_read(decoder: Any, layout: str) -> None:
    data = encoded(height=300, width=80, quality=95).join()
    assert is_for_own_decoder(data)
    half = data[: scan_start(data) + (len(data) - scan_start(data)) // 2]
    with pytest.raises(ImageError, match="truncated"):
        decode_jpeg(half, decoder=decoder)
    part = outcome(half, decoder, layout=layout, region=(8, 8, 60, 70))
    assert part == outcome(data, decoder, layout=layout, region=(8, 8, 60, 70))
    assert part.error is None
    # But what is missing of the region itself is an error.
    assert "truncated" in str(outcome(half, decoder, layout=layout, region=(8, 200, 60, 290)).error)
