"""Text of other people: shown on one line without escapes, drawn without a crash, and found again."""

from __future__ import annotations

import json
import pickle
import subprocess
from pathlib import Path

import pytest
from support.chaos import python
from support.in_process import command
from support.odd_names import ODD_TEXTS, file_name, file_names, is_plain_output, write_yolo_dataset

from yolofast.errors import DataError, DatasetNotFoundError, MissingExtraError, without_location
from yolofast.printable import command_line, drawable, printable

TEXTS = (*ODD_TEXTS, "".join(map(chr, range(256))), "long" * 1000)


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_any_text_is_one_plain_line(text: str) -> None:
    shown = printable(text)
    shown.encode()  # no surrogates
    assert is_plain_output(shown)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown
    assert len(printable("x" * 100, 10)) == 10


@pytest.mark.parametrize("error", [DataError, DatasetNotFoundError, MissingExtraError])
def test_errors_are_one_plain_line_wherever_they_are_shown(error: type[DataError]) -> None:
    raised = error("a\nb\x1b[31m.jpg: bad")
    assert str(raised) == "a\\nb\\x1b[31m.jpg: bad"
    assert str(pickle.loads(pickle.dumps(raised))) == str(raised)
    assert without_location(raised, "a\nb\x1b[31m.jpg") == "bad"


def test_opencv_draws_every_text_as_ascii() -> None:
    assert all(drawable(text).isascii() and drawable(text).isprintable() for text in TEXTS)
    assert max(len(drawable(text, 20)) for text in TEXTS) == 20
    ran = python(
        "import numpy as np\n"
        "from yolofast.evaluate.drawing import draw_boxes, put_text, text_size\n"
        "from yolofast.types import Detections\n"
        "import json, sys\n"
        "picture = np.zeros((64, 64, 3), np.uint8)\n"
        "for text in json.loads(sys.argv[1]):\n"
        "    text_size(text, 0.5), put_text(picture, text, (2, 20), 0.5, (255, 255, 255))\n"
        "    box = np.array([[1, 1, 9, 9]], np.float32)\n"
        "    one = Detections(box, np.ones(1, np.float32), np.zeros(1, int))\n"
        "    draw_boxes(picture, 1.0, one, [text])\n",
        json.dumps(TEXTS),
    )
    assert ran.code == 0, ran.err


def test_a_command_can_be_pasted_whatever_names_are_in_it(tmp_path: Path) -> None:
    names = [file_name(text) for text in ODD_TEXTS]
    line = command_line("printf", r"%s\0", *names)
    assert line.isprintable()
    seen = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert seen.decode("utf-8", "surrogateescape").split("\0")[:-1] == names
    assert command_line("analyze", Path("-x")) == "analyze ./-x"


