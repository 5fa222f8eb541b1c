"""CSV labels in TensorFlow's and RetinaNet's columns: all forms are read, every problem has file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from support.dataset_files import codes, read_all, write_image, write_text
from support.property_tests import examples

from yolofast.errors import DataError
from yolofast.formats.dataset import ReadImage

TENSORFLOW = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def messages(items: list[ReadImage]) -> list[str]:
    """All findings as text, with the file's name only."""
    return [
        f"{Path(f.file or '').name}:{f.line}: {f.severity}: {f.message} [{f.code}]"
        for item in items
        for f in item.findings
    ]


def boxes(images: dict[str, ReadImage], name: str) -> list[list[float]]:
    record = images[name].record
    assert record is not None
    return record.boxes.tolist()


@pytest.mark.parametrize(
    "text",
    [
        TENSORFLOW + "a.jpg,100,50,dog,1,2,30,40\nb.jpg,100,50,cat,5,6,7,8\na.jpg,100,50,cat,3,4,9,9\n",
        "\ufeff"
        + TENSORFLOW
        + "a.jpg,100,50,dog,1,2,30,40\nb.jpg,100,50,cat,5,6,7,8\na.jpg,100,50,cat,3,4,9,9",
        TENSORFLOW.replace("\n", "\r\n")
        + "a.jpg,100,50,dog,1,2,30,40\r\nb.jpg,100,50,cat,5,6,7,8\r\na.jpg,100,50,cat,3,4,9,9\r\n",
        "X_Min;Y_Min;X_Max;Y_Max;Label;Image_Path;More\n1;2;30;40;dog;pics/a.jpg;?\n"
        "5;6;7;8;cat;pics\\b.jpg;\n3;4;9;9;cat;pics/a.jpg;\n",
        'image\tclass_name\tx1\ty1\tx2\ty2\n"a.jpg"\t"dog"\t1\t2\t30\t40\nb.jpg\tcat\t5\t6\t7\t8\n'
        "a.jpg\tcat\t3\t4\t9\t9\n",
        "a.jpg,1,2,30,40,dog\nb.jpg,5,6,7,8,cat\n/data/a.jpg,3,4,9,9,cat\n".replace("/data/", ""),
    ],
    ids=[
        "tensorflow",
        "bom-no-last-newline",
        "crlf",
        "semicolon-synonyms-any-order",
        "tab-quotes",
        "retinanet",
    ],
)
def test_forms_of_the_same_labels(tmp_path: Path, text: str) -> None:
    for name in ("a.jpg", "b.jpg"):
        write_image(tmp_path / "pics" / name)
    (tmp_path / "labels.csv").write_bytes(text.encode())
    dataset, images, items = read_all(tmp_path)
    assert (dataset.format, dataset.names, dataset.splits) == ("csv", ("cat", "dog"), ())
    assert boxes(images, "a.jpg") == [[1, 2, 30, 40], [3, 4, 9, 9]]
    assert boxes(images, "b.jpg") == [[5, 6, 7, 8]]
    record = images["a.jpg"].record
    assert record is not None
    assert record.classes.tolist() == [1, 0]
    first = (
        1
        if dataset.evidence[0].startswith("1") and "filename" not in text and "ima" not in text.lower()
        else 2
    )
    assert record.lines.tolist() == [first, first + 2]
    assert messages(items) == []


def test_splits_come_from_file_names_then_folders(tmp_path: Path) -> None:
    for name in ("images/a.jpg", "images/b.jpg"):
        write_image(tmp_path / name)
    write_text(tmp_path / "train_labels.csv", TENSORFLOW + "a.jpg,100,50,cat,1,2,30,40\n")
    write_text(tmp_path / "test_labels.csv", TENSORFLOW + "b.jpg,100,50,cat,1,2,30,40\n")
    dataset, images, _ = read_all(tmp_path)
    assert dataset.splits == ("train", "test")
    assert {n: i.record.split for n, i in images.items() if i.record} == {"a.jpg": "train", "b.jpg": "test"}


