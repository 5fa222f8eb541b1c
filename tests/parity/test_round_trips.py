"""YOLO -> COCO -> VOC -> YOLO: every valid box, class name, split and image is preserved.

On real datasets, on the embedded sample, and on directory trees that Hypothesis makes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.dataset_files import image_bytes, read_all, tree_digest
from support.property_tests import examples

from yolofast.formats.data_yaml import label_candidates
from yolofast.formats.splits import WRITTEN_NAMES
from yolofast.prepare import convert_dataset, prepare_dataset
from yolofast.types import ImageRecord, Split

EXACT_PX = 1e-6
"""How far a corner may move; the aim is half a pixel, and YOLO's ten decimals allow this."""


@dataclass(frozen=True)
class Dataset:
    """A dataset as a reader gives it, by image path from its root."""

    root: Path
    format: str
    names: tuple[str, ...]
    records: dict[str, ImageRecord]
    kept: int
    dropped: int


def read(root: Path) -> Dataset:
    dataset, _, items = read_all(root)  # checks that rows == kept + dropped for every image
    kept_items = (i for i in items if not i.rejected)  # the others are left out of what is written
    records = {i.record.path.relative_to(root).as_posix(): i.record for i in kept_items if i.record}
    kept = sum(len(record.boxes) for record in records.values())
    return Dataset(root, dataset.format, dataset.names, records, kept, sum(i.rows for i in items) - kept)


def successors(root: Path) -> dict[str, str]:
    """Path of an image in the source -> its path in the dataset that was made of it."""
    manifest = json.loads((root / "manifest.json").read_text())
    to = manifest["settings"].get("to", "yolo")

    def place(entry: dict[str, str]) -> str:
        if to == "voc":
            return f"JPEGImages/{entry['name']}"
        if to == "yolo":
            return f"{entry['split']}/images/{entry['name']}"
        folder = {**WRITTEN_NAMES, "unsplit": ""}[entry["split"]]  # type: ignore[dict-item]
        return "/".join(filter(None, ("images", folder, entry["name"])))

    return {entry["source"]: place(entry) for entry in manifest["images"]}


def rows_of(record: ImageRecord, names: tuple[str, ...]) -> tuple[list[str], NDArray[np.float64]]:
    return [names[i] for i in record.classes], record.boxes


def assert_same(old: Dataset, new: Dataset, *, splits: bool) -> float:
    """All images with their bytes, splits and boxes in order; returns how far a corner moved."""
    moved, after = 0.0, successors(new.root)
    assert set(after) == set(old.records)
    assert sorted(after.values()) == sorted(new.records)
    for path, before in old.records.items():
        record = new.records[after[path]]
        assert record.path.read_bytes() == before.path.read_bytes()
        assert (record.width, record.height) == (before.width, before.height)
        if splits:
            assert record.split == before.split
        (expected, boxes), (got, found) = rows_of(before, old.names), rows_of(record, new.names)
        assert got == expected
        np.testing.assert_allclose(found, boxes, rtol=0, atol=EXACT_PX)
        moved = max(moved, float(np.abs(found - boxes).max(initial=0.0)))
    return moved


def chain(source: Path, work: Path, *, splits: bool, copy: bool = False) -> Iterator[tuple[Dataset, float]]:
    """The dataset at each stop of YOLO -> COCO -> VOC -> YOLO, and how far a corner moved on the way there.

    Sources that name train and valid keep their splits in YOLO (`splits`); others are split by `prepare`.
    """
    link = "copy" if copy else "hard"
    old = read(source)
    yield old, 0.0
    for to in ("coco", "voc", "yolo"):
        out = work / to
        if to == "yolo":
            prepare_dataset(old.root, out)
        else:
            convert_dataset(old.root, out, to=to, link=link)  # type: ignore[arg-type]
        new = read(out)
        assert new.format == to
        assert (new.kept, new.dropped) == (old.kept, 0)
        yield new, assert_same(old, new, splits=splits or to != "yolo")
        old = new


# ---------------------------------------------------------------- real data and the sample


def assert_round_trip(first: Path, work: Path) -> float:
    """From a prepared YOLO dataset and back; returns how far a corner moved in all."""
    (yolo, _), (coco, _), (voc, _), (back, _) = chain(first, work, splits=True)
    assert coco.names == yolo.names
    used = {yolo.names[i] for record in yolo.records.values() for i in record.classes}
    assert voc.names == tuple(sorted(used))  # VOC knows the names in its objects, in no order
    assert back.names == voc.names
    steps = [successors(one.root) for one in (coco, voc, back)]
    moved = 0.0
    for path, before in yolo.records.items():
        for step in steps:
            path = step[path]
        after = back.records[path]
        assert rows_of(after, back.names)[0] == rows_of(before, yolo.names)[0]
        moved = max(moved, float(np.abs(after.boxes - before.boxes).max(initial=0.0)))
    return moved


