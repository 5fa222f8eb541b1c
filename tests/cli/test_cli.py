"""The command line from the user's side: help, output, and one clear line per mistake."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.dataset_files import tree_digest, write_image, write_text, write_yolo

from yolofast.cli import COMMANDS, main
from yolofast.evaluate import YOLOEvaluator
from yolofast.printable import command_line


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: yolofast {name}" in text


def test_help_of_a_group_names_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--help"]) == 0
    text = capsys.readouterr().out
    assert "usage: yolofast bench COMMAND" in text
    assert all(name in text for name in COMMANDS if name.startswith("bench "))
    assert "predict" not in text


@pytest.mark.parametrize("words", [["train"], ["bench"], ["bench", "loader"], ["completion"]])
def test_help_before_a_command_is_its_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for arguments in (["help", *words], ["--help", *words], [*words, "--help"]):
        with contextlib.suppress(SystemExit):  # with code 0: see test_every_command_explains_itself
            assert main(arguments) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0].startswith(("usage: yolofast", "yolofast"))
    assert f"yolofast {' '.join(words)}" in texts[0]
    assert texts[0] == texts[1] == texts[2]
    assert main(["help"]) == 0
    assert "usage: yolofast COMMAND" in capsys.readouterr().out


MISTAKES = [
    (["help", "trian"], "unknown command 'trian'. Did you mean 'train'?"),
    (["detect", "train", "data=x.yaml"], "unknown command 'detect'. Did you mean 'train'?"),
    (["evaluate"], "unknown command 'evaluate'. Did you mean 'val'?"),
    (["completion", "tcsh"], "shell: got 'tcsh', expected one of bash, zsh, fish."),
    (["check", ".", "--fail-on", "info"], "fail_on: got 'info', expected one of error, warning"),
    (["trian"], "unknown command 'trian'. Did you mean 'train'?"),
    (["bench"], "bench: missing subcommand: loader, nms or map."),
    (
        ["bench", "lodaer"],
        "bench: unknown subcommand 'lodaer', expected loader, nms or map. Did you mean 'loader'?",
    ),
    (["train", "--epoch", "3"], "train: unknown argument '--epoch'. Did you mean '--epochs'?"),
    (["train", "--epochs", "many"], "epochs: got 'many', expected a whole number."),
    (["train", "--imgsz", "100"], "imgsz: got 100, expected a multiple of 32"),
    (
        ["train", "--model", "nano"],
        "model: got 'nano', expected one of p, n, s, m, l, x, yolov8n..x, ",
    ),
    (["train", "--optimizer", "adamv"], "'adamw'"),
    (["train", "--optimizer", "SGD"], "Did you mean 'sgd'?"),
    (["train", "--batch-size", "4"], "unknown argument '--batch-size'. Here it is --batch."),
    (["train", "--cos-lr"], "Here it is --schedule cosine."),
    (["train", "--no-amp"], "Here it is --amp off."),
    (["train", "--exist-ok"], "Every run gets a folder of its own."),
    (["train", "data=pets.yaml", "epochs=3"], "Here it is --data pets.yaml."),
    (["train"], "Add --data PATH."),
    (["train", "--data", "nowhere"], "nowhere: no such file or folder"),
    (["train", "--config", "nowhere.yaml"], "nowhere.yaml: no such config file"),
    (["train", "--resume", "--name", "nothing"], "no run to resume here"),
    (["analyze"], "analyze: the following arguments are required: PATH"),
    (["analyze", "nowhere"], "nowhere"),
    (["analyze", "no\nwhere\x1b[31m"], r"no\nwhere\x1b[31m: no such folder"),
    (["check", "nowhere"], "nowhere"),
    (["prepare", "nowhere"], "nowhere"),
    (["fetch", "ftp://example.invalid/a.zip"], "ftp"),
    (["val", "--weights", "nowhere.safetensors", "--data", "nowhere"], "nowhere.safetensors"),
    (
        ["val", "--weights", "w", "--data", "d", "--metrics", "voc"],
        "metrics: got 'voc', expected one of yolo, coco.",
    ),
    (["predict", "--weights", "nowhere.safetensors", "--source", "nowhere"], "nowhere.safetensors"),
    (["export", "--weights", "nowhere.safetensors"], "nowhere.safetensors"),
    (["export", "--weights", "nowhere.safetensors", "--format", "tflite"], "onnx"),
    (["bench", "loader", "--data", "nowhere"], "nowhere"),
    (["bench", "loader", "--data", ".", "--threads", "0"], "threads: got 0"),
    (["train", "--resume", "--name", "../x"], "name: got '../x'"),
    (["train", "--name", "/x"], "name: got '/x'"),
    (["train", "--seed", "99999999999999999999999"], "seed"),
    (["prepare", "nowhere", "--seed", "-1"], "seed: got -1"),
    (["prepare", "nowhere", "--val-fraction", "nan"], "val_fraction: got nan"),
    (["predict", "--weights", "w", "--source", "s", "--conf", "5"], "conf: got 5.0"),
    (["predict", "--weights", "w", "--source", "s", "--max-det", "-1"], "max_det: got -1"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("yolofast: error: ")
    assert message in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_ends_the_process_with_2_and_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "yolofast.cli", "analyze", "/nowhere"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_closed_or_full_output_is_handled(sample_yolo: Path) -> None:
    """`| head` ends quietly; a full disk is one line."""
    call = f"{sys.executable} -m yolofast.cli analyze {sample_yolo.parent} --json"
    piped = subprocess.run(["bash", "-c", f"{call} | head -1"], capture_output=True, text=True)
    assert (piped.stdout, piped.stderr) == ("{\n", "")
    full = subprocess.run(["bash", "-c", f"{call} > /dev/full"], capture_output=True, text=True)
    assert full.returncode == 2
    assert full.stderr.strip() == "yolofast: error: No space left on device"


@pytest.mark.parametrize("command", ["--help", "bench --help", "train --help", "--version"])
def test_help_to_a_closed_output_ends_quietly(command: str) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "yolofast.cli", *command.split()], stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_without_torch_the_extra_is_named(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = None; from yolofast.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["val", "--weights", "w", "--data", "d"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'yolofast[train]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from yolofast import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.fixture(scope="module")
def trained(sample_yolo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run through the command line."""
    project = tmp_path_factory.mktemp("runs")
    config = project / "settings.yaml"
    config.write_text("model: {model: p}\ntraining: {epochs: 9, batch: 8}\ndataset: {workers: 0}\n")
    arguments = ["train", "--config", str(config), "--data", str(sample_yolo), "--imgsz", "64"]
    assert main([*arguments, "--epochs", "2", "--project", str(project), "--device", "cpu"]) == 0
    return project / "train"


