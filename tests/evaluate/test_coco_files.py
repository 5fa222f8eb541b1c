"""COCO JSON files: what is read is what json reads, and what is wrong is said with its place."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.property_tests import examples

from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.evaluate import evaluate_coco
from yolofast.kernels import _annotations

TRUTH: dict[str, Any] = {
    "info": {"year": 2017, "note": 'a "quoted" [word] {here} \\'},
    "images": [{"file_name": "a.jpg", "id": 7, "license": None}, {"id": 8}],
    "categories": [{"id": 3, "name": "chat ♞ \U0001f408", "supercategory": "x"}, {"id": 1, "name": "dog"}],
    "annotations": [
        {
            "segmentation": [[1.5, 2, 3e1], []],
            "area": 90.5,
            "iscrowd": 0,
            "image_id": 7,
            "bbox": [1, 2.5, 10, 12],
            "category_id": 3,
            "id": 1,
        },
        {"id": 2, "image_id": 8, "category_id": 1, "bbox": [0, 0, 5, 5], "iscrowd": True, "area": None},
    ],
}
RESULTS: list[dict[str, Any]] = [
    {"image_id": 7, "category_id": 3, "bbox": [1, 2.5, 10, 12], "score": 0.75},
    {"score": 1, "bbox": [0.0, 0, 4, 4], "category_id": 1, "image_id": 8, "extra": [{"x": "}, {"}]},
]


def buffer(text: str | bytes) -> np.ndarray:
    return np.frombuffer(text if isinstance(text, bytes) else text.encode(), np.uint8)


def read_results(text: str | bytes) -> tuple[Any, ...]:
    data = buffer(text)
    return _annotations.read_results(data, 0, len(data))


@pytest.mark.parametrize("indent", [None, 0, 4])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_ground_truth_columns(indent: int | None, ascii_only: bool) -> None:
    truth = _annotations.read_ground_truth(buffer(json.dumps(TRUTH, indent=indent, ensure_ascii=ascii_only)))
    assert truth["images"].tolist() == [7, 8]
    assert truth["categories"].tolist() == [3, 1]
    assert truth["names"] == ["chat ♞ \U0001f408", "dog"]
    assert truth["image_ids"].tolist() == [7, 8]
    assert truth["category_ids"].tolist() == [3, 1]
    assert truth["boxes"].tolist() == [[1, 2.5, 10, 12], [0, 0, 5, 5]]
    assert truth["crowd"].tolist() == [False, True]
    assert truth["areas"].tolist() == [90.5, 25.0]


@pytest.mark.parametrize("indent", [None, 1])
def test_result_columns(indent: int | None) -> None:
    images, categories, boxes, scores, reached = read_results(json.dumps(RESULTS, indent=indent))
    assert images.tolist() == [7, 8]
    assert categories.tolist() == [3, 1]
    assert boxes.tolist() == [[1, 2.5, 10, 12], [0, 0, 4, 4]]
    assert scores.tolist() == [0.75, 1.0]
    assert reached == len(json.dumps(RESULTS, indent=indent))


def number(text: str) -> float:
    entry = f'[{{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": {text}}}]'
    return float(read_results(entry)[3][0])


numbers = st.one_of(
    st.floats().map(repr),
    st.integers(-(10**25), 10**25).map(str),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z"),
    st.decimals(allow_nan=False, allow_infinity=False, places=5).map(str),
)


@examples(2000)
@given(numbers)
def test_numbers_are_those_of_json(text: str) -> None:
    text = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)
    assert struct.pack("d", number(text)) == struct.pack("d", float(json.loads(text, parse_int=float))) or (
        math.isnan(number(text)) and math.isnan(json.loads(text, parse_int=float))
    )


HUGE = ["1e400", "-1e400", "1e-400", "-1e-400", "0e999999999999", "9" * 400, "0." + "0" * 400 + "1"]
HUGE += ["0." + "0" * 100_500 + "5e100400", "0." + "0" * 100_500 + "5e100503"]
WRONG = ["01", "-01", "1.", ".5", "+1", "1e", "1e+", "--1", "-", "nan", "0x1", "1_0", ""]


@pytest.mark.parametrize("text", HUGE)
def test_numbers_too_large_or_small_for_float64(text: str) -> None:
    assert number(text) == float(json.loads(text, parse_int=float))


@pytest.mark.parametrize("text", WRONG)
def test_numbers_that_json_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1, column \d+: expected"):
        number(text)


@examples(300)
@given(st.text(max_size=20), st.booleans())
def test_texts_are_those_of_json(name: str, ascii_only: bool) -> None:
    name = name.encode("utf-8", "replace").decode()
    entry = [{"image_id": name, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1, name + "?": name}]
    assert read_results(json.dumps(entry, ensure_ascii=ascii_only))[0].tolist() == [name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1, column 1: expected '\[', a list of results"),
        ("{}", r"line 1, column 1: expected '\[', a list of results"),
        ("[", r"line 1, column 2: expected '\{', a result"),
        ("[1]", r"line 1, column 2: expected '\{', a result"),
        ("[\n{},\n]", r'line 2, column 3: expected "image_id" in the object that ends here'),
        ('[{"image_id": 1.5}]', r"line 1, column 15: expected a whole number of up to 64 bits"),
        ('[{"image_id": 9223372036854775808}]', "a whole number of up to 64 bits"),
        ('[{"image_id": null}]', "expected a number"),
        ('[{"bbox": [1, 2, 3]}]', r"expected ','"),
        ('[{"bbox": [1, 2, 3, 4, 5]}]', "the end of a box of four numbers"),
        ('[{"bbox": [1, 2, "3", 4]}]', "expected a number"),
        ('[{"score": 1 2}]', "expected ','"),
        ('[{"x": [1, {]}]', "expected a value"),
        ('[{"x": }]', "expected a value"),
        ('[{"x": "abc', "the end of a string"),
        ('[{"x": "abc\\', "the end of a string"),
        ('[{"\\u12', "four hexadecimal digits"),
        ('[{"\\q": 1}]', "an escape that JSON knows"),
        ("[] []", "the end of the file"),
        ('[{"image_id": 01}]', "a number without leading zeros"),
        ('[{"image_id": -01}]', "a number without leading zeros"),
        ('[{"x":' + "[" * 5000, "at most 1000 nested brackets"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "gt.json").write_text(json.dumps(TRUTH))
    (tmp_path / "dt.json").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        evaluate_coco(tmp_path / "gt.json", tmp_path / "dt.json")
    assert str(tmp_path / "dt.json") in str(error.value)


@pytest.mark.parametrize("key", ["image_id", "category_id", "bbox", "score"])
def test_a_result_without_a_key(key: str) -> None:
    entry = {k: v for k, v in RESULTS[0].items() if k != key}
    with pytest.raises(DataError, match=f'expected "{key}"'):
        evaluate_coco(TRUTH, [RESULTS[1], entry])


@pytest.mark.parametrize("key", ["images", "categories", "annotations"])
def test_ground_truth_without_a_list(key: str) -> None:
    with pytest.raises(DataError, match=f'the ground truth: .*expected "{key}"'):
        evaluate_coco({k: v for k, v in TRUTH.items() if k != key}, RESULTS)
    with pytest.raises(DataError, match=r"expected '\['"):
        evaluate_coco({**TRUTH, key: {"id": 1}}, RESULTS)


@pytest.mark.parametrize("text", [json.dumps(TRUTH), json.dumps(RESULTS)])
def test_every_cut_and_every_changed_byte_is_an_error_or_a_result(text: str) -> None:
    data = text.encode()
    truth = text.startswith("{")

    def read(changed: bytes) -> object:
        return _annotations.read_ground_truth(buffer(changed)) if truth else read_results(changed)

    read(data)
    for cut in range(len(data)):
        with pytest.raises(ValueError, match=r"line 1, column \d+: expected"):
            read(data[:cut])
    rng = np.random.default_rng(0)
    for at in range(len(data)):
        for value in rng.integers(0, 256, 4).tolist():
            with contextlib.suppress(ValueError):
                read(data[:at] + bytes([value]) + data[at + 1 :])


def test_results_of_images_that_are_not_there() -> None:
    with pytest.raises(DataError, match="image_id 9, which the ground truth does not have"):
        evaluate_coco(TRUTH, [*RESULTS, {**RESULTS[0], "image_id": 9}])
    with pytest.raises(DataError, match="a whole number as id, as before"):
        evaluate_coco(TRUTH, [*RESULTS, {**RESULTS[0], "image_id": "7"}])


def test_texts_against_numbers_as_ids(tmp_path: Path) -> None:
    results = [{**RESULTS[0], "image_id": "7"}]
    message = (
        "image_id is '7', and the ground truth has ids such as 7: texts in the one, numbers in the other"
    )
    with pytest.raises(DataError, match=f"{message}. Write both as numbers"):
        evaluate_coco(TRUTH, results)
    (tmp_path / "gt.json").write_text(json.dumps({**TRUTH, "images": [{"id": "a"}]}))
    with pytest.raises(
        DataError, match=r"results: image_id is 7, and .*gt.json has ids such as 'a'.*as texts"
    ):
        evaluate_coco(tmp_path / "gt.json", RESULTS)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (TRUTH, "the results: got a dict with the keys info, images, .*expected a list of dicts"),
        ([RESULTS[0], 3], "the results: entry 1 is a int; expected a dict with image_id"),
        ([RESULTS[0], {**RESULTS[1], "score": "high"}], "the results: entry 1: expected a number"),
        ([*RESULTS, {"image_id": 7}], 'the results: entry 2: expected "category_id" in the object'),
        (
            [{"image_id": 7, "category_id": 1, "segmentation": {"counts": "x"}, "score": 1}],
            'entry 0: expected "bbox" .*it has "segmentation", but only boxes are evaluated',
        ),
        (
            [{"image_id": 7, "category_id": 1, "keypoints": [1, 2, 3], "score": 1}],
            'entry 0: expected "bbox" .*it has "keypoints", but only boxes are evaluated',
        ),
    ],
)
def test_results_that_are_something_else(results: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate_coco(TRUTH, results)


def test_files_that_were_mixed_up(tmp_path: Path) -> None:
    (tmp_path / "gt.json").write_text(json.dumps(TRUTH))
    (tmp_path / "dt.json").write_text(json.dumps(RESULTS))
    with pytest.raises(DataError, match="a list of results, not an object such as the ground truth"):
        evaluate_coco(tmp_path / "gt.json", tmp_path / "gt.json")
    with pytest.raises(DataError, match="an object with images, categories and annotations, not a list"):
        evaluate_coco(tmp_path / "dt.json", tmp_path / "dt.json")
    with pytest.raises(DataError, match="the ground truth: got a list; expected a dict with images"):
        evaluate_coco(RESULTS, RESULTS)  # type: ignore[arg-type]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="file not found; expected COCO ground truth"):
        evaluate_coco(tmp_path / "gt.json", RESULTS)
    with pytest.raises(DatasetNotFoundError, match="file not found; expected COCO results"):
        evaluate_coco(TRUTH, tmp_path / "dt.json")
    with pytest.raises(DataError, match="cannot be read"):
        evaluate_coco(TRUTH, tmp_path)


def test_nan_scores_and_no_categories() -> None:
    with pytest.raises(DataError, match="the results: the score of entry 1 is NaN"):
        evaluate_coco(TRUTH, [RESULTS[1], {**RESULTS[0], "score": math.nan}])
    with pytest.raises(DataError, match="it has no categories"):
        evaluate_coco({**TRUTH, "categories": []}, RESULTS)


def test_texts_as_image_ids() -> None:
    """The predictions that yolofast saves are named by file."""
    named = {**TRUTH, "images": [{"id": "7"}, {"id": "8"}]}
    named["annotations"] = [{**a, "image_id": str(a["image_id"])} for a in TRUTH["annotations"]]
    results = [{**r, "image_id": str(r["image_id"])} for r in RESULTS]
    np.testing.assert_array_equal(evaluate_coco(named, results).stats, evaluate_coco(TRUTH, RESULTS).stats)


@pytest.mark.parametrize(("low", "high"), [(-5, 40), (2**40, 2**40 + 9), (-(2**62), 2**62)])
def test_ids_of_any_size(low: int, high: int) -> None:
    ids = {7: low, 8: high}
    truth = {**TRUTH, "images": [{"id": i} for i in ids.values()]}
    truth["annotations"] = [{**a, "image_id": ids[a["image_id"]]} for a in TRUTH["annotations"]]
    results = [{**r, "image_id": ids[r["image_id"]]} for r in RESULTS]
    np.testing.assert_array_equal(evaluate_coco(truth, results).stats, evaluate_coco(TRUTH, RESULTS).stats)
    for unknown in (low - 1, low + 1, high + 1):
        with pytest.raises(DataError, match="does not have"):
            evaluate_coco(truth, [{**results[0], "image_id": unknown}])


def test_annotations_that_count_as_never_found(caplog: pytest.LogCaptureFixture) -> None:
    truth = {**TRUTH, "annotations": [{**TRUTH["annotations"][0], "id": 0}]}
    with caplog.at_level(logging.WARNING):
        metrics = evaluate_coco(truth, RESULTS)
    assert "id 0" in caplog.text
    assert metrics.map50 == 0
    assert evaluate_coco({**truth, "annotations": [TRUTH["annotations"][0]]}, RESULTS).map50 == pytest.approx(
        1
    )


def test_a_mistake_far_into_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts are read at the same time; the line is still that of the file."""
    monkeypatch.setattr("yolofast.evaluate.coco_files._PART_BYTES", 2000)
    lines = [json.dumps(RESULTS[i % 2]) + "," for i in range(400)]
    lines[299] = lines[299].replace('"score"', '"scone"')
    (tmp_path / "dt.json").write_text("[\n" + "\n".join(lines)[:-1] + "\n]")
    with pytest.raises(DataError, match=r'dt\.json: line 301, column \d+: expected "score"'):
        evaluate_coco(TRUTH, tmp_path / "dt.json", threads=2)