@pytest.mark.parametrize("name", ["coco128", "bccd_voc", "tiny_coco_json"])
def test_real_data(shared_data: Path, tmp_path: Path, name: str) -> None:
    """From the source itself to YOLO and around; nothing of the source is linked."""
    source = read(shared_data / name)
    prepare_dataset(source.root, tmp_path / "first", link="copy")
    first = read(tmp_path / "first")
    assert (first.kept, first.dropped) == (source.kept, 0)
    assert first.names == source.names
    used = {k: v for k, v in source.records.items() if k in successors(first.root)}
    assert set(used) == set(source.records)
    assert_same(source, first, splits=True)
    moved = assert_round_trip(first.root, tmp_path / "round")
    print(f"{name}: {first.kept} boxes, a corner moved by at most {moved:.3g} px")
    assert moved < EXACT_PX


def test_sample(sample_yolo: Path, tmp_path: Path) -> None:
    assert assert_round_trip(sample_yolo.parent, tmp_path) < EXACT_PX


@pytest.mark.parametrize("name", ["coco128", "tiny_coco_json", "sample"])
def test_pycocotools_reads_what_is_written(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    from pycocotools.coco import COCO

    if name == "sample":
        source = request.getfixturevalue("sample_yolo").parent
    else:
        source = request.getfixturevalue("shared_data") / name
    done = convert_dataset(source, tmp_path / "coco", to="coco", link="copy")
    expected = read(source)
    for split, count in done.images.items():
        folder = WRITTEN_NAMES[split]  # type: ignore[index]
        api = COCO(str(done.root / "annotations" / f"instances_{folder}.json"))
        assert len(api.getImgIds()) == count
        assert len(api.getAnnIds()) == done.boxes[split]
        assert [c["name"] for c in api.loadCats(api.getCatIds())] == list(expected.names)
        by_name = {Path(path).name: record for path, record in expected.records.items()}
        for image in api.loadImgs(api.getImgIds()):
            assert (done.root / "images" / folder / image["file_name"]).is_file()
            record = by_name[image["file_name"]]
            assert (image["width"], image["height"]) == (record.width, record.height)
            annotations = api.loadAnns(api.getAnnIds(image["id"]))
            assert [a["category_id"] - 1 for a in annotations] == record.classes.tolist()
            for annotation, (x1, y1, x2, y2) in zip(annotations, record.boxes, strict=True):
                assert annotation["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-9)
                assert annotation["area"] == pytest.approx((x2 - x1) * (y2 - y1), abs=1e-6)


# ---------------------------------------------------------------- trees that Hypothesis makes

UNIT = 10**6
SIZES = ((1, 1), (7, 5), (40, 30), (33, 64))
NAMES = ("cat", "big dog", "<a & b>", "日本", "no", "1e3", 'say "x"', "ü")
STEMS = (
    "a",
    "A",
    "img 1",
    "photo",
    "photo.jpg",
    "x.y.z",
    "ünï",
    "画像",
    "train",
    "0001",
    "-1",
    "b  c",
    "né 0",
)
FOLDERS = ("", "sub", "sub/deep er", "Ünter", "v1.2", "images", "test")
SUFFIXES = (".jpg", ".JPG", ".png", ".jpeg", ".PNG")
SPLITS: tuple[tuple[Split, ...], ...] = (
    (),
    ("train",),
    ("valid",),
    ("train", "valid"),
    ("train", "test"),
    ("train", "valid", "test"),
)
BAD = ("{n} 0.5 0.5 0.1 0.1", "0 nan 0.5 0.1 0.1", "0 0.5 0.5 0.1", "0 x 0.5 0.1 0.1", "0 0.95 0.5 0.4 0.1",
       "0 0.5 0.5 0 0.1", "1.5 0.5 0.5 0.1 0.1", "-1 0.5 0.5 0.1 0.1")  # fmt: skip

Corners = tuple[int, int, int, int]


@dataclass(frozen=True)
class Labelled:
    """An image to be made: where, how large, and its label file."""

    path: str
    split: Split | None
    size: tuple[int, int]
    rows: list[tuple[int, Corners]]
    text: bytes | None
    bad: int


@st.composite
def _corners(draw: st.DrawFn) -> Corners:
    """A box in millionths of the image: anything from a millionth to the full frame."""
    low = st.integers(0, UNIT - 1)
    x1, y1 = draw(low), draw(low)
    width, height = draw(st.integers(1, UNIT - x1)), draw(st.integers(1, UNIT - y1))
    return x1, y1, x1 + width, y1 + height


_BOX = st.one_of(
    st.just((0, 0, UNIT, UNIT)),
    st.builds(lambda x: (x, x, x + 1, x + 1), st.integers(0, UNIT - 1)),
    _corners(),
)


def _line(label: int, box: Corners, space: str) -> str:
    x1, y1, x2, y2 = box
    numbers = ((x1 + x2) / 2 / UNIT, (y1 + y2) / 2 / UNIT, (x2 - x1) / UNIT, (y2 - y1) / UNIT)
    return space.join([str(label), *(f"{value:.7f}" for value in numbers)])


@st.composite
def _labelled(draw: st.DrawFn, path: str, split: Split | None, classes: int) -> Labelled:
    rows = draw(st.lists(st.tuples(st.integers(0, classes - 1), _BOX), max_size=4, unique=True))
    space, newline = draw(st.sampled_from([" ", "\t", "  "])), draw(st.sampled_from(["\n", "\r\n"]))
    bad = draw(st.lists(st.sampled_from(BAD), max_size=2))
    lines = [_line(label, box, space) for label, box in rows] + [one.format(n=classes) for one in bad]
    repeats = draw(st.integers(0, 1)) if rows else 0
    lines += lines[:repeats]
    ending = newline if draw(st.booleans()) else ""
    start = b"\xef\xbb\xbf" if draw(st.booleans()) else b""
    text = start + (newline.join(lines) + ending).encode()
    missing = not lines and draw(st.booleans())
    size = draw(st.sampled_from(SIZES))
    return Labelled(path, split, size, rows, None if missing else text, len(bad) + repeats)


@st.composite
def _datasets(draw: st.DrawFn) -> tuple[tuple[Split, ...], tuple[str, ...], list[Labelled]]:
    splits = draw(st.sampled_from(SPLITS))
    names = tuple(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)))
    layout = draw(st.sampled_from(["{split}/images", "images/{split}", "{split}"]))
    places = draw(
        st.lists(
            st.tuples(
                st.sampled_from(splits or (None,)), st.sampled_from(FOLDERS), st.sampled_from(STEMS),
                st.sampled_from(SUFFIXES),
            ),
            max_size=5,
            unique_by=lambda place: place[:3],
        )
    )  # fmt: skip
    images = []
    for split, folder, stem, suffix in places:
        if split is None and folder == "test":
            folder = "tests"  # without a data.yaml, a folder called test would be a split
        top = layout.format(split=split) if split else ""
        path = "/".join(filter(None, (top, folder, stem + suffix)))
        images.append(draw(_labelled(path, split, len(names))))
    # Enough to be a dataset: two images to train on, with a box. And in every split a box beyond the first
    # pixel: a file whose coordinates all lie between 0 and 1 is read as shares.
    first = splits[0] if splits else None
    boxed = dict.fromkeys(image.split for image in images if image.rows and image.split != first)
    for stem, split in (("keep-1", first), ("keep-2", first), *((f"keep-{each}", each) for each in boxed)):
        path = "/".join(filter(None, (layout.format(split=split) if split else "", f"{stem}.jpg")))
        full = (0, 0, UNIT, UNIT)
        images.append(Labelled(path, split, (40, 30), [(0, full)], _line(0, full, " ").encode(), 0))
    return splits, names, images


