"""The embedded sample dataset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from yolofast.errors import DataError
from yolofast.kernels import jpeg_info
from yolofast.sample import CLASSES, make_sample_dataset


def test_same_bytes_for_the_same_seed_and_others_for_another(tmp_path: Path) -> None:
    folders = [make_sample_dataset(tmp_path / str(n), count=8, seed=seed) for n, seed in enumerate((0, 0, 1))]
    first, second, third = ({p.name: p.read_bytes() for p in f.iterdir()} for f in folders)
    assert first == second
    assert first["shape_0000.jpg"] != third["shape_0000.jpg"]


def test_it_is_what_raw_data_looks_like(tmp_path: Path) -> None:
    folder = make_sample_dataset(tmp_path / "raw", count=60)
    document = json.loads((folder / "annotations.json").read_text())
    infos = {i["file_name"]: jpeg_info((folder / i["file_name"]).read_bytes()) for i in document["images"]}
    assert {i.subsampling for i in infos.values()} == {"420"}
    assert len({i.shape for i in infos.values()}) >= 4
    assert [c["name"] for c in document["categories"]] == list(CLASSES)
    assert {a["category_id"] for a in document["annotations"]} == set(range(1, len(CLASSES) + 1))
    sides = [min(a["bbox"][2:]) for a in document["annotations"]]
    assert min(sides) < 16 < 64 < max(sides)
    sizes = {i["id"]: (i["width"], i["height"]) for i in document["images"]}
    for a in document["annotations"]:
        x, y, w, h = a["bbox"]
        assert 0 <= x < x + w <= sizes[a["image_id"]][0]
        assert 0 <= y < y + h <= sizes[a["image_id"]][1]


def test_a_finished_dataset_is_left_alone_and_a_users_folder_is_refused(tmp_path: Path) -> None:
    folder = make_sample_dataset(tmp_path / "raw", count=3)
    (folder / "shape_0000.jpg").write_bytes(b"mine")
    make_sample_dataset(folder, count=3)
    assert (folder / "shape_0000.jpg").read_bytes() == b"mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        make_sample_dataset(tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "raw"]