def test_charts_take_every_class_name(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from yolofast.result_pictures import chart_label, new_figure, save_figure

    figure = new_figure(3.0, 3.0, "Testing", dpi=20)
    for text in TEXTS:
        figure.text(0.0, 0.5, chart_label(text, "class 7"))
    assert save_figure(figure, tmp_path / "texts.png").exists()
    assert (chart_label("a$b", ""), chart_label("_a", ""), chart_label("猫", "class 7")) == (
        r"a\$b",
        " _a",
        "class 7",
    )
    assert chart_label("x" * 100, "", 10) == "xxxxxxx..."


def test_a_picture_that_fails_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from yolofast.result_pictures import optional_picture

    for error in (DataError(f"{tmp_path}: is full"), ValueError("no glyph"), MemoryError("too large")):
        caplog.clear()
        with optional_picture(tmp_path):
            raise error
        (record,) = caplog.records
        assert record.getMessage().startswith(f"{tmp_path} was not drawn: ")
    with pytest.raises(KeyboardInterrupt), optional_picture(tmp_path):
        raise KeyboardInterrupt


def test_data_commands_show_odd_names_plainly_and_keep_them(tmp_path: Path) -> None:
    texts = list(ODD_TEXTS)
    names = file_names(texts, ".jpg")
    root = tmp_path / "a\x1b[31m\udcff\nb"
    write_yolo_dataset(root, names, texts)
    hidden = sum(name.startswith(".") for name in names)
    for words in (
        ("analyze", f"{root}"),
        ("check", f"{root}", "--html", f"{tmp_path}/report.html"),
        ("prepare", f"{root}", "--out", f"{tmp_path}/p\x07"),
        ("convert", f"{root}", "--to", "coco", "--out", f"{tmp_path}/coco"),
    ):
        ran = command(*words)
        assert ran.code == 0, ran.err
        assert is_plain_output(ran.out), ascii(ran.out)
        assert is_plain_output(ran.err, progress=True), ascii(ran.err)
    assert f"{hidden} images are hidden" in command("analyze", f"{root}").out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert is_plain_output(page)
    assert "<script>" not in page
    from yolofast.formats.data_yaml import list_images, read_data_yaml

    data = read_data_yaml(tmp_path / "p\x07" / "data.yaml")
    assert list(data.names) == texts
    written = {path.name for split in ("train", "valid") for path in list_images(data, split)}
    assert written == {name for name in names if not name.startswith(".")}


def test_results_come_before_pictures_which_may_all_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    import cv2

    from yolofast.models import build_model, save_weights

    classes = ["\ud800", "\x1b[2J", "$$", "\udcff"]
    data = write_yolo_dataset(tmp_path / "set", file_names(list(ODD_TEXTS[:8]), ".jpg"), classes)
    save_weights(build_model("p", 4, class_names=classes), tmp_path / "w.safetensors")

    def fail(*_: object, **__: object) -> None:
        assert (tmp_path / "runs" / "val" / "metrics.json").exists()
        assert "predict" not in str(ran) or any((tmp_path / "runs" / "predict").glob(".detections.json.*"))
        raise cv2.error("no such font")

    common = ("--weights", f"{tmp_path}/w.safetensors", "--project", f"{tmp_path}/runs", "--conf", "0.001")
    for words in (
        ("val", "--data", f"{data}", "--imgsz", "32", *common),
        ("predict", "--source", f"{tmp_path}/set/valid/images", "--imgsz", "32", *common),
    ):
        ran = words
        monkeypatch.setattr(cv2, "getTextSize", fail)
        done = command(*words)
        assert done.code == 0, done.err
        assert is_plain_output(done.out)
        assert is_plain_output(done.err, progress=True)
        assert "was not drawn: error: " in done.err
    assert "predictions.jpg" not in [path.name for path in (tmp_path / "runs" / "val").iterdir()]
    assert (tmp_path / "runs" / "val" / "confusion_matrix.png").exists(), "the other pictures are drawn"


def test_logs_and_warnings_of_libraries_are_plain_lines() -> None:
    ran = python(
        "import logging, sys, warnings\n"
        "from yolofast.cli import entry\n"
        "def run(argv):\n"
        "    logging.getLogger('lib').warning('a\\x1b[31m%s', 'b\\nc')\n"
        "    warnings.warn('w\\x07\\nx', RuntimeWarning)\n"
        "    return 0\n"
        "entry._run = run\n"
        "sys.exit(entry.run(['x']))\n"
    )
    assert (ran.code, ran.err) == (0, "a\\x1b[31mb\\nc\nRuntimeWarning: w\\x07\\nx\n")


def test_pictures_of_names_that_fill_a_file_name_get_numbers(tmp_path: Path) -> None:
    from yolofast.output_names import OutputNames

    name = "é" * 125 + "x.jpg"
    assert len(name.encode()) == 255
    names = OutputNames()
    given = [names.claim(name.removesuffix(".jpg")) for _ in range(3)]
    assert len(set(given)) == 3
    for stem in given:
        (tmp_path / f"{stem}.jpg").write_bytes(b"")


def test_a_file_whose_name_is_as_long_as_names_can_be_is_written(tmp_path: Path) -> None:
    from yolofast.files import write_json

    path = tmp_path / ("é" * 127 + "x")
    write_json(path, {"name": "\udcff"})
    assert path.read_text(encoding="utf-8") == '{\n  "name": "\\udcff"\n}\n'
    assert list(tmp_path.iterdir()) == [path]
