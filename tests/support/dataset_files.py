"""Creates small datasets for the tests of the data stages."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from yolofast.formats.dataset import LabelledDataset, ReadImage
from yolofast.formats.discover import scan_dataset
from yolofast.formats.registry import open_dataset

Box = tuple[str, float, float, float, float]


@functools.cache
def image_bytes(width: int, height: int, kind: str = "JPEG", seed: str = "") -> bytes:
    """Write an image of noise; the seed decides its pixels."""
    numbers = np.random.default_rng([width, height, *seed.encode()])
    pixels = numbers.integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_image(path: Path, width: int = 100, height: int = 50, seed: str | None = None) -> Path:
    """Write an image with unique content, by default seeded by its file name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    path.write_bytes(image_bytes(width, height, kind, path.name if seed is None else seed))
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def voc_xml(boxes: Iterable[Box], width: int = 100, height: int = 50, filename: str = "x.jpg") -> str:
    objects = "".join(
        f"<object>\n<name>{n}</name><difficult>1</difficult>\n<bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
        f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>\n"
        for n, a, b, c, d in boxes
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
    return f"<annotation>\n<filename>{filename}</filename>\n{size}{objects}</annotation>\n"


def write_voc(root: Path, images: dict[str, list[Box]], lists: dict[str, list[str]] | None = None) -> Path:
    for stem, boxes in images.items():
        write_image(root / "JPEGImages" / f"{stem}.jpg")
        write_text(root / "Annotations" / f"{stem}.xml", voc_xml(boxes))
    for name, stems in (lists or {}).items():
        write_text(root / "ImageSets" / "Main" / f"{name}.txt", "\n".join(stems) + "\n")
    return root


def coco_json(
    files: dict[str, list[tuple[int, list[float]]]], categories: dict[int, str], **extra: object
) -> dict[str, list[dict[str, object]]]:
    """COCO content for 100x50 images: file name -> [(category id, bbox xywh)]."""
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for i, (name, boxes) in enumerate(files.items()):
        images.append({"id": 10 + i, "file_name": name, "width": 100, "height": 50})
        for category, box in boxes:
            annotations.append(
                {
                    "id": 100 + len(annotations),
                    "image_id": 10 + i,
                    "category_id": category,
                    "bbox": box,
                    **extra,
                }
            )
    names = [{"id": number, "name": name} for number, name in categories.items()]
    return {"images": images, "annotations": annotations, "categories": names}


def write_json(path: Path, content: object) -> Path:
    return write_text(path, json.dumps(content))


def write_yolo(root: Path, images: dict[str, str | None], yaml: str | None = None) -> Path:
    """Write images with YOLO labels: relative image path -> label text (None: no label file)."""
    for name, text in images.items():
        write_image(root / name, seed=name)
        if text is not None:
            parts = ["labels" if part == "images" else part for part in Path(name).parts]
            write_text(root.joinpath(*parts).with_suffix(".txt"), text)
    if yaml is not None:
        write_text(root / "data.yaml", yaml)
    return root


def write_cats(root: Path) -> Path:
    """A YOLO dataset of four images, with a cat on each."""
    write_yolo(root, {f"{i}.jpg": "0 0.5 0.5 0.2 0.2\n" for i in range(4)})
    write_text(root / "classes.txt", "cat\n")
    return root


def rewrite(path: Path) -> None:
    """Other bytes in place, of the same size and modification time."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def wait_for_the_clock(folder: Path) -> None:
    """Until files get a later time: clocks of file systems tick coarsely."""
    begun = write_text(folder / "tick", "").stat().st_mtime_ns
    while write_text(folder / "tick", "").stat().st_mtime_ns == begun:
        pass


def tree_digest(root: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of everything below a folder (for links, of their target path)."""
    digests = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            digests[path.relative_to(root).as_posix()] = hashlib.sha256(content).hexdigest()
    return digests


def read_all(
    root: Path, label_format: str | None = None
) -> tuple[LabelledDataset, dict[str, ReadImage], list[ReadImage]]:
    """The dataset, its valid images by name, and everything that was read; checks that no row is lost."""
    dataset = open_dataset(scan_dataset(root), label_format)
    items = list(dataset.read())
    for item in items:
        kept = len(item.record.boxes) if item.record else 0
        assert item.rows == kept + sum(f.code.startswith("box-") for f in item.dropped)
    return dataset, {i.image.name: i for i in items if i.image and i.record}, items


NamedBox = tuple[str, list[float]]


def named_boxes(root: Path, name: str = "a.jpg") -> list[NamedBox]:
    """(class, box rounded to 1/1000 px) of an image of a dataset."""
    dataset, images, _ = read_all(root)
    record = images[name].record
    assert record is not None
    boxes = record.boxes.round(3).tolist()
    return [(dataset.names[c], box) for c, box in zip(record.classes.tolist(), boxes, strict=True)]


def codes(items: list[ReadImage]) -> list[str]:
    """The codes of all findings, sorted."""
    return sorted(f.code for item in items for f in item.findings)
