"""prepare_dataset(max_side=N): large images are downscaled, labels and small images stay."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.dataset_files import tree_digest, write_image, write_text, write_yolo

from yolofast.errors import ConfigError
from yolofast.images import read_header, read_image
from yolofast.prepare import prepare_dataset
from yolofast.prepare.downscale import downscaled_size

ROW = "0 0.5 0.5 0.2 0.2\n"
YAML = "train: images/train\nval: images/val\nnames: [a]\n"


def gradient(width: int, height: int, mode: str = "RGB") -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8)).convert(mode)


def source(root: Path, pictures: dict[str, Image.Image], **options: object) -> Path:
    write_yolo(root, {"images/train/small.jpg": ROW, "images/val/v.jpg": ROW}, YAML)
    for name, picture in pictures.items():
        picture.save(root / "images/train" / name, **options)  # type: ignore[arg-type]
        write_text(root / "labels/train" / Path(name).with_suffix(".txt"), ROW)
    return root


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_large_pictures_become_small(tmp_path: Path, suffix: str, mode: str) -> None:
    if (mode, suffix) in (("RGBA", ".jpg"), ("CMYK", ".png"), ("CMYK", ".bmp"), ("CMYK", ".webp")):
        mode = "RGB"
    root = source(tmp_path / "set", {f"big{suffix}": gradient(301, 200, mode)})
    before = tree_digest(root)
    done = prepare_dataset(root, max_side=150)
    made = done.root / f"train/images/big{suffix if suffix == '.png' else '.jpg'}"
    assert read_header(made).shape == (100, 150)
    wanted = np.asarray(gradient(150, 100).convert("L" if mode == "L" else "RGB").convert("RGB"), np.int16)
    if mode != "CMYK":
        assert np.abs(read_image(made).astype(np.int16) - wanted).mean() < 4
    with Image.open(made) as picture:
        assert picture.mode == ({"CMYK": "RGB"}.get(mode, mode) if suffix in (".png", ".jpg") else "RGB")
    assert (done.root / "train/labels/big.txt").read_text() == ROW
    assert (done.root / "train/images/small.jpg").samefile(root / "images/train/small.jpg")
    assert tree_digest(root) == before


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_orientation_goes_into_the_pixels(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    root = source(tmp_path / "set", {f"turned.{suffix}": gradient(300, 200)}, exif=exif)
    made = prepare_dataset(root, max_side=150).root / f"train/images/turned.{suffix}"
    assert read_header(made).shape == (150, 100)
    with Image.open(made) as picture:
        assert (picture.size, picture.getexif().get(0x0112)) == ((100, 150), None)
        wanted = gradient(150, 100).transpose(Image.Transpose.ROTATE_270)
        assert np.abs(np.asarray(picture, np.int16) - np.asarray(wanted, np.int16)).mean() < 4


def test_quality_and_restart_markers(tmp_path: Path) -> None:
    root = source(tmp_path / "set", {"big.jpg": gradient(300, 200)})
    sizes = [
        prepare_dataset(root, max_side=150, quality=q).root.joinpath("train/images/big.jpg").stat().st_size
        for q in (30, 95)
    ]
    assert sizes[0] < sizes[1]
    done = prepare_dataset(root, max_side=150, restart_rows=1)
    assert all(b"\xff\xdd" in path.read_bytes() for path in done.root.glob("*/images/*.jpg"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_damaged_picture_is_left_out(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)).save(
        buffer, kind
    )
    root = source(tmp_path / "set", {})
    name = f"cut.{'png' if kind == 'PNG' else 'jpg'}"
    (root / "images/train" / name).write_bytes(buffer.getvalue()[:20_000])
    write_text(root / "labels/train/cut.txt", ROW)
    done = prepare_dataset(root, max_side=150)
    assert [(f.severity, f.code, Path(f.file or "").name, f.line) for f in done.dropped] == [
        ("error", "image-unreadable", name, None),
        ("error", "box-no-image", "cut.txt", 1),
    ]
    assert not list(done.root.rglob("cut.*"))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 50), None),
        ((50, 100), None),
        ((101, 50), (100, 50)),
        ((200, 101), (100, 51)),
        ((1, 5000), (1, 100)),
        ((199, 1), (100, 1)),
    ],
)
def test_sides_are_rounded_and_never_zero(size: tuple[int, int], expected: tuple[int, int] | None) -> None:
    assert downscaled_size(*size, 100) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_side": 0}, "max_side: got 0, expected a value at least 1 and at most 65535."),
        ({"quality": 101}, "quality: got 101, expected a value at least 1 and at most 100."),
    ],
)
def test_refusals(tmp_path: Path, options: dict[str, int], message: str) -> None:
    write_image(tmp_path / "set/a.jpg")
    with pytest.raises(ConfigError) as caught:
        prepare_dataset(tmp_path / "set", **options)
    assert str(caught.value) == message
