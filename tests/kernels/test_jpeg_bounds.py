"""JPEGs that ask for more than they hold are refused before memory or time is spent; real ones are not."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.jpeg_bombs import (
    SOF2,
    arithmetic,
    filled,
    flat,
    header,
    many_scans,
    scan,
    sequential_scans,
    with_notes,
    with_notes_between_scans,
)
from support.jpeg_files import COM, encoded, segment

from yolofast.errors import ImageError
from yolofast.images import read_header
from yolofast.kernels import decode_jpeg, jpeg_info, rewrite_jpeg
from yolofast.load.execute._engine import load_picture

AT_ONCE_S = 0.5
MIB = 1 << 20

DECODES: dict[str, Callable[[bytes], Any]] = {
    "whole": decode_jpeg,
    "libjpeg-turbo": lambda data: decode_jpeg(data, decoder="turbo"),
    "planes": lambda data: decode_jpeg(data, layout="ycc"),
    "reduced": lambda data: decode_jpeg(data, min_size=64),
    "region": lambda data: decode_jpeg(data, region=(0, 0, 8, 8)),
    "salvaged": lambda data: decode_jpeg(data, salvage=True),
    "rewritten": lambda data: rewrite_jpeg(data, restart_rows=1),
}

# Made when they are needed: what they are, and what is said.
HEADERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a million segments": (
        lambda: with_notes(flat(8, 8), 1_000_000),
        "over 4096 marker segments in front of",
    ),
    "fill bytes": (lambda: filled(flat(8, 8), 64 * MIB), "over 64 MiB in front of the picture"),
    "zeros": (lambda: filled(flat(8, 8), 64 * MIB, 0), "over 64 MiB in front of the picture"),
    "long segments": (
        lambda: with_notes(flat(8, 8), 1025, bytes(65533)),
        "over 64 MiB in front of the picture",
    ),
}
PICTURES: dict[str, tuple[Callable[[], bytes], str]] = {
    "scans of all blocks": (
        lambda: many_scans(8000, 8000, 30),
        "its first 13 scans read each block more than 12 times on average",
    ),
    "scans that refine all blocks": (
        lambda: many_scans(8000, 8000, 30, refining=True),
        "its first 13 scans read each block more than 12 times",
    ),
    "many scans of fewer blocks": (
        lambda: many_scans(1000, 1000, 501),
        "over 500 scans",
    ),
    "segments between scans": (lambda: with_notes_between_scans(5000), "over 4096 marker segments"),
    "one colour": (
        lambda: flat(16384, 16384),
        "16384 x 16384 pixels in 1048712 bytes, over 250 pixels in a byte; ",
    ),
    "one colour, progressive": (lambda: flat(16384, 16384, SOF2), "over 250 pixels in a byte"),
    "no bits": (
        lambda: flat(8000, 8000)[:9000],
        "too few bytes for a picture of that size: got 9000 for 8000",
    ),
    "arithmetic codes": (
        lambda: arithmetic(8000, 8000),
        "picture of that size: got 192 for 8000 x 8000 pixels",
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_that_are_not_there_are_refused_at_once(name: str) -> None:
    make, reason = PICTURES[name]
    data = make()
    for way, decode in DECODES.items():
        started = time.perf_counter()
        with pytest.raises(ImageError, match=reason):
            decode(data)
        assert time.perf_counter() - started < AT_ONCE_S, way


@pytest.mark.parametrize("name", HEADERS)
def test_headers_without_an_end_are_refused_at_once(name: str, tmp_path: Path) -> None:
    make, reason = HEADERS[name]
    data = make()
    path = tmp_path / "bomb.jpg"
    path.write_bytes(data)
    ways: list[Callable[[], Any]] = [
        lambda: jpeg_info(data),
        lambda: decode_jpeg(data),
        lambda: read_header(path),
        lambda: load_picture(path, (8, 8), 64),
    ]
    for way in ways:
        started = time.perf_counter()
        with pytest.raises(ImageError, match=reason):
            way()
        assert time.perf_counter() - started < AT_ONCE_S


def test_scans_that_salvage_would_go_on_with_are_refused() -> None:
    """Each of them has lost all its bits, and is read to its end all the same."""
    data = sequential_scans(4000, 4000, 400)
    with pytest.raises(ImageError, match="scans read each block more than 12 times on average"):
        decode_jpeg(data, salvage=True)


# ------------------------------------------------------------------------------------------ honest files


def test_as_many_segments_as_are_allowed() -> None:
    data, own = flat(16, 16), 3  # and as many again are added
    fitting = with_notes(data, 4096 - own)
    np.testing.assert_array_equal(decode_jpeg(fitting), decode_jpeg(data))
    assert jpeg_info(fitting).shape == (16, 16)
    with pytest.raises(ImageError, match="over 4096 marker segments"):
        decode_jpeg(with_notes(data, 4097 - own))
    decode_jpeg(encoded().join(segment(COM, b"") * 100_000 + b"\xff\xd9"))  # behind the picture


def test_long_segments_in_front_of_the_picture() -> None:
    """A colour profile and notes of a camera, tens of megabytes of them."""
    data = encoded().join()
    np.testing.assert_array_equal(decode_jpeg(with_notes(data, 500, bytes(65533))), decode_jpeg(data))


def test_small_pictures_may_have_hundreds_of_scans() -> None:
    assert decode_jpeg(many_scans(1000, 1000, 500)).shape == (1000, 1000, 3)
    assert decode_jpeg(many_scans(1000, 1000, 500, refining=True), min_size=64).shape[2] == 3


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}, {}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_large_pictures_of_one_colour(mode: str, options: dict[str, Any]) -> None:
    """The smallest files that encoders write: a blank page of 20 megapixels."""
    buffer = io.BytesIO()
    Image.new(mode, (5000, 4000), "white").save(buffer, "JPEG", quality=30, **options)
    data = buffer.getvalue()
    assert len(data) < 400_000
    assert decode_jpeg(data, min_size=64, layout="gray").min() == 255
    with pytest.raises(ImageError, match="truncated: too few bytes for a picture of that size"):
        decode_jpeg(data[: len(data) // 8])


def test_a_sequential_picture_in_two_bits_a_block() -> None:
    """The fewest that there can be: a byte less is too few."""
    data = flat(4104, 4096, components=3)
    assert decode_jpeg(data, min_size=64).shape[2] == 3
    least = 3 * (4104 // 8) * (4096 // 8) // 4
    short = header(0xC0, 4104, 4096, (0x11,) * 3) + scan(range(3), 0, 63)
    with pytest.raises(
        ImageError, match=f"got {least - 1} for 4096 x 4104 pixels, expected at least {least}"
    ):
        decode_jpeg(short + bytes(least - 1 - len(short)))
