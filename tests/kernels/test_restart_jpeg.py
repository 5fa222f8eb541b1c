"""`rewrite_jpeg`: the same picture, whoever decodes it, with restart markers where they were asked for."""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.jpeg_files import (
    APP0,
    APP1,
    APP14,
    COM,
    DHT,
    DQT,
    DRI,
    SAMPLING,
    SOF0,
    coded_file,
    draw,
    drawn_file,
    encoded,
    exif_segment,
    first_scans,
    segment,
    take_apart,
    with_segment,
)

from yolofast.errors import ImageError
from yolofast.kernels import decode_jpeg, jpeg_info, rewrite_jpeg

APP2, SOF2 = 0xE2, 0xC2
RESTART = re.compile(rb"\xff([\xd0-\xd7])")

# 20 x 27, 4:2:0, arithmetic coding (SOF9), which Pillow and OpenCV do not write
ARITHMETIC = bytes.fromhex(
    "ffd8ffdb004300100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c3933383740485c4e404457453738506d"
    "51575f626768673e4d71797064785c656763ffdb0043011112121815182f1a1a2f6342384263636363636363636363636363636363"
    "63636363636363636363636363636363636363636363636363636363636363636363ffc9001108001b001403012200021101031101"
    "ffcc000a0010100501101105ffda000c03010002110311003f00ff006f7fd9e9944314b192db85dfe6d1fd4f11d8cb6481cbdf6cdf"
    "ec1b53a6e133e38adbe345126f2aab8764903de39d28b2f281d262818d9db214d4d34d30f1ff0094b74cfbb1434bce80677c5d50f1"
    "0e511a65cdb18a2cfb85f966bd34079c03064669897f901010f15a68ffd9"
)


def pillow(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(data)))


def assert_same_pictures(before: bytes, after: bytes) -> None:
    """The same in Pillow, in libjpeg-turbo and in our own decoder; planes and colours."""
    np.testing.assert_array_equal(pillow(after), pillow(before))
    for layout in ("rgb", "ycc"):
        wanted = decode_jpeg(before, layout=layout, decoder="turbo")
        for decoder in ("turbo", "auto"):
            got = decode_jpeg(after, layout=layout, decoder=decoder)
            if layout == "rgb":
                np.testing.assert_array_equal(got, wanted)
                continue
            assert got.subsampling == wanted.subsampling
            for name in ("y", "cb", "cr"):
                np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))


