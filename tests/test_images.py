"""Reading image files: every format becomes RGB, and every bad file becomes one clear error."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from yolofast.errors import ImageError
from yolofast.images import IMAGE_SUFFIXES, read_header, read_headers, read_image
from yolofast.kernels import decode_jpeg, jpeg_info
from yolofast.limits import MAX_PIXELS
from yolofast.types import ImageHeader

HEIGHT, WIDTH = 37, 53


def picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8), (WIDTH, HEIGHT))


def save(path: Path, mode: str = "RGB", **options: Any) -> Path:
    Image.fromarray(picture()).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_format_reads_as_rgb(suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path / f"picture{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert read_header(path).shape == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(image, np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_png_modes_become_rgb(mode: str, tmp_path: Path) -> None:
    path = save(tmp_path / "picture.png", mode)
    np.testing.assert_array_equal(read_image(path), np.asarray(Image.open(path).convert("RGB")))


def test_16_bit_png_keeps_the_high_byte(tmp_path: Path) -> None:
    deep = picture().astype(np.uint16) * 256 + 77
    (tmp_path / "deep.png").write_bytes(cv2.imencode(".png", deep[..., ::-1])[1].tobytes())
    assert np.abs(read_image(tmp_path / "deep.png").astype(int) - picture()).max() <= 1


def test_gray_jpeg_becomes_rgb(tmp_path: Path) -> None:
    image = read_image(save(tmp_path / "gray.jpg", "L"))
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert (image[..., 0] == image[..., 2]).all()


def turned(path: Path, orientation: int, mode: str = "RGB", **options: Any) -> Path:
    """A file whose metadata say that its picture, HEIGHT x WIDTH as stored, is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    tag: dict[str, Any] = {"tiffinfo": {274: orientation}} if path.suffix == ".tif" else {"exif": exif}
    return save(path, mode, **tag, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_pictures_are_turned_upright(suffix: str, orientation: int, tmp_path: Path) -> None:
    """In the pixels as in the header, which also says how they are stored."""
    options = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    for mode in ("L", "RGB"):
        stored = Image.fromarray(picture()).convert(mode)
        stored.getexif()[0x0112] = orientation
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
        path = turned(tmp_path / f"{mode}{suffix}", orientation, mode, **options)
        header, image = read_header(path), read_image(path)
        assert header.orientation == orientation
        assert header.shape == image.shape[:2] == expected.shape[:2]
        assert header.stored_shape == (HEIGHT, WIDTH)
        assert image.flags.c_contiguous
        assert np.abs(image.astype(int) - expected).max() <= (4 if suffix == ".jpg" else 0)


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def exif_of(orientation: int) -> bytes:
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


PLACES = {
    "in front": lambda plain, exif: plain[:33] + exif + plain[33:],
    "behind the pixels": lambda plain, exif: plain[:-12] + exif + chunk(b"tEXt", b"a\0b") + plain[-12:],
    "behind a profile": lambda plain, exif: plain[:33] + chunk(b"iCCP", bytes(40_000)) + exif + plain[33:],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("longer", [False, True])
def test_where_a_png_may_say_how_it_is_turned(place: str, longer: bool, tmp_path: Path) -> None:
    """Its first bytes do not hold all of a longer file."""
    path = save(tmp_path / "plain.png", compress_level=0 if longer else 9)
    plain = path.read_bytes()
    if longer:
        plain = plain[:33] + chunk(b"tEXt", b"Comment\0" + bytes(20_000)) + plain[33:]
    path.write_bytes(PLACES[place](plain, chunk(b"eXIf", exif_of(6))))
    assert (read_header(path).shape, read_header(path).orientation) == ((WIDTH, HEIGHT), 6)
    np.testing.assert_array_equal(read_image(path), np.rot90(picture(), -1))


@pytest.mark.parametrize(
    "exif",
    [b"", b"II", exif_of(0), exif_of(9), exif_of(6)[:20], b"XX" + exif_of(6)[2:], b"II*\0" + b"\xff" * 8],
)
def test_nonsense_turns_nothing(exif: bytes, tmp_path: Path) -> None:
    path = save(tmp_path / "plain.png")
    plain = path.read_bytes()
    # What looks like a chunk within the pixels is none.
    fake = chunk(b"IDAT", b"\0\0\0\x1aeXIf" + exif_of(6) + bytes(20))
    for data in (PLACES["in front"](plain, chunk(b"eXIf", exif)), plain[:33] + fake + plain[33:]):
        path.write_bytes(data)
        assert (read_header(path).shape, read_header(path).orientation) == ((HEIGHT, WIDTH), 1)
    save(tmp_path / "plain.webp", exif=exif or b"Exif\0\0", lossless=True)
    assert read_header(tmp_path / "plain.webp").orientation == 1
    np.testing.assert_array_equal(read_image(tmp_path / "plain.webp"), picture())


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    path = save(tmp_path / "really.png").rename(tmp_path / "really.jpg")
    assert read_header(path).shape == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(read_image(path), picture())


def test_top_down_and_old_bmp_shapes(tmp_path: Path) -> None:
    top_down = b"BM" + bytes(12) + struct.pack("<Iii", 40, WIDTH, -HEIGHT) + bytes(28)
    (tmp_path / "top_down.bmp").write_bytes(top_down)
    assert read_header(tmp_path / "top_down.bmp").shape == (HEIGHT, WIDTH)
    old = b"BM" + bytes(12) + struct.pack("<IHH", 12, WIDTH, HEIGHT) + bytes(28)
    (tmp_path / "old.bmp").write_bytes(old)
    assert read_header(tmp_path / "old.bmp").shape == (HEIGHT, WIDTH)


def test_jpeg_shape_behind_much_metadata(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "JPEG")
    data = buffer.getvalue()
    filler = (b"\xff\xed" + struct.pack(">H", 60000) + bytes(59998)) * 3
    (tmp_path / "wordy.jpg").write_bytes(data[:2] + filler + data[2:])
    assert read_header(tmp_path / "wordy.jpg").shape == (HEIGHT, WIDTH)


# -------------------------------------------------------------------------------------------- headers


MODES = {"1": ("L", 1), "I;16": ("L", 16), "YCbCr": ("RGB", 8), "LAB": ("RGB", 8), "PA": ("RGB", 8)}
"""What a header says of Pillow's modes that it has no name for; a kind that is decoded is RGB."""


WRITTEN = {
    "jpeg": ["1", "L", "RGB", "CMYK", "YCbCr"],
    "png": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "bmp": ["1", "L", "P", "RGB", "RGBA"],
    "webp": ["L", "LA", "RGB", "RGBA"],
    "tiff": ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16"],
}


def in_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(picture()[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(picture()).convert(mode)


def stated_mode(path: Path) -> tuple[str, int]:
    with Image.open(path) as image:
        return MODES.get(image.mode, (image.mode, 8))


@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, mode) for kind, modes in WRITTEN.items() for mode in modes]
)
def test_headers_of_what_pillow_writes(kind: str, mode: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    in_mode(mode).save(path, kind)
    header = read_header(path)
    assert (header.format, header.shape) == (kind, (HEIGHT, WIDTH))
    assert header.shape == read_image(path).shape[:2]
    assert (header.mode, header.bits) == stated_mode(path)
    assert (header.orientation, header.complete) == (1, True)
    assert header.bytes == path.stat().st_size


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_headers_of_what_opencv_writes(suffix: str, dtype: Any, channels: int, tmp_path: Path) -> None:
    path = tmp_path / f"picture{suffix}"
    assert cv2.imwrite(str(path), np.repeat(picture()[..., :1], channels, axis=2).astype(dtype))
    header = read_header(path)
    assert header.shape == read_image(path).shape[:2] == (HEIGHT, WIDTH)
    assert (header.mode, header.bits) == ({1: "L", 3: "RGB", 4: "RGBA"}[channels], 8 * dtype().itemsize)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palettes_of_few_colours(bits: int, tmp_path: Path) -> None:
    path = save(tmp_path / "few.png", "P", bits=bits)
    assert (read_header(path).mode, read_header(path).bits) == ("P", bits)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": False}, {"icc_profile": b"x" * 5000}])
@pytest.mark.parametrize("frames", [1, 2])
def test_webp_headers(mode: str, options: dict[str, Any], frames: int, tmp_path: Path) -> None:
    path = tmp_path / "picture.webp"
    image = in_mode(mode)
    if mode == "RGBA":
        image.putalpha(7)
    image.save(path, save_all=frames > 1, append_images=[Image.new(mode, image.size, 9)], **options)
    header = read_header(path)
    assert header.shape == read_image(path).shape[:2] == (HEIGHT, WIDTH)
    assert header.mode == mode


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "tiff_lzw"},
        {"compression": "tiff_deflate"},
        {"compression": "packbits"},
        {"compression": "jpeg"},
        {"big_tiff": True},
        {"save_all": True, "append_images": [Image.new("RGB", (9, 11))]},
        *({"tiffinfo": {274: orientation}} for orientation in range(1, 9)),
    ],
    ids=lambda options: "pages" if "append_images" in options else str(options),
)
def test_tiff_headers(options: dict[str, Any], tmp_path: Path) -> None:
    path = save(tmp_path / "picture.tif", **options)
    assert read_header(path).shape == read_image(path).shape[:2]


