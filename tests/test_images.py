"""Reading image files: every format becomes RGB, and every bad file becomes one clear error."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from yolofast.errors import ImageError
from yolofast.images import IMAGE_SUFFIXES, image_shape, read_image

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
    assert image_shape(path) == (HEIGHT, WIDTH)
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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_orientation(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "turned.jpg", exif=exif)
    shape = (HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT)
    assert image_shape(path) == shape
    assert read_image(path).shape == (*shape, 3)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_other_formats_are_taken_as_stored(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / f"turned{suffix}", exif=exif)
    assert image_shape(path) == (HEIGHT, WIDTH) == read_image(path).shape[:2]


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    path = save(tmp_path / "really.png").rename(tmp_path / "really.jpg")
    assert image_shape(path) == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(read_image(path), picture())


def test_top_down_and_old_bmp_shapes(tmp_path: Path) -> None:
    top_down = b"BM" + bytes(12) + struct.pack("<Iii", 40, WIDTH, -HEIGHT) + bytes(28)
    (tmp_path / "top_down.bmp").write_bytes(top_down)
    assert image_shape(tmp_path / "top_down.bmp") == (HEIGHT, WIDTH)
    old = b"BM" + bytes(12) + struct.pack("<IHH", 12, WIDTH, HEIGHT) + bytes(28)
    (tmp_path / "old.bmp").write_bytes(old)
    assert image_shape(tmp_path / "old.bmp") == (HEIGHT, WIDTH)


def test_jpeg_shape_behind_much_metadata(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "JPEG")
    data = buffer.getvalue()
    filler = (b"\xff\xed" + struct.pack(">H", 60000) + bytes(59998)) * 3
    (tmp_path / "wordy.jpg").write_bytes(data[:2] + filler + data[2:])
    assert image_shape(tmp_path / "wordy.jpg") == (HEIGHT, WIDTH)


# ------------------------------------------------------------------------------------------ bad files


@pytest.mark.parametrize("read", [read_image, image_shape])
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
        assert image_shape(path) == read_image(path).shape[:2]
