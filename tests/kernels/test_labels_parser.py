"""parse_yolo_labels: every form the field writes, every flaw it has, and hostile bytes."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.property_tests import examples

from yolofast.kernels import parse_yolo_labels, reference
from yolofast.kernels.parsed_labels import ParsedLabels


def same(data: bytes, keypoints: tuple[int, int] | None = None) -> None:
    got = parse_yolo_labels(data, keypoints=keypoints)
    want = reference.parse_yolo_labels(data, keypoints=keypoints)
    for name in ("classes", "boxes", "lines", "kinds"):
        a, b = getattr(got, name), getattr(want, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b, err_msg=f"{name} of {data!r}")
    assert got.errors == want.errors


@pytest.mark.parametrize(
    "text",
    [
        "0 0.5 0.5 0.25 0.25\n3 0.1 0.2 0.3 0.4\n",
        "0 0.5 0.5 0.25 0.25\n3 0.1 0.2 0.3 0.4",
        "0 0.5 0.5 0.25 0.25\r\n3 0.1 0.2 0.3 0.4\r\n",
        "0 0.5 0.5 0.25 0.25\r3 0.1 0.2 0.3 0.4\r",
        "\ufeff0 0.5 0.5 0.25 0.25\n3 0.1 0.2 0.3 0.4\n",
        "  0\t0.5  0.5 \t0.25 0.25  \n3 .1 2e-1 +0.3 4.0E-1\t\n",
        "0.0 0.5 0.5 0.25 0.25\n3.0 0.1 0.2 0.3 0.4\n",
    ],
    ids=["lf", "no-last-newline", "crlf", "cr", "bom", "blanks-and-number-forms", "class-as-float"],
)
def test_forms_of_the_same_file(text: str) -> None:
    labels = parse_yolo_labels(text.encode())
    assert labels.classes.tolist() == [0, 3]
    assert labels.boxes.tolist() == [[0.5, 0.5, 0.25, 0.25], [0.1, 0.2, 0.3, 0.4]]
    assert labels.lines.tolist() == [1, 2]
    assert labels.kinds.tolist() == [0, 0]
    assert labels.errors == ()


@pytest.mark.parametrize("data", [b"", b"\n", b" \t\r\n\r\n  ", b"\xef\xbb\xbf"])
def test_a_background_file_has_no_objects(data: bytes) -> None:
    labels = parse_yolo_labels(data)
    assert len(labels) == 0
    assert labels.boxes.shape == (0, 4)
    assert labels.errors == ()


def test_polygon_becomes_the_box_around_it() -> None:
    labels = parse_yolo_labels(b"2 0.25 0.5 0.75 0.5 0.5 1.0\n1 0.5 0.5 1 1\n")
    assert labels.classes.tolist() == [2, 1]
    assert labels.boxes.tolist() == [[0.5, 0.75, 0.5, 0.5], [0.5, 0.5, 1, 1]]
    assert labels.kinds.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("0 0.5 0.5 0.1", "columns"),
        ("0", "columns"),
        ("0 0.5 0.5 0.1 0.1 0.9", "confidence"),
        ("0 1 2 3 4 5 6 7", "columns"),
        ("dog 0.5 0.5 0.1 0.1", "syntax"),
        ("0,0.5,0.5,0.1,0.1", "syntax"),
        ("0 0.5 0.5 0.1 0.1px", "syntax"),
        ("# comment", "syntax"),
        ("0 0.5 0.5 +-0.1 0.1", "syntax"),
        ("0 0.5 0.5 0x1 0.1", "syntax"),
        ("0 nan 0.5 0.1 0.1", "non-finite"),
        ("0 0.5 0.5 inf 0.1", "non-finite"),
        ("0 0.5 0.5 -Infinity 0.1", "non-finite"),
        ("0 0.5 0.5 1e999 0.1", "non-finite"),
        ("0 0.5 0.5 1e-999 0.1", "non-finite"),
        ("0 -1e308 0 1e308 0 0 1", "non-finite"),
        ("-1 0.5 0.5 0.1 0.1", "class"),
        ("1.5 0.5 0.5 0.1 0.1", "class"),
        ("1e30 0.5 0.5 0.1 0.1", "class"),
        ("2147483648 0.5 0.5 0.1 0.1", "class"),
    ],
)
def test_a_bad_line_is_listed_and_the_others_stay(line: str, code: str) -> None:
    data = f"\n1 0.5 0.5 0.1 0.1\n  {line} \r\n2 0.5 0.5 0.1 0.1".encode()
    labels = parse_yolo_labels(data)
    assert labels.classes.tolist() == [1, 2]
    assert labels.lines.tolist() == [2, 4]
    assert [tuple(e) for e in labels.errors] == [(3, code, line)]
    same(data)


def test_values_out_of_range_are_left_to_the_caller() -> None:
    labels = parse_yolo_labels(b"0 -5 7 0 -0.5\n")
    assert labels.boxes.tolist() == [[-5, 7, 0, -0.5]]


def test_text_of_an_error_is_short_and_printable() -> None:
    (error,) = parse_yolo_labels(b"\xff\xfe" + b"x" * 10_000).errors
    assert error.text == "\ufffd\ufffd" + "x" * 78


def test_numbers_are_read_exactly() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.random(400), rng.random(200) * 10.0 ** rng.integers(-300, 300, 200)])
    rows = values.reshape(-1, 4)
    text = "".join(f"0 {a!r} {b!r} {c:.17e} {d!r}\n" for a, b, c, d in rows.tolist())
    np.testing.assert_array_equal(parse_yolo_labels(text.encode()).boxes, rows)


def test_any_bytes_like_object(tmp_path: Path) -> None:
    data = b"0 0.5 0.5 0.1 0.1\n"
    path = tmp_path / "label.txt"
    path.write_bytes(data)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert len(parse_yolo_labels(mapped)) == 1
    for view in (
        bytearray(data),
        memoryview(data),
        memoryview(b"9" + data)[1:],
        np.frombuffer(data, np.uint8),
    ):
        assert parse_yolo_labels(view).classes.tolist() == [0]
    with pytest.raises(TypeError, match="bytes-like"):
        parse_yolo_labels(data.decode())


@pytest.mark.parametrize(
    ("line", "keypoints", "kind", "box"),
    [
        ("0 .5 .5 .2 .2 .1 .1 2", None, 3, [0.5, 0.5, 0.2, 0.2]),
        ("0 .5 .5 .2 .2 .1 .1 0", None, 3, [0.5, 0.5, 0.2, 0.2]),
        ("0 .5 .5 .2 .2 .1 .1 0 .3 .3 2", None, 3, [0.5, 0.5, 0.2, 0.2]),
        ("0 .5 .5 .2 .2" + " .5 .5 1" * 17, None, 3, [0.5, 0.5, 0.2, 0.2]),
        ("0 0 0 1 0 1 1 0 1 1 1", None, 1, [0.5, 0.5, 1, 1]),  # a polygon: no visibility is 2
        ("0 0 0 1 0 1 1 0 1", None, 2, [0.5, 0.5, 1, 1]),
        ("0 .5 .5 .2 .2 .1 .1 .2 .2", (2, 2), 3, [0.5, 0.5, 0.2, 0.2]),
        ("0 .5 .5 .2 .2 .1 .1 .7", (1, 3), 3, [0.5, 0.5, 0.2, 0.2]),
        ("0 .5 .5 .2 .2", (17, 3), 0, [0.5, 0.5, 0.2, 0.2]),
    ],
)
def test_keypoints_are_known_by_their_shape_or_where_it_is_certain(
    line: str, keypoints: tuple[int, int] | None, kind: int, box: list[float]
) -> None:
    labels = parse_yolo_labels(line.encode(), keypoints=keypoints)
    assert (labels.kinds.tolist(), labels.boxes.tolist()) == ([kind], [box])
    same(line.encode(), keypoints)


@pytest.mark.parametrize(
    ("line", "keypoints", "code"),
    [
        ("0 .5 .5 .2 .2 .1 .1 .7", None, "columns"),
        ("0 .5 .5 .2 .2 .1 .1 2 .1 .1", None, "columns"),
        ("0 .5 .5 .2 .2 .9", None, "confidence"),
        ("0 .5 .5 .2 .2 .9", (1, 3), "confidence"),
        ("0 0 0 1 0 1 1 0 1", (17, 3), "columns"),
        ("0 .5 .5 .2 .2 nan .1 2", None, "non-finite"),
        ("0.5 .5 .5 .2 .2 .1 .1 2", None, "class"),
    ],
)
def test_rows_that_are_no_keypoints(line: str, keypoints: tuple[int, int] | None, code: str) -> None:
    assert [e.code for e in parse_yolo_labels(line.encode(), keypoints=keypoints).errors] == [code]
    same(line.encode(), keypoints)


@pytest.mark.parametrize("keypoints", [(0, 3), (17, 4), (17, 1), (-1, 2), (2_000_000, 3)])
def test_keypoint_shapes_that_cannot_be(keypoints: tuple[int, int]) -> None:
    with pytest.raises(
        ValueError, match=r"keypoints: got \(.*expected \(1 to 1000000, 2 or 3\), such as \(17, 3\)"
    ):
        parse_yolo_labels(b"", keypoints=keypoints)


tokens = st.one_of(
    st.sampled_from(["0", "1", "2", ".5"]),
    st.floats(width=32).map(repr),
    st.integers(-3, 90).map(str),
    st.text("0123456789.eE+-naif_x", min_size=1, max_size=8),
)
separators = st.sampled_from([" ", " ", " ", " ", "\t", "  ", "\n", "\r\n", "\r", "\v", "\n\n"])


@examples(300)
@given(st.lists(st.tuples(tokens, separators), max_size=40), st.sampled_from([None, (1, 2), (2, 3)]))
def test_line_shaped_text_is_read_as_defined(
    parts: list[tuple[str, str]], keypoints: tuple[int, int] | None
) -> None:
    same("".join(token + separator for token, separator in parts).encode(), keypoints)


@examples(300)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_as_defined(data: bytes) -> None:
    same(data)


def test_real_labels(shared_data: Path) -> None:
    files = sorted((shared_data / "coco128").rglob("*.txt"))
    assert files
    for path in files:
        data = path.read_bytes()
        labels = parse_yolo_labels(data)
        assert len(labels) + len(labels.errors) == sum(bool(line.strip()) for line in data.splitlines())
        same(data)


@pytest.mark.parametrize("parse", [parse_yolo_labels, reference.parse_yolo_labels])
def test_a_text_of_bad_lines_is_refused(parse: Callable[[bytes], ParsedLabels]) -> None:
    """A large file of something else would otherwise become gigabytes of errors."""
    assert len(parse(b"0 0.5 0.5 0.1 0.1\n" + b"a\n" * 10_000).errors) == 10_000
    with pytest.raises(ValueError, match="more than 10,000 lines are not objects: not a label file"):
        parse(b"a\n" * 10_001)
