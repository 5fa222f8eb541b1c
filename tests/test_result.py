"""Result: what was found as arrays, text, pictures and files, whatever the classes and images are called."""

from __future__ import annotations

import json
import random
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from support.odd_names import odd_texts

from yolofast.errors import DataError, MissingExtraError
from yolofast.images import read_image
from yolofast.kernels import parse_yolo_labels
from yolofast.output_names import OutputNames, class_folders, safe_name
from yolofast.result import Result
from yolofast.types import Detections

BOXES = [[10, 20, 110, 90], [150.4, 30.2, 199.5, 99.7], [5, 5, 5, 5], [0, 0, 200, 100]]


def result(path: str = "images/pets.jpg", names: tuple[str, ...] = ("cat", "dog"), **more: object) -> Result:
    """A gray picture of 200 x 100 with three cats and a dog."""
    image = np.full((100, 200, 3), 90, np.uint8)
    image[20:90, 10:110] = (200, 40, 40)
    scores = np.array([0.9, 0.8, 0.55555557, 0.3], np.float32)
    found = Detections(np.array(BOXES, np.float32), scores, np.array([0, 1, 0, 0], np.int64))
    return Result(path, image, found, names, **more)  # type: ignore[arg-type]


EMPTY = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def test_rows_are_chosen_as_in_numpy() -> None:
    found = result()
    assert [len(found[rows]) for rows in (0, -1, slice(1, 3), [0, 3], [])] == [1, 1, 2, 2, 0]
    assert found[found.boxes.conf > 0.5].boxes.cls.tolist() == [0, 1, 0]
    assert found[1].boxes.xyxy.tolist() == pytest.approx(np.float32(BOXES[1:2]))
    assert found.boxes[np.int64(1)].conf.tolist() == pytest.approx([0.8])
    assert len(list(found)) == len(list(found.boxes)) == 4
    assert found[0].path == found.path
    assert found[0].image is found.image
    for wrong in (4, -5, [9], np.ones(3, bool)):
        with pytest.raises(IndexError):
            found[wrong]


def test_a_line_says_what_there_is() -> None:
    assert result().verbose() == "3 cats, 1 dog"
    assert result(names=("bus", "dog")).verbose() == "3 buses, 1 dog"
    assert result()[:0].verbose() == "no detections"
    assert result(names=("a\x1b\n",)).verbose() == "3 a\\x1b\\ns, 1 class 1"


def test_json_is_that_of_detections_json() -> None:
    entry = json.loads(result("a\udcff.jpg").to_json())
    assert list(entry) == ["path", "detections"]
    assert entry["path"] == "a\udcff.jpg"
    assert entry["detections"][1] == {
        "class": 1,
        "name": "dog",
        "score": 0.8,
        "box": [150.4, 30.2, 199.5, 99.7],
    }
    assert entry["detections"][2]["score"] == 0.55556
    frame = result("frame12 of clips/a.mp4", frame=12)
    assert frame.to_dict()["frame"] == 12
    assert frame.source == "clips/a.mp4"


@pytest.mark.parametrize("conf", [False, True])
def test_label_files_are_read_back(tmp_path: Path, conf: bool) -> None:
    found = result()[[0, 1, 3]]
    path = found.to_txt(tmp_path / "new" / "a.txt", conf)
    rows = np.array([line.split() for line in path.read_text().splitlines()], float)
    assert rows.shape == (3, 6 if conf else 5)
    np.testing.assert_allclose(rows[:, 1:5], found.boxes.xywhn, atol=1e-6)
    if conf:
        np.testing.assert_allclose(rows[:, 5], found.boxes.conf, atol=1e-6)
    else:
        assert len(parse_yolo_labels(path.read_bytes()).boxes) == 3
    assert found[:0].to_txt(path).read_text() == ""
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        found.to_txt(tmp_path / "file" / "a.txt")