def test_a_big_endian_tiff_with_its_directory_at_the_end(tmp_path: Path) -> None:
    pixels = picture().tobytes() * 4
    entries = [
        (256, 3, 1, WIDTH << 16),
        (257, 4, 1, 4 * HEIGHT),
        (258, 3, 3, 8 + len(pixels)),
        (259, 3, 1, 1 << 16),
        (262, 3, 1, 2 << 16),
        (273, 4, 1, 8),
        (277, 3, 1, 3 << 16),
        (278, 4, 1, 4 * HEIGHT),
        (279, 4, 1, len(pixels)),
    ]
    directory = struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries)
    data = b"MM\0\x2a" + struct.pack(">I", 8 + len(pixels) + 6) + pixels + struct.pack(">3H", 8, 8, 8)
    path = tmp_path / "big_endian.tif"
    path.write_bytes(data + directory + bytes(4))
    header = read_header(path)
    assert len(pixels) > 16 * 1024  # the directory is not among the first bytes that are read
    assert header.shape == read_image(path).shape[:2] == (4 * HEIGHT, WIDTH)
    assert (header.mode, header.bits, header.complete) == ("RGB", 8, True)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_a_file_that_stops_early_is_not_complete(suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path / f"cut{suffix}")
    assert read_header(path).complete
    path.write_bytes(path.read_bytes()[:-60])
    assert not read_header(path).complete
    assert read_header(path).shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("segments", [1, 3, 30])