def test_splits_of_folders(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_image(tmp_path / split / f"{split}.jpg")
    write_text(tmp_path / "all.csv", "train.jpg,1,2,30,40,cat\nvalid.jpg,1,2,30,40,cat\n")
    dataset, images, _ = read_all(tmp_path)
    assert dataset.splits == ("train", "valid")
    assert images["valid.jpg"].record.split == "valid"  # type: ignore[union-attr]


def test_retinanet_pictures_without_boxes_and_class_file(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write_image(tmp_path / name)
    write_text(tmp_path / "annotations.csv", "a.jpg,,,,,\nb.jpg\nc.jpg,1,2,30,40,dog\nc.jpg,1,2,30,40,cow\n")
    write_text(tmp_path / "classes.csv", "pig,0\ndog,1\n")
    dataset, images, items = read_all(tmp_path)
    assert dataset.names == ("pig", "dog")
    assert "class names and ids from classes.csv" in dataset.evidence
    assert boxes(images, "a.jpg") == boxes(images, "b.jpg") == []
    assert images["c.jpg"].record.classes.tolist() == [1]  # type: ignore[union-attr]
    assert messages(items) == ["annotations.csv:4: error: class 'cow': not in classes.csv [box-class]"]


def test_class_files_that_disagree(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_text(tmp_path / "annotations.csv", "a.jpg,1,2,30,40,dog\n")
    write_text(tmp_path / "a/classes.csv", "dog,0\n")
    write_text(tmp_path / "b/classes.csv", "dog,0\ncat,1\n")
    dataset, _, _ = read_all(tmp_path)
    assert dataset.names == ("dog",)
    assert [str(f).removeprefix(f"{tmp_path}/") for f in dataset.findings] == [
        "b/classes.csv: error: has other classes than a/classes.csv, which counts. Keep one of the two. "
        "[names-conflict]"
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.jpg,100,50,cat,1,2,30", "labels.csv:2: error: got 7 fields, expected 8 [box-columns]"),
        (
            "a.jpg,100,50,cat,1,two,30,40",
            "labels.csv:2: error: box ['1', 'two', '30', '40']: expected four numbers xmin, ymin, xmax, ymax "
            "[box-columns]",
        ),
        ("a.jpg,100,50,,1,2,30,40", "labels.csv:2: error: a row without a class name [box-class]"),
        (
            "a.jpg,100,50,cat,1,nan,30,40",
            "labels.csv:2: error: box (1, nan, 30, 40): got NaN or infinity, expected numbers [box-nan]",
        ),
        (
            "a.jpg,100,50,cat,1,2,130,40",
            "labels.csv:2: error: box (1, 2, 130, 40): reaches 30 px in x and 0 px in y beyond the "
            "100x50 image, "
            "more than 1 % [box-outside]",
        ),
        (
            "a.jpg,640,480,cat,1,2,30,40",
            "labels.csv:2: warning: image 'a.jpg': stated as 640x480, but it is 100x50; the image counts "
            "[size-mismatch]",
        ),
    ],
)
def test_faults_of_a_row(tmp_path: Path, row: str, message: str) -> None:
    write_image(tmp_path / "a.jpg")
    write_text(tmp_path / "labels.csv", f"{TENSORFLOW}{row}\na.jpg,100,50,cat,0,0,9,9\n")
    _, images, items = read_all(tmp_path)
    assert [0, 0, 9, 9] in boxes(images, "a.jpg")
    assert messages(items) == [message]


def test_missing_repeated_and_unlabelled_images_are_listed(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_image(tmp_path / "bare.jpg")
    write_text(
        tmp_path / "train.csv", TENSORFLOW + "a.jpg,100,50,cat,1,2,30,40\n../../b.jpg,1,1,cat,1,2,3,4\n"
    )
    write_text(tmp_path / "val.csv", TENSORFLOW + "\na.jpg,100,50,cat,1,2,30,40\n,100,50,cat,1,2,3,4\n")
    _, images, items = read_all(tmp_path)
    assert boxes(images, "a.jpg") == [[1, 2, 30, 40]]
    assert messages(items) == [
        "train.csv:3: error: image '../../b.jpg': no such image, or several, below the dataset's folder "
        "[image-missing]",
        "train.csv:3: error: its image '../../b.jpg' is missing [box-no-image]",
        "val.csv:3: warning: image 'a.jpg' is also in train.csv: it stays there [split-overlap]",
        "val.csv:3: error: its image 'a.jpg' is also in train.csv: it stays there [box-no-image]",
        "val.csv:4: error: rows that name no image [image-missing]",
        "val.csv:4: error: its image '' is missing [box-no-image]",
        "bare.jpg:None: warning: no row of a CSV names this image (a picture without boxes is a row with the "
        "path alone) [image-unlabelled]",
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('a.jpg,100,50,"cat,1,2,30,40\n', r"labels\.csv:3: not valid CSV: unexpected end of data\."),
        (
            'a.jpg,100,50,"ca\nt",1,2,30,40\n',
            r"labels\.csv:3: a quoted field runs over several lines\. Close",
        ),
        ('a.jpg,100,50,"cat"s,1,2,30,40\n', r"labels\.csv:3: not valid CSV: ',' expected after '\"'\."),
        ("x" * 200_000 + "\n", r"labels\.csv:3: not valid CSV: field larger than field limit \(131072\)"),
        ("x," * 600_000 + "\n", r"labels\.csv:3: not valid CSV: a line of more than 1048576 characters\."),
    ],
    ids=["open-quote", "quote-over-lines", "text-behind-quote", "huge-field", "huge-line"],
)
def test_files_that_cannot_be_read(tmp_path: Path, rows: str, message: str) -> None:
    write_image(tmp_path / "a.jpg")
    write_text(tmp_path / "labels.csv", f"{TENSORFLOW}a.jpg,100,50,cat,1,2,30,40\n{rows}")
    with pytest.raises(DataError, match=message):
        read_all(tmp_path)


def test_no_class_at_all(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_text(tmp_path / "labels.csv", f"{TENSORFLOW}a.jpg,100,50,cat,1,2,30\n")
    with pytest.raises(
        DataError, match=r"1 CSV file\(s\) contain no box with a class\. The first problem: .*labels\.csv:2:"
    ):
        read_all(tmp_path)


def test_shares_of_the_sides(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_text(
        tmp_path / "labels.csv", "image,label,xmin,ymin,xmax,ymax\na.jpg,3,.1,.2,.5,1\na.jpg,20,0,0,1,1\n"
    )
    dataset, images, _ = read_all(tmp_path)
    assert dataset.names == ("3", "20")
    assert boxes(images, "a.jpg") == [[10, 10, 50, 50], [0, 0, 100, 50]]
    assert "coordinates of labels.csv are normalised" in dataset.evidence


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    raw = Path(str(tmp_path) + "/b\udcff.jpg")
    raw.write_bytes(write_image(tmp_path / "ä.jpg").read_bytes())
    (tmp_path / "labels.csv").write_bytes(b"b\xff.jpg,1,2,3,4,cat\n" + "ä.jpg,1,2,3,4,chät\n".encode())
    dataset, images, _ = read_all(tmp_path)
    assert dataset.names == ("cat", "chät")
    assert set(images) == {"b\udcff.jpg", "ä.jpg"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "epoch,loss,map50\n1,0.5,0.1\n",
        "a,b,c,d,e,f\n",
        "filename,label\na.jpg,cat\n",
        '"',
        "a.jpg,1,2,3,4,\n",
    ],
)
def test_other_tables_are_no_labels(tmp_path: Path, text: str) -> None:
    write_image(tmp_path / "a.jpg")
    write_text(tmp_path / "results.csv", text)
    with pytest.raises(DataError, match=r"got labels of an unknown format \(for example results\.csv\)"):
        read_all(tmp_path)


fields = st.one_of(
    st.sampled_from(["a.jpg", "b.jpg", "gone.jpg", "", "cat", "dog"]),
    st.floats(-5, 120).map(repr),
    st.text(st.characters(codec="utf-8", exclude_characters='"\r\n'), max_size=4),
)


@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(fields, max_size=9), max_size=8))
def test_every_row_is_kept_or_listed(tmp_path: Path, rows: list[list[str]]) -> None:
    write_image(tmp_path / "a.jpg")
    write_image(tmp_path / "b.jpg")
    good = "a.jpg,100,50,cat,1,2,30,40\n"
    write_text(tmp_path / "labels.csv", TENSORFLOW + good + "\n".join(map(",".join, rows)))
    _, _, items = read_all(tmp_path)  # counts the rows of each image
    texts = [[field.strip() for field in ",".join(row).split(",")] for row in rows]
    bare = sum(bool(t[0]) and not any(t[3:8]) for t in texts)
    assert sum(item.rows for item in items) == 1 + sum(any(t) for t in texts) - bare


def test_rows_of_one_image_in_prepare_keep_their_order(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_image(tmp_path / "b.jpg")
    rows = [f"{'ab'[i % 2]}.jpg,{i},{i},{i + 1},{i + 2},c" for i in range(40)]
    write_text(tmp_path / "labels.csv", "\n".join(rows))
    _, images, items = read_all(tmp_path)
    assert images["b.jpg"].record.lines.tolist() == list(range(2, 41, 2))  # type: ignore[union-attr]
    assert codes(items) == []
