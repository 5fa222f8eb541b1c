"""Labels whose stated size is not that of the image: EXIF rotation that the tool ignored, resized images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.dataset_files import (
    coco_json,
    codes,
    read_all,
    voc_xml,
    write_image,
    write_json,
    write_text,
)

from yolofast.formats.stated_size import place_boxes, turn_boxes
from yolofast.types import ImageHeader

ORIENTATION = 0x112


def save_rotated(path: Path, orientation: int, box: tuple[int, int, int, int] | None = None) -> None:
    """A stored 100x50 image with an EXIF orientation; `box` is white on black."""
    image = Image.new("L", (100, 50))
    if box is not None:
        image.paste(255, box)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif.tobytes(), quality=100)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_as_the_pixels_do(tmp_path: Path, orientation: int) -> None:
    """The oracle is Pillow: the box around the white pixels after its own turning."""
    box = (8, 16, 40, 24)
    save_rotated(tmp_path / "a.jpg", orientation, box)
    with Image.open(tmp_path / "a.jpg") as image:
        shown = np.asarray(ImageOps.exif_transpose(image)) > 128
    ys, xs = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    expected = [[xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]]
    assert turn_boxes(np.array([box], dtype=np.float64), orientation, (100, 50)).tolist() == expected


@pytest.mark.parametrize(
    ("stated", "box", "expected", "code"),
    [
        pytest.param((100, 50), [10, 20, 30, 10], [20, 10, 30, 40], "boxes-turned", id="as-stored"),
        pytest.param((200, 100), [20, 40, 60, 20], [20, 10, 30, 40], "boxes-turned", id="resized-too"),
        pytest.param((50, 100), [10, 20, 30, 10], [10, 20, 40, 30], None, id="upright"),
        pytest.param((100, 200), [20, 40, 60, 20], [10, 20, 40, 30], "boxes-scaled", id="upright-resized"),
        pytest.param((100, 50), [10, 60, 30, 10], [10, 60, 40, 70], "size-mismatch", id="fits-upright-alone"),
    ],
)
def test_coco_boxes_of_a_rotated_image(
    tmp_path: Path, stated: tuple[int, int], box: list[float], expected: list[float], code: str | None
) -> None:
    """Stored 100x50, shown 50x100 after a quarter turn clockwise."""
    save_rotated(tmp_path / "a.jpg", 6)
    content = coco_json({"a.jpg": [(1, box)]}, {1: "cat"})
    content["images"][0] |= {"width": stated[0], "height": stated[1]}
    write_json(tmp_path / "a.json", content)
    _, images, items = read_all(tmp_path)
    record = images["a.jpg"].record
    assert record is not None
    assert record.boxes.tolist() == [expected]
    assert codes(items) == ([code] if code else [])


@pytest.mark.parametrize(
    ("stated", "turned"), [pytest.param((100, 50), True, id="others-raw"), pytest.param((50, 100), False)]
)
def test_upside_down_images_follow_the_others(tmp_path: Path, stated: tuple[int, int], turned: bool) -> None:
    """The size of an image that EXIF turns by half shows nothing, that of those turned by a quarter does."""
    content = coco_json({name: [(1, [10, 5, 30, 10])] for name in ("half.jpg", "quarter.jpg")}, {1: "cat"})
    content["images"][1] |= {"width": stated[0], "height": stated[1]}
    save_rotated(tmp_path / "half.jpg", 3)
    save_rotated(tmp_path / "quarter.jpg", 6)
    write_json(tmp_path / "a.json", content)
    _, images, items = read_all(tmp_path)
    record = images["half.jpg"].record
    assert record is not None
    assert record.boxes.tolist() == [[60, 35, 90, 45] if turned else [10, 5, 40, 15]]
    assert codes(items) == (["boxes-turned"] * 2 if turned else [])


@pytest.mark.parametrize(
    ("size", "box", "expected", "code"),
    [
        pytest.param((200, 100), (20, 20, 190, 90), [10, 10, 95, 45], "boxes-scaled", id="twice"),
        pytest.param((50, 25), (10, 5, 40, 20), [20, 10, 80, 40], "boxes-scaled", id="half"),
        pytest.param((101, 50), (101, 0, 0, 50), [0, 0, 100, 50], "boxes-scaled", id="rounded"),
        pytest.param((50, 25), (60, 5, 90, 45), [60, 5, 90, 45], "size-mismatch", id="boxes-of-the-image"),
        pytest.param((100, 100), (20, 20, 60, 40), [20, 20, 60, 40], "size-mismatch", id="other-shape"),
        pytest.param((0, 0), (20, 20, 60, 40), [20, 20, 60, 40], "size-mismatch", id="zero"),
    ],
)
def test_voc_boxes_of_a_resized_image(
    tmp_path: Path, size: tuple[int, int], box: tuple[float, ...], expected: list[float], code: str
) -> None:
    """The image is 100x50."""
    write_image(tmp_path / "a.jpg")
    x1, y1, x2, y2 = box
    write_text(tmp_path / "a.xml", voc_xml([("cat", x1, y1, x2, y2)], *size))
    _, images, items = read_all(tmp_path)
    record = images["a.jpg"].record
    assert record is not None
    assert np.allclose(record.boxes, [expected], atol=0.5)
    found = [finding for item in items for finding in item.findings if finding.code == code]
    assert len(found) == 1
    assert f"stated as {size[0]}x{size[1]}" in found[0].message


@pytest.mark.parametrize(
    ("size", "boxes"),
    [
        pytest.param((50, 25), [(5, 5, 20, 20), (60, 5, 90, 45)], id="smaller"),
        pytest.param(
            (200, 100), [(x, y, x + 20, y + 10) for x in (0, 30, 75) for y in range(6)], id="larger"
        ),
    ],
)
def test_a_size_that_was_never_true_scales_no_box(
    tmp_path: Path, size: tuple[int, int], boxes: list[tuple[int, int, int, int]]
) -> None:
    """All images are 100x50, and all files state one other size, as copied files do: one box an image, of
    which some alone would fit either picture."""
    for i, box in enumerate(boxes):
        write_image(tmp_path / f"{i}.jpg")
        write_text(tmp_path / f"{i}.xml", voc_xml([("cat", *box)], *size))
    _, images, items = read_all(tmp_path)
    for i, box in enumerate(boxes):
        record = images[f"{i}.jpg"].record
        assert record is not None
        assert record.boxes.tolist() == [list(box)]
    assert codes(items) == ["size-mismatch"] * len(boxes)


@pytest.mark.parametrize("careless", [(2, 2, 52, 20), (60, 5, 90, 20)])
def test_one_wrong_box_does_not_decide_for_all(tmp_path: Path, careless: tuple[int, ...]) -> None:
    """Drawn on 50x25, one of 120 barely beyond it or anywhere; the images were doubled later."""
    write_image(tmp_path / "a.jpg")
    write_text(tmp_path / "a.xml", voc_xml([("cat", *(float(v) for v in careless))], 50, 25))
    write_image(tmp_path / "b.jpg")
    boxes = [("cat", x, y, 45.0, 20.0) for x in range(12) for y in range(10)]
    write_text(tmp_path / "b.xml", voc_xml(boxes, 50, 25))
    _, images, items = read_all(tmp_path)
    record = images["b.jpg"].record
    assert record is not None
    assert record.boxes[0].tolist() == [0, 0, 90, 40]
    barely = careless[0] == 2
    assert codes(items) == (["box-outside"] if barely else []) + ["boxes-scaled"] * (1 + barely) + (
        [] if barely else ["size-mismatch"]
    )


def test_boxes_that_fit_the_stated_size_alone_decide_for_the_others(tmp_path: Path) -> None:
    boxes = [(10 + i, 10, 40, 40) for i in range(30)]
    for i, box in enumerate([*boxes, (20, 20, 190, 90)]):
        write_image(tmp_path / f"{i}.jpg")
        write_text(tmp_path / f"{i}.xml", voc_xml([("cat", *box)], 200, 100))
    _, images, items = read_all(tmp_path)
    record = images["0.jpg"].record
    assert record is not None
    assert record.boxes.tolist() == [[5, 5, 20, 20]]
    assert codes(items) == ["boxes-scaled"] * 31


@pytest.mark.parametrize("raw_first", [True, False])
def test_two_files_of_one_rotated_image_that_state_its_size_differently(
    tmp_path: Path, raw_first: bool
) -> None:
    save_rotated(tmp_path / "a.jpg", 6)
    raw = coco_json({"a.jpg": [(1, [10, 5, 30, 10])]}, {1: "cat"})
    shown = coco_json({"a.jpg": [(2, [10, 60, 30, 10])]}, {2: "dog"})
    shown["images"][0] |= {"width": 50, "height": 100}
    write_json(tmp_path / ("1.json" if raw_first else "2.json"), raw)
    write_json(tmp_path / ("2.json" if raw_first else "1.json"), shown)
    _, images, items = read_all(tmp_path)
    record = images["a.jpg"].record
    assert record is not None
    assert sorted(record.boxes.tolist()) == [[10, 60, 40, 70], [35, 10, 45, 40]]
    assert sum(item.record is not None for item in items) == 1


def test_all_formats_that_state_sizes_scale(tmp_path: Path) -> None:
    rows = "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,200,100,cat,20,20,190,90\n"
    labelme = {
        "imagePath": "a.jpg",
        "imageWidth": 200,
        "imageHeight": 100,
        "shapes": [{"label": "cat", "shape_type": "rectangle", "points": [[20, 20], [190, 90]]}],
    }
    for kind in ("csv", "labelme"):
        root = tmp_path / kind
        write_image(root / "a.jpg")
        if kind == "csv":
            write_text(root / "boxes.csv", rows)
        else:
            write_json(root / "a.json", labelme)
        _, images, items = read_all(root)
        record = images["a.jpg"].record
        assert record is not None
        assert record.boxes.tolist() == [[10, 10, 95, 45]]
        assert codes(items) == ["boxes-scaled"]


def test_tools_that_state_the_stored_size_and_draw_on_the_upright_image(tmp_path: Path) -> None:
    """As in label-studio#6608: a box that fits the upright images alone decides for all of them."""
    boxes = {"both.jpg": [10, 20, 30, 10], "upright.jpg": [10, 60, 30, 10]}
    write_json(tmp_path / "a.json", coco_json({name: [(1, box)] for name, box in boxes.items()}, {1: "x"}))
    for name in boxes:
        save_rotated(tmp_path / name, 6)
    _, images, items = read_all(tmp_path)
    assert [images[name].record.boxes.tolist() for name in boxes] == [  # type: ignore[union-attr]
        [[10, 20, 40, 30]],
        [[10, 60, 40, 70]],
    ]
    assert codes(items) == ["size-mismatch", "size-mismatch"]