def mcu_grid(data: bytes) -> tuple[int, int]:
    """MCUs across and down, from the frame header alone."""
    frame = take_apart(data)[SOF0]
    height, width, count = struct.unpack(">HHB", frame[1:6])
    factors = [(frame[7 + 3 * i] >> 4, frame[7 + 3 * i] & 15) for i in range(count)]
    h, v = (1, 1) if count == 1 else (max(f[0] for f in factors), max(f[1] for f in factors))
    return -(-width // (8 * h)), -(-height // (8 * v))


def assert_restarts(data: bytes, rows: int) -> None:
    """An interval of `rows` rows, and after each of them but the last a marker with the next number."""
    across, down = mcu_grid(data)
    parts = take_apart(data)
    assert struct.unpack(">H", parts[DRI]) == (rows * across,)
    found = [m[0] for m in RESTART.findall(parts.scan)]
    assert found == [0xD0 + i % 8 for i in range(-(-down // rows) - 1)]


def by_pillow(mode: str, size: tuple[int, int], **options: Any) -> bytes:
    buffer = io.BytesIO()
    pixels = draw(np.random.default_rng(size[0]), *size, noise=False)
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def by_opencv(subsampling: str, size: tuple[int, int], **options: int) -> bytes:
    import cv2

    flags = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[subsampling]]
    for name, value in options.items():
        flags += [getattr(cv2, f"IMWRITE_JPEG_{name}"), value]
    return cv2.imencode(".jpg", draw(np.random.default_rng(7), *size, noise=False), flags)[1].tobytes()


SIZES = [(1, 1), (7, 300), (133, 59), (256, 64)]
KINDS = {
    **{name: lambda size, name=name: by_opencv(name, size) for name in SAMPLING},
    "gray": lambda size: by_pillow("L", size),
    "progressive": lambda size: by_pillow("RGB", size, progressive=True),
    "progressive gray": lambda size: by_pillow("L", size, progressive=True),
    "cmyk": lambda size: by_pillow("CMYK", size),
    "rgb": lambda size: by_pillow("RGB", size, keep_rgb=True),
    "with restarts": lambda size: by_opencv("420", size, RST_INTERVAL=3),
    "progressive, with restarts": lambda size: by_opencv("422", size, PROGRESSIVE=1, RST_INTERVAL=2),
}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_same_picture_with_restarts(kind: str, size: tuple[int, int], rows: int) -> None:
    data = KINDS[kind](size)
    made = rewrite_jpeg(data, restart_rows=rows)
    assert_same_pictures(data, made)
    assert_restarts(made, rows)
    assert rewrite_jpeg(made, restart_rows=rows) == made
    assert not jpeg_info(made).progressive


@pytest.mark.parametrize("seed", range(60))
def test_any_file_of_encoders(seed: int) -> None:
    data = drawn_file(seed)
    made = rewrite_jpeg(data, restart_rows=1 + seed % 4)
    assert_same_pictures(data, made)
    assert_restarts(made, 1 + seed % 4)
    assert jpeg_info(made) == jpeg_info(data)


def refusal(data: bytes) -> str | None:
    try:
        rewrite_jpeg(data, restart_rows=1)
    except ImageError as error:
        return str(error)
    return None


@pytest.mark.parametrize("interleaved", [True, False])
def test_files_of_random_symbols_are_rewritten_or_refused(interleaved: bool) -> None:
    rewritten = 0
    for seed in range(40):
        data = coded_file(seed, interleaved=interleaved)
        problem = refusal(data)
        assert problem is None or "DCT coefficient out of range; keep the file as it is" in problem
        if problem is None:
            assert_same_pictures(data, rewrite_jpeg(data, restart_rows=1))
            rewritten += 1
    assert 10 < rewritten < 40


def test_arithmetic_coding_becomes_huffman() -> None:
    made = rewrite_jpeg(ARITHMETIC, restart_rows=1)
    wanted = decode_jpeg(ARITHMETIC)
    assert wanted.std() > 20
    np.testing.assert_array_equal(decode_jpeg(made), wanted)
    np.testing.assert_array_equal(pillow(made), wanted)  # a Huffman file: SOF0 is read by all
    assert_restarts(made, 1)


def test_quantisation_tables_stay() -> None:
    data = by_pillow("RGB", (40, 40), qtables=[list(range(1, 65)), list(range(64, 0, -1))])
    made = take_apart(rewrite_jpeg(data, restart_rows=1))
    before = {p for m, p in take_apart(data).segments if m == DQT}
    assert {p for m, p in made.segments if m == DQT} == before


def test_more_rows_than_the_format_can_count() -> None:
    data = by_pillow("L", (120, 8000))
    made = rewrite_jpeg(data, restart_rows=65535)
    assert_restarts(made, 65)  # 1000 MCUs a row, 65535 at most
    wide = by_pillow("L", (800, 65500), quality=1)
    assert_restarts(rewrite_jpeg(wide, restart_rows=50), 8)


def test_segments_are_kept_as_they_are_and_none_is_added() -> None:
    profile = bytes(range(256)) * 600  # over two APP2 segments
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a caption"
    data = by_pillow("RGB", (40, 60), icc_profile=profile, exif=exif.tobytes(), comment=b"hello")
    data = with_segment(data, 0xED, b"Photoshop 3.0\0" + b"\xff\xda\xff\xd0" * 50)
    made = rewrite_jpeg(data, restart_rows=2)
    notes = [s for s in take_apart(data).segments if s[0] >= APP0]
    assert len([m for m, _ in notes if m == APP2]) == 3
    assert {m for m, _ in notes} >= {APP0, APP1, APP2, 0xED, COM}
    assert [s for s in take_apart(made).segments if s[0] >= APP0] == notes
    image = Image.open(io.BytesIO(made))
    assert image.info["icc_profile"] == profile
    assert image.getexif()[0x010E] == "a caption"
    assert jpeg_info(made).orientation == 6


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
@pytest.mark.parametrize("removed", [(), (APP0,), (APP14,), (APP0, APP14)])
def test_jfif_and_adobe_are_written_once_or_not_at_all(mode: str, removed: tuple[int, ...]) -> None:
    data = encoded(mode).without(*removed).join()
    made = rewrite_jpeg(data, restart_rows=1)
    assert_same_pictures(data, made)
    kinds = [m for m, _ in take_apart(made).segments]
    wanted = [m for m, _ in take_apart(data).segments if m in (APP0, APP14)]
    assert [m for m in kinds if m in (APP0, APP14)] == wanted


def test_bytes_behind_the_picture_are_dropped() -> None:
    data = encoded().join()
    made = rewrite_jpeg(data, restart_rows=1)
    assert rewrite_jpeg(data + b"\0" * 1000, restart_rows=1) == made


def test_any_bytes_like_is_read_and_not_written() -> None:
    data = encoded().join()
    made = rewrite_jpeg(data, restart_rows=1)
    array = np.frombuffer(bytearray(data), np.uint8)
    for form in (bytearray(data), memoryview(data), array):
        assert rewrite_jpeg(form, restart_rows=1) == made
    assert array.tobytes() == data


def test_threads_get_the_same() -> None:
    files = [drawn_file(seed) for seed in range(30)]
    wanted = [rewrite_jpeg(data, restart_rows=1) for data in files]
    made: dict[int, list[bytes]] = {}

    def work(number: int) -> None:
        made[number] = [rewrite_jpeg(data, restart_rows=1) for data in files]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [made[n] for n in range(4)] == [wanted] * 4


@pytest.mark.parametrize(("folder", "step"), [("coco128", 12), ("bccd_voc", 25), ("jpeg/exif", 2)])
def test_real_files(shared_data: Path, folder: str, step: int) -> None:
    for path in sorted((shared_data / folder).rglob("*.jpg"))[::step]:
        data = path.read_bytes()
        made = rewrite_jpeg(data, restart_rows=1)
        assert_same_pictures(data, made)
        assert_restarts(made, 1)
        assert jpeg_info(made).orientation == jpeg_info(data).orientation


# ------------------------------------------------------------------------------------------ refusals


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def without_end(data: bytes) -> bytes:
    return data[:-2]


def with_broken_scan(data: bytes) -> bytes:
    parts = take_apart(data)
    return data[: -len(parts.scan) - 2] + b"\xff\x00" * (len(parts.scan) // 2) + b"\xff\xd9"


def with_lost_marker(data: bytes) -> bytes:
    middle = len(data) - len(take_apart(data).scan) // 2
    return data[:middle] + b"\xff\xd5" + data[middle:]


def without_tables(data: bytes) -> bytes:
    return take_apart(data).without(DHT, DQT).join()


@pytest.mark.parametrize("damage", [cut, without_end, with_broken_scan, with_lost_marker, without_tables])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_damaged_files_are_refused(damage: Any, mode: str) -> None:
    data = encoded(mode, 90, 90).join()
    rewrite_jpeg(data, restart_rows=1)
    with pytest.raises(ImageError, match=r"cannot rewrite JPEG: .*; the file is (damaged|incomplete): get"):
        rewrite_jpeg(damage(data), restart_rows=1)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8", b"\xff\xd8\xff\xe0\0\x10JFIF"])
def test_what_is_no_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="cannot rewrite JPEG"):
        rewrite_jpeg(data, restart_rows=1)


def test_every_cut_of_a_file_is_refused_or_whole() -> None:
    for progressive in (False, True):
        data = by_pillow("RGB", (40, 50), progressive=progressive)
        for length in range(0, len(data) - 1, 7):
            with pytest.raises(ImageError, match="cannot rewrite JPEG"):
                rewrite_jpeg(data[:length], restart_rows=1)


def test_random_damage_is_refused_or_decodes_alike() -> None:
    rng = np.random.default_rng(5)
    files = [by_pillow("RGB", (40, 50), progressive=bool(n % 2), quality=40) for n in range(2)]
    kept = 0
    for n in range(400):
        data = bytearray(files[n % 2])
        for at in rng.integers(2, len(data), 3):
            data[at] = rng.integers(256)
        try:
            made = rewrite_jpeg(data, restart_rows=1, max_pixels=2**20)
        except ImageError:
            continue
        np.testing.assert_array_equal(decode_jpeg(made), decode_jpeg(data))
        kept += 1
    assert 10 < kept < 390


def with_size(height: int, width: int) -> bytes:
    """An ordinary small file that says it is of another size."""
    return encoded().changed(SOF0, lambda p: p[:1] + struct.pack(">HH", height, width) + p[5:]).join()


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="ASan itself needs more addresses than the limit"
)
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (with_size(65500, 65500), "65500 x 65500 pixels is over the limit of 268435456; raise max_pixels"),
        (with_size(16000, 16000), "too few bytes for a picture of that size"),
    ],
    ids=["over the limit", "empty"],
)
def test_huge_header_is_refused_before_memory_is_taken(data: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "huge.jpg").write_bytes(data)
    code = (
        "import resource, sys\nfrom yolofast.kernels import rewrite_jpeg\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "rewrite_jpeg(data, restart_rows=1)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "huge.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ImageError: cannot rewrite JPEG" in done.stderr
    assert expected in done.stderr


def test_pixels_are_limited() -> None:
    data = encoded("RGB", 64, 64).join()
    with pytest.raises(ImageError, match="64 x 64 pixels is over the limit of 4095"):
        rewrite_jpeg(data, restart_rows=1, max_pixels=4095)
    assert_restarts(rewrite_jpeg(data, restart_rows=1, max_pixels=4096), 1)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ((0xC1, 12), "12-bit samples are not supported, only 8-bit; keep the file as it is"),
        ((0xC3, 8), "lossless and hierarchical JPEG are not supported; keep the file as it is"),
    ],
)
def test_other_processes_are_refused(frame: tuple[int, int], expected: str) -> None:
    parts = encoded()
    segments = tuple(
        (frame[0], bytes([frame[1]]) + p[1:]) if m == SOF0 else (m, p) for m, p in parts.segments
    )
    data = b"\xff\xd8" + b"".join(segment(*s) for s in segments) + parts.scan + b"\xff\xd9"
    with pytest.raises(ImageError, match=expected):
        rewrite_jpeg(data, restart_rows=1)


