"""From command-line arguments to dataclasses: spelling, types, sections, and what overrides what."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolofast.cli import COMMANDS
from yolofast.cli.arguments import (
    BenchNmsArgs,
    CheckArgs,
    ExportArgs,
    PredictArgs,
    PrepareArgs,
    TrainArgs,
    ValArgs,
)
from yolofast.cli.commands import train_defaults
from yolofast.cli.hints import FLAGS
from yolofast.cli.parser import arguments_of, build, parse
from yolofast.config import PrepareConfig, YOLOConfig
from yolofast.config_fields import Section
from yolofast.errors import ConfigError


def parsed(kind: type[Section], *arguments: str) -> Section:
    return build(kind, parse(kind, "yolofast x", arguments))


def test_only_what_was_given_is_returned() -> None:
    given = parse(TrainArgs, "yolofast train", ["--epochs", "3", "--data=a.yaml", "--no-plots"])
    assert given == {"epochs": 3, "data": "a.yaml", "plots": False}


@pytest.mark.parametrize("flag", ["--close-mosaic", "--close_mosaic", "--close_mosaic=4"])
def test_flags_may_be_written_with_underscores(flag: str) -> None:
    arguments = [flag] if "=" in flag else [flag, "4"]
    args = parsed(TrainArgs, *arguments, "--name", "my_run")
    assert isinstance(args, TrainArgs)
    assert (args.augment.close_mosaic, args.logging.name) == (4, "my_run")


def test_values_get_the_types_of_their_fields() -> None:
    args = parsed(TrainArgs, "--lr0", "1e-3", "--workers", "None", "--weights", "w.safetensors", "--rect")
    assert isinstance(args, TrainArgs)
    assert (args.training.lr0, args.dataset.workers) == (0.001, None)
    assert (args.model.weights, args.dataset.rect) == (Path("w.safetensors"), True)
    bench = parsed(BenchNmsArgs, "--boxes", "10", "20", "--peers")
    assert isinstance(bench, BenchNmsArgs)
    assert (bench.boxes, bench.peers) == ((10, 20), ())
    assert parsed(BenchNmsArgs) == BenchNmsArgs()


def test_positions_and_flags_mix() -> None:
    for arguments in (["raw", "--seed", "3"], ["--seed", "3", "raw"]):
        assert parsed(PrepareArgs, *arguments) == PrepareArgs(Path("raw"), output=PrepareConfig(seed=3))


def test_hints_name_no_positional_argument() -> None:
    with pytest.raises(ConfigError, match=r"unknown argument '--path'\. See"):
        parsed(PrepareArgs, "--path", "raw")


def test_nothing_after_two_dashes_is_a_flag() -> None:
    assert parsed(PrepareArgs, "--seed=3", "--", "--my_set") == PrepareArgs(
        Path("--my_set"), output=PrepareConfig(seed=3)
    )


def test_flags_override_the_config_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("training: {epochs: 9, batch: 8}")
    given = parse(TrainArgs, "yolofast train", ["--config", str(path), "--epochs", "2"])
    args = build(TrainArgs, given, train_defaults(given))
    assert (args.training.epochs, args.training.batch) == (2, 8)
    assert args.config == path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights"], "x: argument --weights: expected one argument. See yolofast x --help."),
        (["--json"], "x: the following arguments are required: --weights. See yolofast x --help."),
        (
            ["--weights", "w", "--fromat=onnx"],
            "x: unknown argument '--fromat=onnx'. Did you mean '--format'?",
        ),
        (["-w", "w"], "x: unknown argument '-w'. See"),
        (["--weights", ""], "weights: got '', expected a path."),
        (["--weihgts", "w"], "x: unknown argument '--weihgts'. Did you mean '--weights'?"),
        (["--weights", "w", "more"], "x: unknown argument 'more'."),
        (["--weights", "w", "--", "more"], "x: unknown argument 'more'."),
        (["--weights", "w", "--opset", "18.5"], "opset: got '18.5', expected a whole number."),
    ],
)
def test_mistakes_name_the_argument(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(ExportArgs, *arguments)
    assert str(caught.value).startswith(message)


def test_help_shows_texts_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(TrainArgs, "yolofast train", ["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--batch INT Batch size. (default: 16)" in text
    assert "--lr0 FLOAT Peak learning rate; omitted means" in text
    defaults = YOLOConfig()
    assert (
        f"--name TEXT Name of this run: results go to PROJECT/NAME. (default: {defaults.logging.name})"
        in text
    )


@pytest.mark.parametrize(
    ("kind", "argument", "hint"),
    [
        (TrainArgs, "--batch-size", "Here it is --batch."),
        (TrainArgs, "--batch_size=8", "Here it is --batch."),
        (TrainArgs, "--cos-lr", "Here it is --schedule cosine."),
        (TrainArgs, "--lr", "Here it is --lr0."),
        (TrainArgs, "-b", "Here it is --batch."),
        (TrainArgs, "epochs=3", "Here it is --epochs 3."),
        (TrainArgs, "--fp16", "Here it is --amp on."),
        (ValArgs, "--img", "Here it is --imgsz."),
        (ValArgs, "--task", "Here it is --split."),
        (ValArgs, "--save-json", "predictions.json is always written."),
        (PredictArgs, "--conf-thres=0.4", "Here it is --conf."),
        (PredictArgs, "--iou_thres", "Here it is --iou."),
        (ValArgs, "--save-txt", "predictions.json is always written."),
        (PredictArgs, "--line-thickness", "Here it is --line-width."),
        (PredictArgs, "--nosave", "Here it is --no-save."),
        (PredictArgs, "--save-dir", "Here it is --project and --name."),
        (PredictArgs, "conf=0.4", "Here it is --conf 0.4."),
        (ExportArgs, "--include", "Here it is --format."),
        (ExportArgs, "--half", "Here it is --half-precision."),
        (ExportArgs, "--nms", "Here it is --include-nms."),
        (ExportArgs, "--output", "Here it is --out."),
        (CheckArgs, "--strict", "Here it is --fail-on warning."),
    ],
)
def test_flags_of_other_trainers_are_translated(kind: type[Section], argument: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(kind, argument, "8")
    assert f". {hint} See yolofast x --help." in str(caught.value)


def test_every_translation_leads_to_a_flag() -> None:
    """The table outlives a flag that is renamed."""
    known = {flag for entry in COMMANDS.values() for a in arguments_of(entry.arguments) for flag in a.flags}
    ours = {use.split()[0] for uses in FLAGS.values() for use in uses if use.startswith("-")}
    assert ours <= known


@pytest.mark.parametrize("split", ["val", "valid", "test"])
def test_validation_has_two_names(split: str) -> None:
    args = parsed(ValArgs, "--weights", "w.safetensors", "--data", "d", "--split", split)
    assert isinstance(args, ValArgs)
    assert args.split == split


def test_flags_of_fine_tuning(capsys: pytest.CaptureFixture[str]) -> None:
    args = parsed(TrainArgs, "--classes", "cat", "2", "--time", "0.5", "--freeze", "backbone")
    assert isinstance(args, TrainArgs)
    assert (args.dataset.classes, args.training.time) == (("cat", 2), 0.5)
    assert args.training.freeze == "backbone"
    assert parsed(TrainArgs, "--freeze", "10").training.freeze == 10  # type: ignore[attr-defined]
    with pytest.raises(SystemExit):
        parse(TrainArgs, "yolofast train", ["--help"])
    text = capsys.readouterr().out
    assert "--freeze N|backbone" in text
    assert "--classes [CLASS ...]" in text