def test_plots_keep_the_image_and_its_size() -> None:
    found = result()
    before = found.image.copy()
    plain = found.plot(labels=False, line_width=1)
    labelled, without_scores, thick = found.plot(), found.plot(conf=False), found.plot(line_width=6)
    assert all(p.shape == (100, 200, 3) and p.dtype == np.uint8 for p in (plain, labelled))
    changed = [(p != before).any(2).sum() for p in (plain, without_scores, labelled, thick)]
    assert 0 < changed[0] < changed[1] < changed[2] < changed[3]
    assert (found.image == before).all()
    assert (result()[:0].plot() == before).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_saved_pictures_are_enlarged(tmp_path: Path, suffix: str) -> None:
    path = result().save(tmp_path / f"a{suffix}")
    assert read_image(path).shape == (320, 640, 3)
    with pytest.raises(DataError, match=r"expected \.png"):
        result().save(tmp_path / "a.txt")


def test_crops_are_the_pixels_of_their_boxes(tmp_path: Path) -> None:
    found = result()
    crops = found.crop()
    assert [crop.shape[:2] for crop in crops] == [(70, 100), (70, 50), (1, 1), (100, 200)]
    assert (crops[0] == (200, 40, 40)).all()
    paths = found.save_crop(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        *("cat/pets-0.jpg", "dog/pets-1.jpg", "cat/pets-2.jpg", "cat/pets-3.jpg")
    ]
    assert abs(read_image(paths[0]).astype(int) - (200, 40, 40)).max() < 8
    again = result("other/pets.jpg").save_crop(tmp_path)
    assert not {*again} & {*paths}, "two images of one name never overwrite one another"
    assert result("other/pets.jpg").save_crop(tmp_path, "pets") == paths
    frame = result("frame7 of a/b.mp4", frame=7)
    assert frame.save_crop(tmp_path)[0] == tmp_path / "cat" / "b-000007-0.jpg"


def test_class_names_never_leave_the_folder(tmp_path: Path) -> None:
    names = (
        "../../x",
        "/etc",
        "..",
        ".",
        "",
        "a/b",
        "a_b",
        "A_B",
        "a\0b",
        "z" * 300,
        "z" * 301,
        "\ud800",
        ".h",
    )
    names += tuple(odd_texts(random.Random(1), 80))
    count = len(names)
    many = Detections(
        np.tile(np.float32([[1, 1, 9, 9]]), (count, 1)), np.ones(count, np.float32), np.arange(count)
    )
    found = Result("a.jpg", np.zeros((16, 16, 3), np.uint8), many, names)
    paths = found.save_crop(tmp_path / "crops")
    assert len({str(path.parent).casefold() for path in paths}) == count, "a folder for each class"
    assert all(path.resolve().parent.parent == (tmp_path / "crops").resolve() for path in paths)
    assert [p.name for p in tmp_path.iterdir()] == ["crops"]
    assert all(path.is_file() for path in paths)
    assert class_folders(("..", "a/b", "a_b", "A_B")) == ("class 0", "a_b", "a_b-2", "A_B-3")


def test_names_are_given_once() -> None:
    names = OutputNames()
    given = [
        names.claim(name) for name in ("x", "x", "X", "x-2", "x", "\xe9", "e\u0301", "y" * 255, "y" * 255)
    ]
    assert given[:5] == ["x", "x-2", "X-3", "x-2-2", "x-4"]
    assert len(set(given)) == len(given)
    assert max(map(len, given)) <= 239
    assert safe_name("a/b\\c:d\n", "x") == "a_b_c_d_"
    assert safe_name(" .. ", "x") == "x"


def test_supervision_gets_the_same_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match="pip install supervision"):
        result().to_supervision()
    module = types.ModuleType("supervision")
    module.Detections = types.SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "supervision", module)
    found = result().to_supervision()
    assert found.xyxy is result().boxes.xyxy or np.array_equal(found.xyxy, result().boxes.xyxy)
    assert found.class_id.tolist() == [0, 1, 0, 0]
    assert found.data["class_name"].tolist() == ["cat", "dog", "cat", "cat"]