def test_incomplete_progressive_files_are_refused() -> None:
    """Decoders smooth these, and could not know that they should once the file is sequential."""
    data = first_scans(by_pillow("RGB", (64, 64), progressive=True, quality=95), 1)
    with pytest.raises(
        ImageError, match="progressive scans are missing; the file is incomplete: get it again"
    ):
        rewrite_jpeg(data, restart_rows=1)


def test_thousands_of_segments_take_no_time() -> None:
    """Each is read once, wherever it stands, and written in the same order."""
    parts = encoded()
    many = b"".join(segment(APP1 + number % 12, bytes([number % 256])) for number in range(4_000))
    data = b"\xff\xd8" + many + parts.join(segment(COM, b"behind the picture") + b"\xff\xd9")[2:]
    started = time.perf_counter()
    made = rewrite_jpeg(data, restart_rows=1)
    assert time.perf_counter() - started < 1
    assert made.startswith(b"\xff\xd8" + many)
    assert made.index(b"behind the picture") < made.index(b"\xff\xc0")


def test_segments_that_would_be_too_many_before_the_picture_are_refused() -> None:
    behind = encoded().join(segment(COM, b"") * 5000 + b"\xff\xd9")
    decode_jpeg(behind)
    with pytest.raises(ImageError, match="over 4096 marker segments in front of the picture; keep the file"):
        rewrite_jpeg(behind, restart_rows=1)


def test_orientation_behind_the_picture_is_refused() -> None:
    parts = encoded()
    late = segment(APP1, exif_segment(6)) + b"\xff\xd9"
    assert jpeg_info(parts.join(late)).orientation == 1
    with pytest.raises(ImageError, match="colour or EXIF segments behind the picture; keep the file"):
        rewrite_jpeg(parts.join(late), restart_rows=1)


@pytest.mark.parametrize("rows", [0, -1, 65536, 1.5, "2", None])
def test_wrong_rows(rows: Any) -> None:
    with pytest.raises(ValueError, match=r"restart_rows is .*; expected a whole number, 1..65535"):
        rewrite_jpeg(encoded().join(), restart_rows=rows)


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="data is str; expected bytes"):
        rewrite_jpeg("x", restart_rows=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_pixels is 0"):
        rewrite_jpeg(encoded().join(), restart_rows=1, max_pixels=0)


def test_same_bytes_every_time() -> None:
    data = drawn_file(11)
    digests = {hashlib.sha256(rewrite_jpeg(data, restart_rows=2)).hexdigest() for _ in range(3)}
    assert len(digests) == 1