def test_train_leaves_a_whole_run(trained: Path, sample_yolo: Path) -> None:
    names = {str(p.relative_to(trained)) for p in trained.rglob("*") if p.is_file()}
    assert names >= {
        *("config.yaml", "results.csv", "results.png", "dataflow.json"),
        *("labels.png", "train_batch1.png", "train_batch2.png", "train_batch3.png"),
        *("weights/best.safetensors", "weights/last.safetensors"),
    }
    rows = (trained / "results.csv").read_text().splitlines()
    assert len(rows) == 3  # --epochs 2 wins over the file's 9
    assert "batch: 8" in (trained / "config.yaml").read_text()


TINY = ("--model", "p", "--imgsz", "32", "--workers", "0", "--device", "cpu", "--no-plots")


@pytest.fixture(scope="module")
def two_runs(sample_yolo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: a finished one and, trained long before it, one that lacks two epochs."""
    root = tmp_path_factory.mktemp("two") / "runs"
    where = ["--data", str(sample_yolo), "--project", str(root), "--name", "second"]
    assert main(["train", *where, *TINY, "--epochs", "1"]) == 0
    config = shutil.copytree(root / "second", root / "first") / "config.yaml"
    text = config.read_text().replace("name: second\n", "name: first\n", 1)
    config.write_text(text.replace("epochs: 1\n", "epochs: 3\n", 1))
    for path in (config, config.parent / "weights" / "last.safetensors"):
        os.utime(path, (1e9, 1e9))
    return root


@pytest.fixture
def project(two_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a copy of these runs in runs/."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(two_runs, tmp_path / "runs")
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "run", "epochs"),
    [
        (["--resume"], "first", 3),
        (["--resume", "runs/first"], "first", 3),
        (["--resume", "runs/second/weights/last.safetensors", "--epochs", "2"], "second", 2),
        (["--resume", "--name", "second", "--epochs", "2"], "second", 2),
        (["--epochs", "2", "--resume"], "second", 2),
        (["--resume", "--project", "runs"], "first", 3),
    ],
)
def test_resume_continues_the_run_that_is_meant_and_names_it(
    project: Path, flags: list[str], run: str, epochs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["train", *flags]) == 0
    out, err = capsys.readouterr()
    assert f"run        runs/{run}\n" in err
    assert f"resumed after epoch 1 of {epochs}" in err
    assert out.startswith(f"runs/{run}/weights/best.safetensors\nNext: yolofast val")
    assert len(Path("runs", run, "results.csv").read_text().splitlines()) == 1 + epochs
    assert sorted(path.name for path in Path("runs").iterdir()) == ["first", "second"]


def test_resume_of_a_finished_run_leaves_it_as_it_is(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path("runs", "second")
    before = tree_digest(run)
    assert main(["train", "--resume", "runs/second"]) == 0
    assert "this run finished after 1 epochs" in capsys.readouterr().err
    assert tree_digest(run) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resume", "--config", "x.yaml"], "--resume and --config: got both"),
        (["--resume", "--weights", "w.safetensors"], "--resume and --weights: got both"),
        (["--resume", "runs/first", "--name", "a"], "--resume runs/first: got --project or --name, too"),
        (["--resume", "runs/none"], "runs/none: no run to resume here: it has no config.yaml"),
        (["--no-resume"], "unknown argument '--no-resume'"),
    ],
)
def test_resume_that_means_two_things_or_nothing_is_refused(
    flags: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *flags]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_train_on_a_raw_folder_says_that_it_prepares_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from yolofast.sample import make_sample_dataset

    monkeypatch.chdir(tmp_path)
    make_sample_dataset(Path("raw"), count=6)
    assert main(["train", "--data", "raw", *TINY, "--epochs", "1"]) == 0
    assert "raw: not in the YOLO layout yet; preparing it in " in capsys.readouterr().err


def test_a_second_run_gets_a_folder_of_its_own(trained: Path, sample_yolo: Path) -> None:
    before = (trained / "weights" / "last.safetensors").read_bytes()
    arguments = ["train", "--data", str(sample_yolo), "--imgsz", "32", "--epochs", "1", "--model", "p"]
    more = ["--project", str(trained.parent), "--device", "cpu", "--workers", "0", "--no-plots"]
    assert main([*arguments, *more]) == 0
    assert (trained.parent / "train-2" / "weights" / "last.safetensors").exists()
    assert (trained / "weights" / "last.safetensors").read_bytes() == before


def test_val_predict_and_export(
    trained: Path,
    sample_yolo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = str(trained / "weights" / "best.safetensors")
    common = ["--weights", weights, "--json"]
    capsys.readouterr()

    arguments = ["--data", str(sample_yolo), "--project", str(tmp_path), "--workers", "0", "--device", "cpu"]
    assert main(["val", *common, *arguments]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["images"] == 8
    assert 0 <= figures["overall"]["map50"] <= 1
    assert (tmp_path / "val" / "metrics.json").exists()
    assert (tmp_path / "val" / "predictions.json").exists()
    assert (tmp_path / "val" / "pr_curves.png").exists()
    assert (tmp_path / "val" / "curves.png").exists()
    assert (tmp_path / "val" / "confusion_matrix.png").exists()

    monkeypatch.setattr(YOLOEvaluator, "_plot", lambda *_: {})  # the pictures are there already
    assert main(["val", "--weights", weights, *arguments]) == 0
    table = capsys.readouterr().out.splitlines()
    assert main(["val", "--weights", weights, *arguments, "--metrics", "coco"]) == 0
    with_coco = capsys.readouterr().out.splitlines()
    assert with_coco[: len(table) - 1] == table[:-1], "the usual table comes first, unchanged"
    shown = {line.split()[0]: line.split()[-1] for line in with_coco[len(table) + 1 : -1]}
    assert shown == {name: f"{value:.3f}" for name, value in figures["coco"].items()}
    assert len(shown) == 12

    source = sample_yolo.parent / "valid" / "images"
    arguments = ["--source", str(source), "--project", str(tmp_path), "--device", "cpu", "--conf", "0.01"]
    assert main(["predict", *common, *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 8
    assert len(list((tmp_path / "predict").glob("*.jpg"))) == 8

    assert main(["export", "--weights", weights, "--out", weights]) == 2
    assert "that is the weights file itself" in capsys.readouterr().err
    assert main(["val", "--weights", weights, "--data", str(sample_yolo), "--imgsz", "33"]) == 2
    assert "imgsz: got 33, expected a multiple of 32" in capsys.readouterr().err

    for form in ("onnx", "torchscript"):
        out = tmp_path / f"model.{form}"
        arguments = ["--data", str(sample_yolo), "--out", str(out), "--format", form]
        assert main(["export", *common, *arguments]) == 0
        exported = json.loads(capsys.readouterr().out)
        assert exported["images_checked"] == 8
        assert exported["max_rel_diff"] < 1e-3
        assert out.stat().st_size == exported["size_bytes"]


def test_data_stages_print_json(
    sample_yolo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = sample_yolo.parent.parent / "raw"
    assert main(["analyze", str(raw), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["structure_type"] == "flat"
    assert info["label_format"] == "coco"
    assert info["total_images"] == 40
    assert info["class_count"] == 5
    assert main(["check", str(raw), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["errors"] == 0
    assert main(["prepare", str(raw), "--out", str(tmp_path / "out"), "--json"]) == 0
    prepared = json.loads(capsys.readouterr().out)
    assert sum(prepared["images"].values()) == 40
    assert prepared["source_boxes"] == sum(prepared["boxes"].values()) == info["total_boxes"]


def test_bench_loader_prints_images_per_second(sample_yolo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", str(sample_yolo), "--imgsz", "64", "--threads", "2", "--seconds", "0.2", "--json"]
    assert main(["bench", "loader", *arguments]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["images_per_s"] > 0
    assert figures["threads"] == 2


def test_prepare_and_convert_show_what_is_worth_checking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = write_yolo(
        tmp_path / "raw", {f"{n}/images/{n}.jpg": "0 0.5 0.5 0.1 0.1\n" for n in ("train", "valid")}
    )
    first = write_text(raw / "train/labels/classes.txt", "cat\ndog\n")
    write_text(raw / "valid/labels/classes.txt", "dog\ncat\n")
    expected = (
        f"also worth checking (1)\n  {first}: warning: names other classes than valid/labels/classes.txt: "
        "each rules the labels of its own part, and classes are mapped by name [names-mapped]\n"
    )
    commands = (["prepare"], ["prepare"], ["convert", "--to", "voc"])  # the second finds it up to date
    for command in commands:
        assert main([*command, str(raw), "--out", str(tmp_path / command[0])]) == 0
        assert expected in capsys.readouterr().out


def test_the_next_command_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also from a folder whose name has spaces, quotes or control characters."""
    for name in ("plain", "my $set's", "a\tb'c"):
        raw = write_yolo(tmp_path / name, {f"images/{i}.jpg": "0 .5 .5 .1 .1\n" for i in range(2)})
        assert main(["prepare", str(raw)]) == 0
        line = capsys.readouterr().out.splitlines()[-1]
        assert line.isprintable()
        command = line.removeprefix("Next: yolofast ")
        split = subprocess.check_output(["bash", "-c", f"printf '%s\\0' {command}"], text=True)
        assert split.split("\0")[:-1] == ["train", "--data", f"{raw}_yolo/data.yaml"]
    assert "'" not in command_line("yolofast", "train", "--data", tmp_path)


@pytest.mark.parametrize(
    ("rows", "fail_on", "code"),
    [
        ("0 .5 .5 .2 .2\n", None, 0),
        ("0 .5 .5 .2 .2\n", "warning", 0),
        ("0 .5 x .2 .2\n", None, 0),
        ("0 .5 x .2 .2\n", "error", 1),
        ("0 .5 x .2 .2\n", "warning", 1),
    ],
)
def test_check_can_fail(
    rows: str, fail_on: str | None, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_yolo(
        tmp_path, {"images/a.jpg": rows, "images/b.jpg": "0 .5 .5 .2 .2\n"}, "train: images\nnames: [a]"
    )
    arguments = ["check", str(tmp_path), "--json", *(["--fail-on", fail_on] if fail_on else [])]
    assert main(arguments) == code
    out, err = capsys.readouterr()
    json.loads(out)
    count = "1 finding" if fail_on == "error" else "2 findings"  # the row, and that its image is left out
    failed = f"yolofast: check failed: {count} that --fail-on {fail_on} counts"
    assert err.splitlines()[-1:] == ([failed] if code else [])


def test_check_fails_on_a_warning_only_when_told(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/a.jpg": "0 .5 .5 .2 .2\n"}, "train: images\nnames: [a]")
    write_image(tmp_path / "images/a.jpg", 20, 20)
    assert main(["check", str(tmp_path), "--fail-on", "error"]) == 0
    assert main(["check", str(tmp_path), "--fail-on", "warning"]) == 1