def _write(root: Path, splits: tuple[Split, ...], names: tuple[str, ...], images: list[Labelled]) -> None:
    for image in images:
        path = root / image.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(*image.size, "PNG" if path.suffix.lower() == ".png" else "JPEG"))
        if image.text is not None:
            label = Path(next(label_candidates(path)))
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_bytes(image.text)
    if not splits:
        (root / "classes.txt").write_text("\n".join(names), encoding="utf-8")
        return
    yaml = {"path": "", "names": list(names)}
    for split in splits:
        paths = [str(root / image.path) for image in images if image.split == split]
        listing = root / f"{split}.list.txt"
        listing.write_text("\n".join(paths) + "\n", encoding="utf-8")
        yaml[WRITTEN_NAMES[split]] = listing.name
    (root / "data.yaml").write_text(json.dumps(yaml), encoding="utf-8")  # JSON is YAML


def check_made_dataset(made: tuple[tuple[Split, ...], tuple[str, ...], list[Labelled]]) -> None:
    splits, names, images = made
    with tempfile.TemporaryDirectory() as folder:
        root, work = Path(folder) / "set", Path(folder) / "work"
        root.mkdir()
        _write(root, splits, names, images)
        before = tree_digest(root)
        used = [image for image in images if image.rows or not image.bad]  # not all rows are rejected
        filled = {image.split for image in used}
        stops = chain(root, work, splits={"train", "valid"} <= filled)
        source = next(stops)[0]
        assert source.names == names
        assert source.dropped == sum(image.bad for image in images)
        assert set(source.records) == {image.path for image in used}
        for image in used:
            record = source.records[image.path]
            width, height = image.size
            expected = np.array([box for _, box in image.rows], dtype=np.float64).reshape(-1, 4) / UNIT
            assert record.classes.tolist() == [label for label, _ in image.rows]
            np.testing.assert_allclose(record.boxes, expected * [width, height, width, height], atol=EXACT_PX)
            assert record.split == image.split
        for _, moved in stops:
            assert moved < EXACT_PX
        assert tree_digest(root) == before


@given(_datasets())
@examples(25, suppress_health_check=[HealthCheck.too_slow])
def test_made_datasets(made: tuple[tuple[Split, ...], tuple[str, ...], list[Labelled]]) -> None:
    check_made_dataset(made)
