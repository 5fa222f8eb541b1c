"""data.yaml: what Ultralytics accepts is accepted, and everything wrong is named with its line."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest
from support.dataset_files import write_image, write_text, write_yolo

from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.formats.data_yaml import label_candidates, list_image_names, list_images, read_data_yaml
from yolofast.formats.yolo.writer import write_data_yaml
from yolofast.types import Finding

FOLDERS = {"train/images/a.jpg": "", "valid/images/b.jpg": ""}


@pytest.mark.parametrize(
    "text",
    [
        "train: train/images\nval: valid/images\nnames: [cat, dog]\n",
        "path: .\ntrain: train/images\nval: valid/images\nnc: 2\nnames: {0: cat, 1: dog}\n",
        "path:\ntrain: [train/images]\nvalid: ./valid/images\nnames: {1: dog, 0: cat}\n",
        "path: /nowhere/on/this/machine\ntrain: train/images\nval: valid/images\nnames: [cat, dog]\n",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n",
        "\ufefftrain: train\r\nval: valid\r\nnames:\r\n- cat\r\n- dog\r\n",
    ],
    ids=["plain", "nc+dict", "lists+valid", "moved", "roboflow", "bom+crlf"],
)
def test_reads_common_forms(tmp_path: Path, text: str) -> None:
    root = write_yolo(tmp_path / "data", FOLDERS, text)
    data = read_data_yaml(root / "data.yaml")
    assert data.names == ("cat", "dog")
    assert list_images(data, "train") == (root / "train/images/a.jpg",)
    assert list_images(data, "valid") == (root / "valid/images/b.jpg",)
    assert pickle.loads(pickle.dumps(data)) == data  # loaders send it to worker processes


def test_absolute_path_key_and_a_working_directory_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_yolo(tmp_path / "images here", {"a/images/x.jpg": ""})
    yaml = write_text(tmp_path / "conf" / "d.yaml", f"path: '{root}'\ntrain: a\nval: a/images\nnames: [c]\n")
    monkeypatch.chdir(yaml.parent)
    data = read_data_yaml("d.yaml")
    assert data.root == root
    assert list_images(data, "train") == (root / "a/images/x.jpg",)


def test_class_names_stay_the_text_in_the_file(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, FOLDERS, "train: train\nval: valid\nnames: [no, 1e3, null, 'a: b', 007]\n")
    assert read_data_yaml(root / "data.yaml").names == ("no", "1e3", "", "a: b", "007")


def test_nc_alone_numbers_the_classes(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, FOLDERS, "train: train\nval: valid\nnc: 2\n")
    assert read_data_yaml(root / "data.yaml").names == ("class_0", "class_1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: train\nval: valid\n", "data.yaml: no 'names'"),
        ("train: train\nval: valid\nnc: 3\nnames: [a, b]\n", "data.yaml:3: nc is 3 but names (line 4) has 2"),
        ("train: train\nval: valid\nnc: two\nnames: [a, b]\n", "data.yaml:3: nc: got 'two'"),
        ("train: train\nval: valid\nnc: -3\n", "data.yaml:3: nc: got -3, expected 1 to 50000"),
        ("train: train\nval: valid\nnc: 2000000000\n", "data.yaml:3: nc: got 2000000000, expected 1 to"),
        ("train: train\nval: valid\nnames: {0: a, 2: b}\n", "data.yaml:3: names: got class ids [0, 2]"),
        ("train: train\nval: valid\nnames: {0: a, x: b}\n", "a class id: got 'x'"),
        ("train: train\nval: valid\nnames: []\n", "data.yaml:3: names: got no class"),
        ("train: train\nval: valid\nnames: cat\n", "data.yaml:3: names: got 'cat'"),
        ("train: missing\nval: valid\nnames: [a]\n", "data.yaml:1: train: no such folder"),
        ("names: [a]\n", "names no images"),
        ("train: [\n", "data.yaml:2: not valid YAML"),
        ("just text\n", "not a data.yaml"),
        ("train: !!python/object/apply:os.system ['echo']\nval: valid\nnames: [a]\n", "no such folder"),
        ("[" * 3000, "data.yaml"),
    ],
)
def test_names_what_is_wrong(tmp_path: Path, text: str, expected: str) -> None:
    root = write_yolo(tmp_path, FOLDERS, text)
    with pytest.raises(DataError, match=r".") as caught:
        read_data_yaml(root / "data.yaml")
    assert expected in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no such file"):
        read_data_yaml(tmp_path / "data.yaml")


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got a folder, expected a data\.yaml\. Give the one in it"):
        read_data_yaml(tmp_path)


def test_missing_split_says_which_there_are(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, FOLDERS, "train: train\nval: valid\ntest: test\nnames: [a]\n")
    with pytest.raises(DataError, match="no 'test:' split; it has: train, valid"):
        list_images(read_data_yaml(root / "data.yaml"), "test")


def test_image_lists(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, FOLDERS, "train: lists/train.txt\nval: lists/val.txt\nnames: [a]\n")
    write_text(root / "lists/train.txt", "../train/images/a.jpg\n\n../train/images/gone.jpg\r\n")
    write_text(root / "lists/val.txt", f"./valid/images/b.jpg\n{root}/valid/images/b.jpg\n")
    data = read_data_yaml(root / "data.yaml")
    assert [p.name for p in list_images(data, "train")] == ["a.jpg", "gone.jpg"]
    assert list_images(data, "valid") == (root / "valid/images/b.jpg",)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
        ("/d/train/images/a.b.JPG", "/d/train/labels/a.b.txt"),
        ("/images/x/images/a.jpg", "/images/x/labels/a.txt"),
        ("/d/flat/images.jpg", "/d/flat/images.txt"),
        ("/d/Images/a.JPG", "/d/labels/a.txt"),
        ("/d/my_images/a.jpg", "/d/my_images/a.txt"),
    ],
)
def test_label_path(image: str, label: str) -> None:
    assert next(label_candidates(image)) == label


def test_written_file_is_read_back_also_after_a_move(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "old", FOLDERS)
    write_data_yaml(
        root / "data.yaml", {"valid": "valid/images", "train": "train/images"}, ["naïve: cat", "no"]
    )
    moved = root.rename(tmp_path / "new place")
    data = read_data_yaml(moved / "data.yaml")
    assert data.names == ("naïve: cat", "no")
    assert data.splits == {"train": (moved / "train/images",), "valid": (moved / "valid/images",)}
    assert sorted(p.name for p in moved.iterdir()) == ["data.yaml", "train", "valid"]


def test_symlinked_folders_and_loops(tmp_path: Path) -> None:
    real = write_image(tmp_path / "store" / "a.jpg").parent
    root = tmp_path / "data"
    (root / "train").mkdir(parents=True)
    (root / "train" / "images").symlink_to(real)
    (real / "loop").symlink_to(root)
    (root / "self").symlink_to("self")
    write_text(root / "data.yaml", "train: train\nval: train\nnames: [a]\n")
    assert list_images(read_data_yaml(root / "data.yaml"), "train") == (root / "train/images/a.jpg",)


@pytest.mark.parametrize("key", ["val", "valid", "validation", "Val", "VALIDATION"])
def test_every_word_for_validation_is_read(tmp_path: Path, key: str) -> None:
    root = write_yolo(tmp_path, FOLDERS, f"train: train\n{key}: valid\nnames: [a]\n")
    assert list_images(read_data_yaml(root / "data.yaml"), "valid") == (root / "valid/images/b.jpg",)


@pytest.mark.parametrize("key", ["vla", "eval", "val_images", "validation_set", "vaildation"])
def test_a_key_that_means_validation_is_refused(tmp_path: Path, key: str) -> None:
    root = write_yolo(tmp_path, FOLDERS, f"train: train\n{key}: valid\nnames: [a]\n")
    with pytest.raises(DataError, match=rf"data.yaml:2: got the key '{key}', .* Did you mean 'val'"):
        read_data_yaml(root / "data.yaml")


@pytest.mark.parametrize("line", ["val_split: 0.2", "val_interval: 5", "task: detect", "licence: train"])
def test_keys_of_other_tools_are_left_alone(tmp_path: Path, line: str) -> None:
    root = write_yolo(tmp_path, FOLDERS, f"train: train\n{line}\nnames: [a]\n")
    assert list(read_data_yaml(root / "data.yaml").splits) == ["train"]


def test_misspelt_names(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, FOLDERS, "train: train\nval: valid\nname: [a]\n")
    with pytest.raises(DataError, match=r"no 'names'.*Did you mean 'names' by 'name'"):
        read_data_yaml(root / "data.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "path: c:\\Dev\\sets\\pets\ntrain: .\\train\\images\\\nval: valid\\images\n",
        "train: c:\\Dev\\sets\\pets\\train\\images\nval: c:\\Dev\\sets\\pets\\valid\\images\n",
        "path: ..\\data\ntrain: train\\images\nval: valid\\images\n",
        "train: /home/me/pets/train/images\nval: /home/me/pets/valid/images\n",
        "train: data/train/images\nval: ./data/valid/images\n",
        "train: Train/Images\nval: VALID/images\n",
    ],
    ids=["backslashes", "drive", "path", "another machine", "working directory", "case"],
)
def test_folders_as_other_systems_write_them(tmp_path: Path, text: str) -> None:
    root = write_yolo(tmp_path / "data", FOLDERS, text + "names: [a]\n")
    data = read_data_yaml(root / "data.yaml")
    assert list_images(data, "train") == (root / "train/images/a.jpg",)
    assert list_images(data, "valid") == (root / "valid/images/b.jpg",)


@pytest.mark.parametrize(
    "entry", ["valid/images", "../valid/images", "/home/me/valid/images", "c:\\s\\valid"]
)
def test_a_missing_split_is_never_another_folder(tmp_path: Path, entry: str) -> None:
    images = {"images/a.jpg": "", "train/images/a.jpg": ""}
    root = write_yolo(tmp_path, images, f"train: train\nval: '{entry}'\nnames: [a]\n")
    with pytest.raises(DataError, match=r"data\.yaml:2: val: no such folder"):
        read_data_yaml(root / "data.yaml")


@pytest.mark.parametrize(
    "line", ["data/{}", "C:\\work\\set\\{}", "/home/me/set/{}", "train/IMAGES/A.jpg", "train\\images\\a.jpg"]
)
def test_listed_images_as_other_systems_write_them(tmp_path: Path, line: str) -> None:
    root = write_yolo(tmp_path, FOLDERS, "train: lists/train.txt\nval: valid\nnames: [a]\n")
    write_text(root / "lists/train.txt", line.format("train/images/a.jpg") + "\n")
    notes: list[Finding] = []
    names = list_image_names(read_data_yaml(root / "data.yaml"), "train", notes)
    assert names == [str(root / "train/images/a.jpg")]
    assert [n.code for n in notes] == ([] if line.startswith("train\\") else ["names-matched"])


def test_a_missing_listed_image_is_not_that_of_another_split(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, FOLDERS, "train: train\nval: val.txt\nnames: [a]\n")
    write_image(root / "a.jpg")
    write_text(root / "val.txt", "valid/images/a.jpg\n")
    found = list_images(read_data_yaml(root / "data.yaml"), "valid")
    assert found == (root / "valid/images/a.jpg",)
    assert not found[0].exists()


@pytest.mark.parametrize("text", ["train: {0}\n", "path: {0}\ntrain: {0}\n", "path: 'a\\{0}'\ntrain: b\n"])
def test_a_path_that_is_too_long_is_a_missing_folder(tmp_path: Path, text: str) -> None:
    yaml = write_text(tmp_path / "data.yaml", text.format("a" * 300) + "names: [cat]\n")
    with pytest.raises(DataError, match=r"data\.yaml:\d+: train: no such folder '.*Correct 'train:'"):
        read_data_yaml(yaml)


@pytest.mark.parametrize(
    "line", ["x/" * 2000 + "a.jpg", "?" * 500_000 + "a.jpg", "/x" * 2000 + "/train/images/a.jpg"]
)
def test_a_listed_path_without_end_costs_no_time(tmp_path: Path, line: str) -> None:
    root = write_yolo(tmp_path, FOLDERS, "train: list.txt\nval: valid\nnames: [cat]\n")
    write_text(root / "list.txt", f"train/images/a.jpg\n{line}\n")
    begun = time.process_time()
    try:
        listed = list_image_names(read_data_yaml(root / "data.yaml"), "train")
    except DataError as error:
        listed = [str(error)]
    assert time.process_time() - begun < 1
    assert len(listed) in (1, 2)