@pytest.mark.parametrize("length", [2, 5000, 65535])
@pytest.mark.parametrize("marker", [0xE1, 0xE2, 0xFE])
def test_exif_and_size_behind_much_metadata(marker: int, length: int, segments: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "wordy.jpg", exif=exif)
    data = path.read_bytes()
    filler = (bytes([0xFF, marker]) + struct.pack(">H", length) + b"\xff" * (length - 2)) * segments
    path.write_bytes(data[:2] + filler + data[2:])
    info = jpeg_info(path.read_bytes())
    header = read_header(path)
    assert header == ImageHeader("jpeg", HEIGHT, WIDTH, "RGB", 8, 6, path.stat().st_size, True)
    assert (header.shape, header.orientation) == (info.shape, info.orientation)


def test_headers_come_back_in_order(tmp_path: Path) -> None:
    for i in range(40):
        Image.new("L", (i + 1, 3)).save(tmp_path / f"{i}.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    paths = [tmp_path / f"{i % 40}.png" if i % 50 else tmp_path / "bad.png" for i in range(1500)]
    for i, header in enumerate(read_headers(paths)):
        assert isinstance(header, ImageHeader) == bool(i % 50)
        assert not isinstance(header, ImageHeader) or header.width == i % 40 + 1


def test_hostile_jpegs_are_told_as_by_the_parser_of_the_whole_file(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "jpeg" / "afl_jpeg.tar") as tar:
        tar.extractall(tmp_path, members=[m for m in tar.getmembers() if m.isfile()][::4], filter="data")
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) > 400
    for path, header in zip(files, read_headers(files), strict=True):
        data = path.read_bytes()
        try:
            expected: Any = jpeg_info(data).shape
        except ImageError:
            with pytest.raises(ImageError) as caught:
                decode_jpeg(data)
            expected = f"{path}: {caught.value}"
        if "expected the bytes of a JPEG" in str(expected):
            assert "not an image" in str(header)
        elif "pixels, over the limit" in str(header):  # which the parser leaves to the decoder
            assert jpeg_info(data).width * jpeg_info(data).height > MAX_PIXELS
        else:
            assert (header.shape if isinstance(header, ImageHeader) else str(header)) == expected


# ------------------------------------------------------------------------------------------ bad files


@pytest.mark.parametrize("kind", ["gif", "ppm", "jpeg2000"])
@pytest.mark.parametrize("read", [read_image, read_header])
def test_formats_that_are_not_supported(read: Any, kind: str, tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "picture.png", kind)
    with pytest.raises(
        ImageError, match=r"picture.png: not an image, or damaged; expected one of: bmp, jfif, jpeg"
    ):
        read(tmp_path / "picture.png")


@pytest.mark.parametrize("read", [read_image, read_header])
def test_a_pipe_is_refused_and_not_waited_for(read: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match=r"pipe.jpg: is a pipe or a device; expected an image file"):
        read(tmp_path / "pipe.jpg")


@pytest.mark.parametrize("read", [read_image, read_header])
def test_tiffs_that_nobody_reads_are_refused(read: Any, tmp_path: Path) -> None:
    Image.fromarray(picture()[..., 0].astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ImageError, match="not an image, or damaged"):
        read(tmp_path / "float.tif")


@pytest.mark.parametrize("name", ["nul\0.jpg", "lone\ud800.jpg", ""])
def test_names_that_no_file_has(name: str) -> None:
    (found,) = read_headers([name])
    assert "no such file; expected an image" in str(found)


@pytest.mark.parametrize("read", [read_image, read_header])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"hello, this is no picture at all", "not an image"),
        (b"\xff\xd8\xff", "cannot decode JPEG: truncated"),
        (b"\x89PNG\r\n\x1a\n", "not an image"),
        (b"BM", "not an image"),
    ],
)
def test_bad_files_name_path_and_reason(
    read: Any, content: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=reason) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_cut_files_are_refused(suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path / f"cut{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"truncated|damaged|cannot be decoded"):
        read_image(path)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_forbidden_files(tmp_path: Path) -> None:
    path = save(tmp_path / "locked.png")
    path.chmod(0)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(path)


def test_real_photographs(shared_data: Path) -> None:
    files = (
        sorted((shared_data / "bccd_voc").rglob("*.jpg"))[::40]
        + sorted((shared_data / "coco128").rglob("*.jpg"))[::20]
    )
    assert files
    for path in files:
        assert read_header(path).shape == read_image(path).shape[:2]
