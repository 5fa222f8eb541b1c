"""The native JPEG decoder gives the pixels that Pillow gives."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from yolofast.kernels import decode_jpeg, jpeg_info


def picture(height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(height * 1000 + width)
    small = rng.integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def encode(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def reference(data: bytes, mode: str = "RGB") -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert(mode))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (63, 101), (240, 321)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 20, "optimize": True}])
def test_rgb_is_exact(subsampling: int, size: tuple[int, int], options: dict[str, Any]) -> None:
    data = encode(picture(*size), subsampling=subsampling, **options)
    np.testing.assert_array_equal(decode_jpeg(data), reference(data))


def test_gray_and_rgb_coded_files_are_exact() -> None:
    gray = encode(picture(50, 70).convert("L"))
    np.testing.assert_array_equal(decode_jpeg(gray, layout="gray"), reference(gray, "L"))
    np.testing.assert_array_equal(decode_jpeg(gray), reference(gray))
    coded = encode(picture(50, 70), keep_rgb=True)
    np.testing.assert_array_equal(decode_jpeg(coded), reference(coded))


@pytest.mark.parametrize("transform", [0, 2], ids=["CMYK", "YCCK"])
def test_four_inks_become_rgb(transform: int) -> None:
    data = bytearray(encode(picture(64, 80).convert("CMYK"), quality=95))
    adobe = data.find(b"Adobe")
    data[adobe + 11] = transform
    expected = reference(bytes(data)).astype(int)
    assert np.abs(decode_jpeg(data).astype(int) - expected).max() <= 1
    assert np.abs(decode_jpeg(data, layout="bgr")[..., ::-1].astype(int) - expected).max() <= 1
    assert np.abs(decode_jpeg(data, layout="gray").astype(int) - reference(bytes(data), "L")).max() <= 2
    planes = decode_jpeg(data, layout="ycc")
    expected_planes = np.asarray(Image.fromarray(expected.astype(np.uint8)).convert("YCbCr")).astype(int)
    assert planes.subsampling == "444"
    for plane, wanted in zip(
        (planes.y, planes.cb, planes.cr), np.moveaxis(expected_planes, 2, 0), strict=True
    ):
        assert plane is not None
        assert np.abs(plane.astype(int) - wanted).max() <= 2


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_planes_are_those_of_a_ycbcr_draft(subsampling: int) -> None:
    data = encode(picture(96, 128), subsampling=subsampling)
    draft = Image.open(io.BytesIO(data))
    draft.draft("YCbCr", None)
    expected = np.asarray(draft)
    planes = decode_jpeg(data, layout="ycc")
    np.testing.assert_array_equal(planes.y, expected[..., 0])
    if subsampling == 0:
        np.testing.assert_array_equal(planes.cb, expected[..., 1])
        np.testing.assert_array_equal(planes.cr, expected[..., 2])


@pytest.mark.parametrize("eighths", [1, 2, 4])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_reduced_decode_is_a_pillow_draft(eighths: int, subsampling: int) -> None:
    data = encode(picture(160, 240), subsampling=subsampling)
    size = (160 * eighths // 8, 240 * eighths // 8)
    draft = Image.open(io.BytesIO(data))
    draft.draft("RGB", (size[1], size[0]))
    expected = np.asarray(draft)
    assert expected.shape == (*size, 3)
    np.testing.assert_array_equal(decode_jpeg(data, min_size=size), expected)


def real_files(root: Path) -> list[Path]:
    coco = sorted((root / "coco128").rglob("*.jpg"))[::16]
    bccd = sorted((root / "bccd_voc").rglob("*.jpg"))[::60]
    tiny = sorted((root / "tiny_coco_json").rglob("*.jpg"))[::8]
    return coco + bccd + tiny + sorted((root / "jpeg" / "exif").rglob("*.jpg"))[::2]


def test_real_photographs_are_exact(shared_data: Path) -> None:
    files = real_files(shared_data)
    assert len(files) > 20
    for path in files:
        data = path.read_bytes()
        expected = reference(data)
        np.testing.assert_array_equal(decode_jpeg(data), expected, err_msg=str(path))
        assert jpeg_info(data[:65536]).shape == expected.shape[:2], path
