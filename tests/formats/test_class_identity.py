"""Classes are what their own list calls them: class files, data.yaml files, a data.yaml as the path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.dataset_files import read_all, tree_digest, voc_xml, write_image, write_text, write_yolo

from yolofast.analyze import analyze_dataset, check_data_quality, validate_dataset_input
from yolofast.cli import main
from yolofast.errors import DataError
from yolofast.prepare import convert_dataset, prepare_dataset, prepared_is_up_to_date

ROW = "0 .5 .5 .2 .2\n"
ALL = "".join(f"{i} .5 .5 .2 .{i + 2}\n" for i in range(3))


def labels(root: Path) -> dict[str, list[str]]:
    """Image name -> the class names of its boxes."""
    dataset, images, _ = read_all(root)
    records = {name: item.record for name, item in images.items()}
    return {name: [dataset.names[i] for i in record.classes] for name, record in records.items() if record}


def found(root: Path) -> list[str]:
    return [f.code for f in read_all(root)[0].findings]


# ---------------------------------------------------------------- class files


def test_a_class_file_rules_its_folder(tmp_path: Path) -> None:
    """labelImg writes one per folder, in the order in which classes were used there."""
    write_yolo(tmp_path, {"a/a.jpg": ALL, "b/b.jpg": ALL, "b/deep/c.jpg": ROW + "7 .5 .5 .1 .1\n"})
    write_text(tmp_path / "a/classes.txt", "alfa\nbeta\ngamma\n")
    write_text(tmp_path / "b/classes.txt", "gamma\nalfa\nbeta\n")
    assert labels(tmp_path) == {
        "a.jpg": ["alfa", "beta", "gamma"],
        "b.jpg": ["gamma", "alfa", "beta"],
        "c.jpg": ["gamma"],
    }
    assert found(tmp_path) == ["names-mapped"]
    _, _, items = read_all(tmp_path)
    (bad,) = (f for item in items for f in item.dropped)
    assert (bad.code, bad.line, Path(str(bad.file)).name) == ("box-class", 2, "c.txt")
    assert bad.message == f"class id 7: {tmp_path}/b/classes.txt names 0 to 2"


def test_labels_without_a_list_among_lists_that_differ(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a/a.jpg": ALL, "b/b.jpg": ALL, "c/c.jpg": ALL})
    write_text(tmp_path / "a/classes.txt", "alfa\nbeta\ngamma\n")
    write_text(tmp_path / "b/classes.txt", "gamma\nalfa\nbeta\n")
    with pytest.raises(DataError, match=r"none is in the folder 'c' with labels.*Put its classes\.txt there"):
        read_all(tmp_path)
    write_text(tmp_path / "b/classes.txt", "alfa\nbeta\ngamma\n")
    assert labels(tmp_path)["c.jpg"] == ["alfa", "beta", "gamma"]


def test_a_list_far_from_all_labels_does_not_count(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/a.jpg": ALL})
    write_text(tmp_path / "classes.txt", "alfa\nbeta\ngamma\n")
    write_text(tmp_path / "tool/predefined_classes.txt", "dog\nperson\n")
    assert labels(tmp_path) == {"a.jpg": ["alfa", "beta", "gamma"]}


# ---------------------------------------------------------------- names that repeat


def test_repeated_names_of_a_data_yaml_are_refused(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/a.jpg": ROW}, "train: images\nval: images\nnames: [cat, dog, cat]\n")
    with pytest.raises(DataError, match=r"data\.yaml:3: names: 'cat' is both class 0 and class 2.*Rename"):
        read_all(tmp_path)


def test_names_that_differ_in_case_are_said(tmp_path: Path) -> None:
    for i, name in enumerate(("Car", "car", "CAR", "Car", "tow truck", "tow_truck", "bus")):
        write_image(tmp_path / f"{i}.jpg")
        write_text(tmp_path / f"{i}.xml", voc_xml([(name, 10, 20, 50, 40)]))
    assert [f.message for f in read_all(tmp_path)[0].findings] == [
        "classes 'CAR', 'Car', 'car' differ only in case or separators. If they are one class: yolofast "
        "prepare ... --rename CAR=car Car=car",
        "classes 'tow truck', 'tow_truck' differ only in case or separators. If they are one class: yolofast "
        "prepare ... --rename 'tow_truck=tow truck'",
    ]
    assert analyze_dataset(tmp_path).class_count == 6  # said, not merged


# ---------------------------------------------------------------- several data.yaml


def exports(root: Path, first: str, second: str) -> Path:
    """Two exports side by side: a data.yaml each, with its own images."""
    for folder, names in (("helmets", first), ("vests", second)):
        images = {
            f"{folder}/{split}/images/{folder}{i}.jpg": ROW for split in ("train", "valid") for i in "ab"
        }
        write_yolo(root, images)
        write_text(root / folder / "data.yaml", f"train: ../train/images\nval: ../valid/images\n{names}\n")
    return root


def test_exports_side_by_side_are_merged_by_name(tmp_path: Path) -> None:
    root = exports(tmp_path / "set", "names: [helmet]", "names: [vest, helmet]")
    dataset, _, items = read_all(root)
    assert dataset.names == ("helmet", "vest")
    assert [f.code for f in dataset.findings] == ["yaml-merged"]
    kinds = {(i.record.path.parts[-4], int(c)) for i in items if i.record for c in i.record.classes}
    assert kinds == {("helmets", 0), ("vests", 1)}
    done = prepare_dataset(root)
    assert (done.images, done.dropped) == ({"train": 4, "valid": 4, "test": 0}, ())


def test_exports_whose_classes_have_no_names_are_refused(tmp_path: Path) -> None:
    root = exports(tmp_path, "names: [helmet]", "nc: 2")
    with pytest.raises(DataError, match=r"vests/data\.yaml: has no 'names:'.*Add its names"):
        read_all(root)
    same = exports(tmp_path / "same", "nc: 1", "nc: 1")
    assert read_all(same)[0].names == ("class_0",)


def test_an_export_that_cannot_be_read_is_not_left_out(tmp_path: Path) -> None:
    root = exports(tmp_path, "names: [helmet]", "nc: 3\nnames: [vest]")
    with pytest.raises(DataError, match=r"vests/data\.yaml:3: nc is 3 but names"):
        read_all(root)


def test_a_yaml_of_the_same_images_deeper_down_adds_nothing(tmp_path: Path) -> None:
    root = exports(tmp_path, "names: [helmet]", "names: [helmet]")
    write_text(
        root / "data.yaml",
        "train: [helmets/train/images, vests/train/images]\n"
        "val: [helmets/valid/images, vests/valid/images]\nnames: [hat]\n",
    )
    dataset, images, _ = read_all(root)
    assert (dataset.names, len(images)) == (("hat",), 4)  # four names, each in two folders and splits
    assert found(root) == ["names-conflict", "names-conflict"]


@pytest.mark.parametrize(
    ("other", "taken"),
    [("coco.yaml", "dataset.yaml"), ("VOC.yaml", "dataset.yaml"), ("data.yaml", "data.yaml")],
)
def test_several_yaml_files_of_a_folder(tmp_path: Path, other: str, taken: str) -> None:
    """A copy of a public dataset's file never counts before the dataset's own."""
    write_yolo(tmp_path, {"images/train/a.jpg": ROW, "images/val/b.jpg": ROW})
    text = "train: images/train\nval: images/val\nnames: [{}]\n"
    write_text(tmp_path / "dataset.yaml", text.format("own"))
    write_text(tmp_path / other, text.format("other"))
    dataset, _, _ = read_all(tmp_path)
    assert dataset.names == (("own",) if taken == "dataset.yaml" else ("other",))
    (said,) = (f for f in dataset.findings if f.code == "yaml-several")
    left = other if taken == "dataset.yaml" else "dataset.yaml"
    assert (said.file, said.message) == (
        str(tmp_path / taken),
        f"is used, and not {left}. To use another one, give its path instead of the folder's.",
    )


def test_yaml_files_of_a_trainer_beside_a_dataset(tmp_path: Path) -> None:
    """A clone of a trainer has the yaml files of public datasets, and images of its own."""
    for name in ("coco.yaml", "VOC.yaml", "mine.yaml"):
        text = "path: ../gone\ntrain: images/train2017\nval: images/val2017\nnames: [person]\n"
        write_text(tmp_path / "trainer/data" / name, text)
    write_image(tmp_path / "trainer/data/images/bus.jpg")
    images = {"trainer/datasets/pets/images/a.jpg": ROW, "trainer/datasets/pets/images/b.jpg": ROW}
    write_yolo(tmp_path, images)
    write_text(tmp_path / "trainer/datasets/pets/pets.yaml", "train: images\nval: images\nnames: [own]\n")
    assert read_all(tmp_path)[0].names == ("own",)
    assert "yaml-merged" not in found(tmp_path)


def test_lists_inside_merged_exports_are_no_contradiction(tmp_path: Path) -> None:
    root = exports(tmp_path, "names: [helmet]", "names: [vest, helmet]")
    write_text(root / "vests/classes.txt", "vest\nhelmet\n")
    assert found(root) == ["yaml-merged"]
    write_text(root / "vests/classes.txt", "vest\nboot\n")
    assert found(root) == ["yaml-merged", "names-conflict"]


def test_a_public_yaml_alone_counts(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/a.jpg": ROW})
    write_text(tmp_path / "coco.yaml", "train: images\nval: images\nnames: [person]\n")
    assert read_all(tmp_path)[0].names == ("person",)


# ---------------------------------------------------------------- a data.yaml as the path


@pytest.fixture
def two_yamls(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    write_yolo(root, {"images/train/a.jpg": ROW, "images/val/b.jpg": ROW, "images/extra/c.jpg": ROW})
    write_text(root / "dataset.yaml", "train: images/train\nval: images/val\nnames: [own]\n")
    write_text(root / "mine.yaml", "train: images/extra\nval: images/val\nnames: [mine]\n")
    return root


def test_every_stage_takes_a_data_yaml(two_yamls: Path, tmp_path: Path) -> None:
    before, yaml = tree_digest(two_yamls), two_yamls / "mine.yaml"
    validate_dataset_input(yaml)
    assert analyze_dataset(yaml).class_counts == {"mine": 2}
    assert check_data_quality(yaml).boxes_checked == 2
    done = prepare_dataset(yaml)
    assert (done.root, done.class_names) == (tmp_path / "set_yolo", ("mine",))
    assert [f.code for f in done.dropped] == ["image-unlisted"]
    assert convert_dataset(yaml, to="coco").class_names == ("mine",)
    assert tree_digest(two_yamls) == before


def test_another_yaml_prepares_again(two_yamls: Path) -> None:
    done = prepare_dataset(two_yamls / "mine.yaml")
    assert prepared_is_up_to_date(done.root, two_yamls / "mine.yaml")
    assert not prepared_is_up_to_date(done.root, two_yamls / "dataset.yaml")
    assert not prepared_is_up_to_date(done.root, two_yamls)
    assert not prepared_is_up_to_date(done.root, two_yamls / "gone.yaml")
    text = (two_yamls / "mine.yaml").read_text()
    write_text(two_yamls / "mine.yaml", text.replace("mine", "changed"))
    assert not prepared_is_up_to_date(done.root, two_yamls / "mine.yaml")
    assert prepare_dataset(two_yamls / "dataset.yaml").class_names == ("own",)


def test_a_named_yaml_is_yolo_whatever_else_is_there(two_yamls: Path) -> None:
    write_text(two_yamls / "images/train/a.xml", voc_xml([("x", 1, 1, 9, 9)]))
    with pytest.raises(DataError, match="labels in several formats"):
        prepare_dataset(two_yamls)
    assert prepare_dataset(two_yamls / "dataset.yaml").class_names == ("own",)


def test_a_yaml_away_from_its_images(tmp_path: Path) -> None:
    write_yolo(tmp_path / "data/pets", {"images/train/a.jpg": ROW, "images/val/b.jpg": ROW})
    write_yolo(tmp_path / "data/other", {"images/x.jpg": ROW})
    yaml = write_text(
        tmp_path / "configs/pets.yaml",
        f"train: {tmp_path}/data/pets/images/train\nval: {tmp_path}/data/pets/images/val\nnames: [own]\n",
    )
    below = write_text(
        tmp_path / "data/pets.yaml", "path: pets\ntrain: images/train\nval: images/val\nnc: 1\n"
    )
    for path in (yaml, below):
        info = analyze_dataset(path)
        assert (info.root, info.total_images, info.findings) == (tmp_path / "data/pets", 2, ())
    done = prepare_dataset(yaml)
    assert done.root == tmp_path / "data/pets_yolo"
    assert prepared_is_up_to_date(done.root, yaml)
    write_text(yaml, yaml.read_text().replace("[own]", "[other]"))
    assert not prepared_is_up_to_date(done.root, yaml)


def test_files_that_are_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text(tmp_path / "notes.txt", "x")
    assert main(["analyze", str(tmp_path / "notes.txt")]) == 2
    assert "got a file, expected a dataset folder or a data.yaml" in capsys.readouterr().err
    write_text(tmp_path / "bad.yaml", "names: [a]\n")
    assert main(["prepare", str(tmp_path / "bad.yaml")]) == 2
    assert "bad.yaml: names no images" in capsys.readouterr().err


def test_command_takes_a_data_yaml(two_yamls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", str(two_yamls / "mine.yaml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["class_names"] == ["mine"]