def test_an_annotation_needs_an_id() -> None:
    """pycocotools looks annotations up by id; without one two of them would be the same."""
    truth = {**TRUTH, "annotations": [{k: v for k, v in TRUTH["annotations"][0].items() if k != "id"}]}
    with pytest.raises(DataError, match='expected "id"'):
        evaluate_coco(truth, RESULTS)


def test_of_equal_keys_the_last_counts() -> None:
    """As for json.load."""
    truth, results = json.dumps(TRUTH), json.dumps(RESULTS)
    twice = truth.replace('{"info"', '{"annotations": [], "images": [{"id": "x"}], "categories": [], "info"')
    twice = twice.replace('"image_id": 7', '"image_id": "y", "image_id": 8, "image_id": 7')
    twice = twice.replace('"id": 8}', '"id": 8, "neg_category_ids": [1, 2], "neg_category_ids": [3]}')
    found = _annotations.read_ground_truth(buffer(twice))
    assert [found["negative"].categories.tolist(), found["negative"].ends.tolist()] == [[3], [0, 1]]
    assert (found["negative"].given, found["not_exhaustive"].given) == (1, 0)
    for name, column in _annotations.read_ground_truth(buffer(truth)).items():
        if name not in ("negative", "not_exhaustive"):
            assert np.array_equal(found[name], column), name  # type: ignore[literal-required]
    images = read_results(results.replace('"image_id": 7', '"image_id": "y", "image_id": 7'))[0]
    assert images.tolist() == [7, 8]


def test_objects_with_numbers_of_numpy() -> None:
    results = [
        {
            **r,
            "score": np.float64(r["score"]),
            "image_id": np.int64(r["image_id"]),
            "bbox": np.array(r["bbox"]),
        }
        for r in RESULTS
    ]
    np.testing.assert_array_equal(evaluate_coco(TRUTH, results).stats, evaluate_coco(TRUTH, RESULTS).stats)
    with pytest.raises(DataError, match="got a set among the values"):
        evaluate_coco(TRUTH, [{**RESULTS[0], "more": {1}}])


@pytest.mark.parametrize("value", [0.5, 2, -1, "1"])
def test_iscrowd_is_a_flag(value: object) -> None:
    with pytest.raises(DataError, match="expected 0, 1, true or false"):
        evaluate_coco({**TRUTH, "annotations": [{**TRUTH["annotations"][0], "iscrowd": value}]}, RESULTS)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_counted_from_one(threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads is {threads}; expected at least 1"):
        evaluate_coco(TRUTH, RESULTS, threads=threads)
