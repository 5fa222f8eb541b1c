"""`decode_jpeg` and `jpeg_info`: shapes, options, and one clear error for every kind of bad data."""

from __future__ import annotations

import io
import re
import struct
import threading
import time
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from yolofast.errors import ImageError
from yolofast.kernels import decode_jpeg, decode_jpeg_batch, jpeg_info
from yolofast.types import Ycc

SAMPLING = {"444": 0x111111, "422": 0x211111, "420": 0x221111, "440": 0x121111, "411": 0x411111}
FACTORS = {"444": (1, 1), "422": (1, 2), "420": (2, 2), "440": (2, 1), "411": (1, 4)}


def picture(height: int, width: int, detail: int = 8) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A coloured picture whose features are about `detail` pixels wide."""
    rng = np.random.default_rng(height + width)
    small = rng.integers(0, 256, (max(2, height // detail), max(2, width // detail), 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def encode(
    height: int = 61, width: int = 83, subsampling: str = "420", *, quality: int = 90, detail: int = 8
) -> bytes:
    flags = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        SAMPLING[subsampling],
    ]
    return cv2.imencode(".jpg", picture(height, width, detail), flags)[1].tobytes()


def pillow(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def exif_segment(orientation: int, *, little: bool = True, kind: int = 3, ifd: int = 8) -> bytes:
    order = "<" if little else ">"
    value = struct.pack(order + "HH", orientation, 0)
    tiff = (b"II" if little else b"MM") + struct.pack(order + "HI", 42, ifd)
    tiff += struct.pack(order + "H", 1) + struct.pack(order + "HHI", 0x0112, kind, 1) + value
    payload = b"Exif\0\0" + tiff + struct.pack(order + "I", 0)
    return b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload


def with_exif(data: bytes, segment: bytes) -> bytes:
    return data[:2] + segment + data[2:]


def frame_at(data: bytes) -> int:
    """Where the SOF0 or SOF2 marker of an ordinary file is."""
    return max(data.find(b"\xff\xc0\x00\x11\x08"), data.find(b"\xff\xc2\x00\x11\x08"))


def with_size(data: bytes, height: int, width: int) -> bytes:
    at = frame_at(data) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


@pytest.mark.parametrize("subsampling", SAMPLING)
@pytest.mark.parametrize("size", [(61, 83), (64, 96), (1, 1), (17, 5)])
def test_planes_have_their_true_size(subsampling: str, size: tuple[int, int]) -> None:
    height, width = size
    planes = decode_jpeg(encode(height, width, subsampling), layout="ycc")
    down, across = FACTORS[subsampling]
    assert planes.subsampling == subsampling
    assert planes.y.shape == size
    assert planes.cb is not None
    assert planes.cr is not None
    assert planes.cb.shape == planes.cr.shape == (-(-height // down), -(-width // across))


@pytest.mark.parametrize("subsampling", SAMPLING)
def test_planes_are_those_behind_the_rgb_pixels(subsampling: str) -> None:
    data = encode(160, 192, subsampling, detail=48)
    planes = decode_jpeg(data, layout="ycc")
    assert planes.cb is not None
    assert planes.cr is not None
    down, across = FACTORS[subsampling]
    cb, cr = (
        p.repeat(down, 0).repeat(across, 1)[:160, :192].astype(float) - 128 for p in (planes.cb, planes.cr)
    )
    y = planes.y.astype(float)
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1).clip(0, 255)
    difference = np.abs(rgb - decode_jpeg(data))
    assert difference.max() <= 1.0 if subsampling == "444" else difference.mean() < 4.0


def test_gray_files_have_one_plane_and_equal_channels() -> None:
    data = pillow(Image.fromarray(picture(40, 50)).convert("L"))
    planes = decode_jpeg(data, layout="ycc")
    assert planes.subsampling == "gray"
    assert planes.cb is None
    assert planes.cr is None
    np.testing.assert_array_equal(planes.y, decode_jpeg(data, layout="gray"))
    np.testing.assert_array_equal(decode_jpeg(data), np.repeat(planes.y[..., None], 3, axis=2))
    assert jpeg_info(data).subsampling == "gray"


def test_layouts_agree() -> None:
    data = encode()
    rgb = decode_jpeg(data)
    np.testing.assert_array_equal(decode_jpeg(data, layout="bgr"), rgb[..., ::-1])
    np.testing.assert_array_equal(decode_jpeg(data, layout="gray"), decode_jpeg(data, layout="ycc").y)


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, lambda d: np.frombuffer(d, np.uint8)])
def test_any_bytes_like_is_read(form: Any) -> None:
    data = encode()
    np.testing.assert_array_equal(decode_jpeg(form(data)), decode_jpeg(data))
    assert jpeg_info(form(data)) == jpeg_info(data)


@pytest.mark.parametrize(
    ("min_size", "expected"),
    [
        (None, (480, 640)),
        (1, (60, 80)),
        (60, (60, 80)),
        (61, (120, 160)),
        ((60, 81), (120, 160)),
        (240, (240, 320)),
        ((300, 300), (300, 400)),
        (421, (480, 640)),
        (5000, (480, 640)),
    ],
)
def test_min_size_takes_the_smallest_scale_that_covers(
    min_size: int | tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    data = encode(480, 640)
    assert decode_jpeg(data, min_size=min_size).shape == (*expected, 3)
    assert decode_jpeg(data, layout="ycc", min_size=min_size).y.shape == expected


@pytest.mark.parametrize("scale", range(1, 9))
@pytest.mark.parametrize("subsampling", SAMPLING)
def test_reduced_planes_keep_the_promised_sizes(scale: int, subsampling: str) -> None:
    data = encode(131, 203, subsampling, detail=48)
    height, width = -(-131 * scale // 8), -(-203 * scale // 8)
    planes = decode_jpeg(data, layout="ycc", min_size=(height, width))
    assert planes.y.shape == (height, width)
    down, across = FACTORS[planes.subsampling]
    assert planes.cb is not None
    assert planes.cb.shape == (-(-height // down), -(-width // across))
    reduced = cv2.resize(decode_jpeg(data, layout="gray"), (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(planes.y.astype(int) - reduced).mean() < 5.0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("layout", ["rgb", "bgr", "gray"])
def test_orientation_turns_pixels_upright(orientation: int, layout: Any) -> None:
    plain = encode(40, 64)
    data = with_exif(plain, exif_segment(orientation))
    stored = decode_jpeg(plain, layout=layout)
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(stored, 1),
    }[orientation]
    np.testing.assert_array_equal(decode_jpeg(data, layout=layout), upright)
    np.testing.assert_array_equal(decode_jpeg(data, layout=layout, orient=False), stored)
    assert decode_jpeg(data, layout="ycc").y.shape == (40, 64)
    assert jpeg_info(data).orientation == orientation
    assert jpeg_info(data).shape == upright.shape[:2]
    # (height, width) wanted is of the upright picture.
    wanted = (20, 32) if orientation < 5 else (32, 20)
    assert decode_jpeg(data, layout=layout, min_size=wanted).shape[:2] == wanted


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        (exif_segment(6, little=False), 6),
        (exif_segment(6)[:-10], None),
        (exif_segment(0), 1),
        (exif_segment(9), 1),
        (exif_segment(6, kind=4), 1),
        (exif_segment(6, ifd=9999), 1),
        (exif_segment(6, ifd=0xFFFFFFFF), 1),
        (b"\xff\xe1\x00\x08Exif\0\0", 1),
        (b"\xff\xe1\x00\x02", 1),
        (exif_segment(3) + exif_segment(6), 3),
    ],
)
def test_odd_exif_is_harmless(segment: bytes, expected: int | None) -> None:
    if expected is None:  # a segment that says it is longer than it is: still no orientation, still no crash
        segment = segment[:2] + struct.pack(">H", len(segment) - 2) + segment[4:]
        expected = 1
    data = with_exif(encode(), segment)
    assert jpeg_info(data).orientation == expected
    assert decode_jpeg(data).size == 61 * 83 * 3


def test_info_needs_only_the_first_bytes() -> None:
    data = with_exif(encode(480, 640, "422", quality=100), exif_segment(6))
    assert len(data) > 65536
    info = jpeg_info(data[:65536])
    assert info == jpeg_info(data)
    assert (info.width, info.height, info.components) == (640, 480, 3)
    assert (info.subsampling, info.progressive, info.shape) == ("422", False, (640, 480))


def test_info_sees_progressive() -> None:
    assert jpeg_info(pillow(Image.fromarray(picture(30, 30)), progressive=True)).progressive


# ------------------------------------------------------------------------------------------ out=


@pytest.mark.parametrize("layout", ["rgb", "gray"])
def test_out_is_filled_and_returned(layout: Any) -> None:
    data = encode()
    expected = decode_jpeg(data, layout=layout)
    out = np.empty_like(expected)
    assert decode_jpeg(data, layout=layout, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_out_may_be_a_part_of_a_larger_array() -> None:
    data = encode()
    canvas = np.full((100, 100, 3), 7, np.uint8)
    decode_jpeg(data, out=canvas[10:71, 5:88])
    np.testing.assert_array_equal(canvas[10:71, 5:88], decode_jpeg(data))
    canvas[10:71, 5:88] = 7
    assert (canvas == 7).all()


def test_planes_out() -> None:
    data = encode()
    expected = decode_jpeg(data, layout="ycc")
    assert expected.cb is not None
    assert expected.cr is not None
    out = Ycc(
        np.zeros_like(expected.y),
        np.zeros_like(expected.cb),
        np.zeros_like(expected.cr),
        expected.subsampling,
    )
    assert decode_jpeg(data, layout="ycc", out=out) is out
    np.testing.assert_array_equal(out.y, expected.y)
    np.testing.assert_array_equal(out.cb, expected.cb)
    np.testing.assert_array_equal(out.cr, expected.cr)


def read_only(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    array = np.zeros(shape, np.uint8)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((61, 83), np.uint8), "expected a uint8 array of shape"),
        (np.zeros((61, 83, 3), np.float32), "expected a uint8 array of shape"),
        (np.zeros((3, 61, 83), np.uint8).transpose(1, 2, 0), "strides"),
        (np.zeros((61, 166, 3), np.uint8)[:, ::2], "strides"),
        (read_only((61, 83, 3)), "read-only"),
        ([1, 2], "list"),
    ],
)
def test_wrong_out_is_refused(out: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_jpeg(encode(), out=out)


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"layout": "hsv"}, ValueError, "rgb, bgr, gray, ycc"),
        ({"min_size": 0}, ValueError, "min_size"),
        ({"min_size": (1, 2, 3)}, ValueError, "min_size"),
        ({"min_size": 0.5}, ValueError, "min_size"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        decode_jpeg(encode(), **arguments)


@pytest.mark.parametrize("data", [None, 5, "text", np.zeros(9)])
def test_not_bytes(data: Any) -> None:
    with pytest.raises(TypeError, match="expected"):
        decode_jpeg(data)
    with pytest.raises(TypeError, match="expected"):
        jpeg_info(data)


def test_strided_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        decode_jpeg(np.frombuffer(encode(), np.uint8)[::2])


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", bytes(1000)])
def test_not_a_jpeg(data: bytes) -> None:
    with pytest.raises(ImageError, match="does not begin with a JPEG marker"):
        decode_jpeg(data)
    with pytest.raises(ImageError, match="does not begin with a JPEG marker"):
        jpeg_info(data)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("layout", ["rgb", "ycc"])
def test_truncated_files_are_refused_unless_salvaged(progressive: bool, share: float, layout: Any) -> None:
    image = Image.fromarray(picture(200, 300))
    data = pillow(image, quality=95, progressive=progressive)
    part = data[: int(len(data) * share)]
    with pytest.raises(ImageError, match="truncated"):
        decode_jpeg(part, layout=layout)
    if jpeg_info(part).height == 200:
        with pytest.warns(RuntimeWarning, match="what could be decoded was kept"):
            assert decode_jpeg(part, salvage=True).shape == (200, 300, 3)


def test_salvage_keeps_the_top_of_a_cut_file() -> None:
    data = pillow(Image.fromarray(picture(400, 300)), quality=95, subsampling=0)
    with pytest.warns(RuntimeWarning, match="damaged JPEG"):
        part = decode_jpeg(data[: len(data) * 3 // 4], salvage=True)
    np.testing.assert_array_equal(part[:200], decode_jpeg(data)[:200])


def bytes_needed(data: bytes) -> int:
    """What the error says of the first bytes of a file; 0 when they are enough."""
    try:
        jpeg_info(data)
    except ImageError as error:
        reason = str(error)
    else:
        return 0
    found = re.search(
        r"header: got (\d+) bytes, expected at least (\d+); pass more of the file's bytes", reason
    )
    assert found, reason
    assert int(found[1]) == len(data)
    return int(found[2])


def test_the_first_bytes_say_how_many_more_are_needed() -> None:
    """Asking again with so many leads to the header, over segments of any length, in few steps."""
    plain = encode()
    data = plain[:2] + b"".join(b"\xff\xe5\xff\xff" + bytes(65533) for _ in range(3)) + plain[2:]
    known = jpeg_info(data)
    for start in (3, 20, 30, 2 + 65537, 2 + 2 * 65537 + 3):
        size, asked = start, 0
        while needed := bytes_needed(data[:size]):
            assert size < needed <= len(data)
            size, asked = needed, asked + 1
        assert jpeg_info(data[:size]) == known
        assert 0 < asked < 30
    with pytest.raises(ImageError, match=r"truncated: the data ends before the frame header: .*salvage=True"):
        decode_jpeg(data[:100])
    with pytest.raises(ImageError, match=r"the data ends before the frame header; "):
        jpeg_info(b"\xff\xd8\xff\xd9")  # no more bytes would help


def test_damaged_entropy_data_is_refused() -> None:
    data = bytearray(encode(200, 300))
    start = data.find(b"\xff\xda")
    for i in range(start + 100, len(data) - 2, 40):
        data[i : i + 2] = b"\xff\xd0"  # restart markers out of nowhere
    with pytest.raises(ImageError, match=r"salvage=True"):
        decode_jpeg(data)


@pytest.mark.parametrize("layout", ["rgb", "gray", "ycc"])
def test_huge_sizes_are_refused_before_memory_is_taken(layout: Any) -> None:
    with pytest.raises(ImageError, match="65500 x 65500 pixels is over the limit"):
        decode_jpeg(with_size(encode(), 65500, 65500), layout=layout)
    # Under the limit, but a file so small cannot hold so many blocks.
    with pytest.raises(ImageError, match="too few bytes"):
        decode_jpeg(with_size(encode(), 16000, 16000), layout=layout)
    with pytest.raises(ImageError, match="raise max_pixels"):
        decode_jpeg(encode(61, 83), layout=layout, max_pixels=61 * 83 - 1)
    decode_jpeg(encode(61, 83), layout=layout, max_pixels=61 * 83)


@pytest.mark.parametrize(
    ("marker", "precision", "message"),
    [(0xC0, 12, "12-bit"), (0xC3, 8, "lossless"), (0xC7, 8, "hierarchical"), (0xCB, 8, "lossless")],
)
def test_unsupported_kinds(marker: int, precision: int, message: str) -> None:
    data = bytearray(encode())
    at = frame_at(bytes(data))
    data[at + 1], data[at + 4] = marker, precision
    with pytest.raises(ImageError, match=message):
        decode_jpeg(data)
    with pytest.raises(ImageError, match=message):
        jpeg_info(data)


@pytest.mark.parametrize("components", [0, 2, 5])
def test_odd_component_counts(components: int) -> None:
    data = bytearray(encode())
    data[frame_at(bytes(data)) + 9] = components
    with pytest.raises(ImageError, match=r"components|too short"):
        decode_jpeg(data)


def test_scan_bombs_are_stopped() -> None:
    data = pillow(Image.fromarray(picture(64, 64)), progressive=True)
    last = data.rfind(b"\xff\xda")
    bomb = data[:last] + data[last:-2] * 600 + data[-2:]
    with pytest.raises(ImageError, match="500 scans"):
        decode_jpeg(bomb, salvage=True)


def test_stray_bytes_between_markers_are_no_loss() -> None:
    data = encode()
    np.testing.assert_array_equal(decode_jpeg(data[:-2] + bytes(20) + data[-2:]), decode_jpeg(data))
    np.testing.assert_array_equal(decode_jpeg(data + b"trailing"), decode_jpeg(data))


# ------------------------------------------------------------------------------------------ threads


def test_threads_decode_at_once_and_the_interpreter_runs_on() -> None:
    data = encode(2000, 2000)
    expected = decode_jpeg(data)
    results: list[Any] = []
    busy: list[tuple[float, float]] = []

    def work() -> None:
        begin = time.perf_counter()
        results.append(decode_jpeg(data))
        busy.append((begin, time.perf_counter()))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    ticks = []
    while len(busy) < 3:
        ticks.append(time.perf_counter())
        time.sleep(0.0005)
    for result in results:
        np.testing.assert_array_equal(result, expected)
    begin, end = min(b for b, _ in busy), max(e for _, e in busy)
    assert sum(begin < t < end for t in ticks) > 5


# ------------------------------------------------------------------------------------------ batches


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("layout", ["rgb", "gray"])
def test_a_batch_is_its_files_in_order(threads: int, layout: Any) -> None:
    files = [encode(20 + i, 30 + i, sampling) for i, sampling in enumerate(SAMPLING)]
    decoded = decode_jpeg_batch(iter(files), layout=layout, threads=threads)
    assert len(decoded) == len(files)
    for data, pixels in zip(files, decoded, strict=True):
        np.testing.assert_array_equal(pixels, decode_jpeg(data, layout=layout))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_names_the_file_that_fails(threads: int) -> None:
    files = [encode(), b"no picture", encode()[:-40]]
    with pytest.raises(ImageError, match=r"datas\[1\]: .*JPEG marker"):
        decode_jpeg_batch(files, threads=threads)
    first, second, third = decode_jpeg_batch(files, threads=threads, errors="return")
    assert first.shape == (61, 83, 3)
    assert isinstance(second, ImageError)
    assert isinstance(third, ImageError)
    assert "datas[2]" in str(third)
    with pytest.warns(RuntimeWarning, match=r"datas\[1\]: damaged JPEG"):
        decode_jpeg_batch([files[0], files[2]], threads=threads, salvage=True)


@pytest.mark.parametrize("arguments", [{"threads": 0}, {"threads": 1.5}, {"errors": "ignore"}])
def test_wrong_batch_arguments(arguments: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        decode_jpeg_batch([encode()], **arguments)
