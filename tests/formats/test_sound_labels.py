"""Labels whose stated sizes are those of the images as shown are read as they are: nothing is put right."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.dataset_files import codes, read_all, voc_xml, write_json, write_text
from support.property_tests import examples

ORIENTATION = 0x112
Corners = tuple[float, float, float, float]


class Sound(NamedTuple):
    """An image as shown, the orientation with which it is stored, and its boxes."""

    size: tuple[int, int]
    orientation: int
    boxes: list[Corners]


@st.composite
def sound_images(draw: st.DrawFn) -> Sound:
    """Boxes have sides from one pixel on, anywhere in the image, at whole or half pixels."""
    size = draw(st.sampled_from([(40, 40), (80, 80), (80, 40), (40, 80), (60, 30), (61, 30)]))
    boxes = set[Corners]()
    for _ in range(draw(st.integers(0, 3))):
        spans = []
        for side in size:
            begin = draw(st.integers(0, 2 * side - 2))
            spans.append((begin / 2, draw(st.integers(begin + 2, 2 * side)) / 2))
        (x1, x2), (y1, y2) = spans
        boxes.add((x1, y1, x2, y2))
    return Sound(size, draw(st.sampled_from([1, 1, 1, 3, 6, 8])), sorted(boxes))


def save(path: Path, image: Sound) -> None:
    width, height = image.size
    stored = (height, width) if image.orientation >= 5 else (width, height)
    exif = Image.Exif()
    exif[ORIENTATION] = image.orientation
    Image.new("L", stored).save(path, exif=exif.tobytes())


def write_coco(root: Path, images: list[Sound]) -> None:
    entries = [
        {"id": i, "file_name": f"{i}.jpg", "width": image.size[0], "height": image.size[1]}
        for i, image in enumerate(images)
    ]
    boxes = [
        {"image_id": i, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for i, image in enumerate(images)
        for x1, y1, x2, y2 in image.boxes
    ]
    annotations = [{"id": number, **box} for number, box in enumerate(boxes)]
    categories = [{"id": 1, "name": "cat"}]
    write_json(root / "a.json", {"images": entries, "annotations": annotations, "categories": categories})


def write_voc(root: Path, images: list[Sound]) -> None:
    for i, image in enumerate(images):
        boxes = [("cat", *box) for box in image.boxes]
        write_text(root / f"{i}.xml", voc_xml(boxes, *image.size))


def write_labelme(root: Path, images: list[Sound]) -> None:
    for i, image in enumerate(images):
        shapes = [
            {"label": "cat", "shape_type": "rectangle", "points": [[x1, y1], [x2, y2]]}
            for x1, y1, x2, y2 in image.boxes
        ]
        width, height = image.size
        content = {"imagePath": f"{i}.jpg", "imageWidth": width, "imageHeight": height, "shapes": shapes}
        write_json(root / f"{i}.json", content)


def write_csv(root: Path, images: list[Sound]) -> None:
    rows = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    for i, image in enumerate(images):
        start = f"{i}.jpg,{image.size[0]},{image.size[1]}"
        rows += [f"{start},cat,{','.join(map(str, box))}" for box in image.boxes] or [f"{start},,,,,"]
    write_text(root / "boxes.csv", "\n".join(rows) + "\n")


def write_cvat(root: Path, images: list[Sound]) -> None:
    text = ""
    for i, image in enumerate(images):
        text += f'<image name="{i}.jpg" width="{image.size[0]}" height="{image.size[1]}">'
        for x1, y1, x2, y2 in image.boxes:
            text += f'<box label="cat" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"/>'
        text += "</image>"
    write_text(root / "annotations.xml", f"<annotations>{text}</annotations>")


@pytest.mark.parametrize("write", [write_coco, write_voc, write_labelme, write_csv, write_cvat])
@examples(100)
@given(
    images=st.lists(sound_images(), min_size=1, max_size=5).filter(lambda some: any(i.boxes for i in some))
)
def test_sound_labels_are_never_turned_scaled_or_taken_for_shares(write: object, images: list[Sound]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for i, image in enumerate(images):
            save(root / f"{i}.jpg", image)
        assert callable(write)
        write(root, images)
        dataset, found, items = read_all(root)
        for i, image in enumerate(images):
            record = found[f"{i}.jpg"].record
            assert record is not None
            assert sorted(map(tuple, record.boxes.tolist())) == image.boxes
        assert codes(items) == []
        assert dataset.findings == ()