def test_header_without_exif_is_never_turned() -> None:
    header = ImageHeader("jpeg", 50, 100, "RGB", 8, 1, 1000, True)
    placed = place_boxes(np.array([[1.0, 2, 3, 4]]), (100, 50), header, normalised=False)
    assert placed.code == "size-mismatch"
    assert placed.boxes.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("kind", ["labelme", "cvat", "createml"])
def test_coordinates_from_0_to_1_are_shares_in_all_formats(tmp_path: Path, kind: str, shares: bool) -> None:
    """The image is 100x50; without `shares`, a second box is in pixels."""
    write_image(tmp_path / "a.jpg")
    boxes = [(0.1, 0.2, 0.5, 1.0), *([] if shares else [(20.0, 20.0, 40.0, 40.0)])]
    if kind == "labelme":
        shapes = [{"label": "x", "shape_type": "rectangle", "points": [box[:2], box[2:]]} for box in boxes]
        write_json(tmp_path / "a.json", {"imagePath": "a.jpg", "shapes": shapes})
    elif kind == "cvat":
        rows = "".join(f'<box label="x" xtl="{a}" ytl="{b}" xbr="{c}" ybr="{d}"/>' for a, b, c, d in boxes)
        image = f'<image name="a.jpg" width="100" height="50">{rows}</image>'
        write_text(tmp_path / "a.xml", f"<annotations>{image}</annotations>")
    else:
        objects = [
            {
                "label": "x",
                "coordinates": {"x": (a + c) / 2, "y": (b + d) / 2, "width": c - a, "height": d - b},
            }
            for a, b, c, d in boxes
        ]
        write_json(tmp_path / "a.json", [{"image": "a.jpg", "annotations": objects}])
    dataset, images, _ = read_all(tmp_path)
    record = images["a.jpg"].record
    assert record is not None
    np.testing.assert_allclose(record.boxes[0], [10, 10, 50, 50] if shares else boxes[0])
    assert [f.code for f in dataset.findings] == (["boxes-normalised"] if shares else [])


@pytest.mark.parametrize("last", [(0.2, 0.2, 0.4, 0.4), (20.0, 20.0, 40.0, 40.0)])
def test_voc_coordinates_from_0_to_1_are_shares(tmp_path: Path, last: tuple[float, ...]) -> None:
    """One box in pixels shows that all are."""
    for name, box in (("a", (0.1, 0.2, 0.5, 1.0)), ("b", last)):
        write_image(tmp_path / f"{name}.jpg")
        x1, y1, x2, y2 = box
        write_text(tmp_path / f"{name}.xml", voc_xml([("cat", x1, y1, x2, y2)]))
    dataset, images, _ = read_all(tmp_path)
    record = images["a.jpg"].record
    assert record is not None
    shares = last[0] < 1
    np.testing.assert_allclose(record.boxes, [[10, 10, 50, 50] if shares else [0.1, 0.2, 0.5, 1.0]])
    assert [f.code for f in dataset.findings] == (["boxes-normalised"] if shares else [])
