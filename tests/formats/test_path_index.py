"""Images of one name in many folders: the right one, in a time that grows with the number of images."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.dataset_files import codes, read_all, voc_xml, write_image, write_json, write_text

from yolofast.formats.path_index import PathIndex

ROOT = Path("/set")


def index(*names: str) -> PathIndex:
    return PathIndex(ROOT, [ROOT / name for name in names])


@pytest.mark.parametrize(
    ("names", "folder", "above", "split", "expected"),
    [
        ("a/1.jpg b/1.jpg", "a", "", None, "a/1.jpg"),
        ("images/s1/1.jpg images/s2/1.jpg", "ann/s2", "", None, "images/s2/1.jpg"),
        ("s1/images/1.jpg s2/images/1.jpg", "s2/ann", "", None, "s2/images/1.jpg"),
        ("s1/images/1.jpg s2/images/1.jpg", "ann", "S1/images", None, "s1/images/1.jpg"),
        ("s1/images/1.jpg s2/images/1.jpg", "s2", "s1/images", None, "s1/images/1.jpg"),
        ("s1/images/1.jpg s2/images/1.jpg", "ann", "images", None, None),
        ("1.jpg old/1.jpg", "", "", None, "1.jpg"),
        ("1.jpg old/1.jpg", "ann", "", None, "1.jpg"),
        ("train/1.jpg val/1.jpg", "ann", "", "valid", "val/1.jpg"),
        ("train/1.jpg all/1.jpg", "ann", "", "valid", "all/1.jpg"),
        ("train/1.jpg", "ann", "", "valid", None),
        ("train/1.jpg", "ann", "data/train", "valid", "train/1.jpg"),
        ("train/1.jpg val/1.jpg", "ann", "train", "valid", "train/1.jpg"),
        ("train/1.jpg train/old/1.jpg", "ann", "", "valid", None),
    ],
)
def test_the_nearest_file(
    names: str, folder: str, above: str, split: str | None, expected: str | None
) -> None:
    parts = tuple(above.lower().split("/")) if above else ()
    found = index(*names.split()).find("1", ROOT / folder, above=parts, split=split)  # type: ignore[arg-type]
    assert found == (None if expected is None else ROOT / expected)


def test_the_suffix_decides_where_it_is_known() -> None:
    files = index("a/1.jpg", "a/1.png")
    assert files.find("1", ROOT / "a") is None
    assert files.find("1", ROOT / "a", suffix=".png") == ROOT / "a/1.png"


@pytest.mark.parametrize(
    "layout", ["images/{}/{}.jpg ann/{}", "{}/images/{}.jpg {}/ann", "images/{}/{}.jpg ann/x{}"]
)
def test_many_folders_take_no_more_time_per_image(layout: str) -> None:
    """Eight times the folders: eight times the images, and far less than 64 times the time."""
    image, _, label = layout.partition(" ")

    def seconds(folders: int) -> float:
        names = [(f"s{s}", str(f)) for s in range(folders) for f in range(10)]
        files = index(*(image.format(*name) for name in names))
        start = time.process_time()
        found = [files.find(stem, ROOT / label.format(folder)) for folder, stem in names]
        passed = time.process_time() - start
        wanted = [None if "x{}" in label else ROOT / image.format(*name) for name in names]
        assert found == wanted
        return passed

    seconds(10)
    few, many = min(seconds(40) for _ in range(5)), min(seconds(320) for _ in range(3))
    assert many < 24 * few


@pytest.mark.parametrize("kind", ["voc", "yolo", "labelme"])
@pytest.mark.parametrize("layout", ["pics/{} ann/{}", "{}/pics {}/ann"])
def test_frames_of_many_folders_get_their_own_labels(tmp_path: Path, kind: str, layout: str) -> None:
    images, labels = layout.split()
    for n in range(5):
        write_image(tmp_path / images.format(f"s{n}") / "0.jpg")
        folder = tmp_path / labels.format(f"s{n}")
        if kind == "voc":
            write_text(folder / "0.xml", voc_xml([("cat", 10 * n, 1, 10 * n + 5, 9)], filename="old.jpg"))
        elif kind == "yolo":
            write_text(folder / "0.txt", f"0 {(10 * n + 2.5) / 100} 0.1 0.05 0.16\n")
        else:
            box = {"label": "cat", "shape_type": "rectangle", "points": [[10 * n, 1], [10 * n + 5, 9]]}
            write_json(folder / "0.json", {"imagePath": "0.jpg", "shapes": [box]})
    _, _, items = read_all(tmp_path)
    records = [item.record for item in items if item.record]
    lefts = {str(r.path.relative_to(tmp_path)): round(float(r.boxes[0, 0])) for r in records}
    assert lefts == {f"{images.format(f's{n}')}/0.jpg": 10 * n for n in range(5)}
    assert codes(items) == []
