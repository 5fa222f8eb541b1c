"""The command line: one subcommand a stage, its flags generated from dataclasses.

`train`, `val` and `export` take their flags from the config sections, so a setting exists once.
A user's mistake is one line on stderr and exit code 2; a traceback is a bug of ours.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from yolofast import __version__
from yolofast.arguments import (
    AnalyzeArgs,
    CheckArgs,
    ConvertArgs,
    DemoArgs,
    ExportArgs,
    FetchArgs,
    PredictArgs,
    PrepareArgs,
    TrainArgs,
    ValArgs,
)
from yolofast.cli_bench import BENCHES
from yolofast.config import DatasetConfig, LoggingConfig, YOLOConfig
from yolofast.errors import CheckpointError, ConfigError, YolofastError, missing_extra, nearest
from yolofast.printing import one_line, print_json
from yolofast.types import Finding

USER_ERROR = 2
INTERRUPTED = 130
TRAIN_PACKAGES = ("torch", "safetensors")
FINDINGS_SHOWN = 20

ArgsT = TypeVar("ArgsT")


# ---------------------------------------------------------------- commands


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings[:FINDINGS_SHOWN]:
        print(f"  {one_line(str(finding))}")
    if len(findings) > FINDINGS_SHOWN:
        print(f"  ... and {len(findings) - FINDINGS_SHOWN} more (--json lists all)")


def demo(args: DemoArgs) -> None:
    from yolofast.demo import run_demo

    run_demo(args.project)


def fetch(args: FetchArgs) -> None:
    from yolofast.ingest import fetch_dataset

    folder = fetch_dataset(args.source, args.out, sha256=args.sha256, size=args.size, retries=args.retries)
    print(f"{folder}\nNext: yolofast analyze {folder}")


def analyze(args: AnalyzeArgs) -> None:
    from yolofast.analyze import analyze_dataset, validate_dataset_input

    validate_dataset_input(args.path)
    info = analyze_dataset(args.path)
    if args.json:
        print_json(dataclasses.asdict(info) | {"class_count": info.class_count})
        return
    print(f"{info.root}: {info.structure_type} structure ({info.layout}), {info.label_format} labels")
    for sentence in info.evidence:
        print(f"  {one_line(sentence)}")
    print(f"images   {info.total_images} ({_counts(info.image_formats)})")
    print(f"boxes    {info.total_boxes}")
    print(f"splits   {_counts(info.splits) or 'none'}")
    print(f"classes  {info.class_count}: {_counts(info.class_counts)}")
    if info.findings:
        print("notes")
        _print_findings(info.findings)


def _counts(counts: Any) -> str:
    return one_line(", ".join(f"{name} {count}" for name, count in counts.items()))


def check(args: CheckArgs) -> None:
    from yolofast.analyze import check_data_quality, validate_dataset_input, write_html_report

    validate_dataset_input(args.path)
    report = check_data_quality(args.path, decode=args.decode, label_format=args.label_format)
    if args.html is not None:
        write_html_report(report, args.html)
    if args.json:
        plain = dataclasses.asdict(dataclasses.replace(report, examples=()))
        del plain["examples"]
        print_json(plain | {"errors": report.errors})
        return
    print(
        f"{report.root}: {report.images_checked} images, {report.boxes_checked} boxes, {report.errors} errors"
    )
    for title, findings in (
        ("images", report.image_issues),
        ("labels", report.label_issues),
        ("formats", report.format_issues),
        ("recommendations", report.recommendations),
    ):
        if findings:
            print(f"{title}: {len(findings)}")
            _print_findings(findings)
    if report.summary:
        print("summary")
    for entry in report.summary:
        print(f"  {entry}")
    if args.html is not None:
        print(f"written to {args.html}")


def prepare(args: PrepareArgs) -> None:
    from yolofast.prepare import prepare_dataset

    done = prepare_dataset(args.path, args.out, config=args.config)
    if args.json:
        print_json(dataclasses.asdict(done))
        return
    for split, count in done.images.items():
        print(f"{split:6} {count} images, {done.boxes[split]} boxes")
    dropped = f"{done.source_boxes - sum(done.boxes.values())} of {done.source_boxes} boxes dropped"
    print(f"{dropped}; every reason is in {done.root / 'manifest.json'}")
    _print_findings(done.dropped)
    if done.noticed:
        print(f"look at these too ({len(done.noticed)})")
        _print_findings(done.noticed)
    print(f"{done.data_yaml}\nNext: yolofast train --data {done.data_yaml}")


def convert(args: ConvertArgs) -> None:
    from yolofast.prepare import convert_dataset

    done = convert_dataset(args.path, args.out, to=args.to, link=args.link, label_format=args.label_format)
    if args.json:
        print_json(dataclasses.asdict(done))
        return
    for split, count in done.images.items():
        print(f"{split:7} {count} images, {done.boxes[split]} boxes")
    dropped = f"{done.source_boxes - sum(done.boxes.values())} of {done.source_boxes} boxes dropped"
    print(f"{dropped}; every reason is in {done.root / 'manifest.json'}")
    _print_findings(done.dropped)
    if done.noticed:
        print(f"look at these too ({len(done.noticed)})")
        _print_findings(done.noticed)
    print(done.root)


def train(args: TrainArgs) -> None:
    from yolofast.pipeline import train_run
    from yolofast.train import fitness

    config = YOLOConfig(args.model, args.dataset, args.training, args.augment, args.logging)
    folder, result = train_run(config)
    best = max(result["training_history"], key=fitness)
    weights = folder / "weights" / "best.safetensors"
    if args.json:
        print_json({"weights": weights, "final_epoch": result["final_epoch"], "best": best})
        return
    print(f"best epoch {best['epoch'] + 1:.0f}: mAP50 {best['map50']:.3f}, mAP50-95 {best['map50_95']:.3f}")
    print(f"{weights}\nNext: yolofast val --weights {weights} --data {config.dataset.data}")


def _trained_imgsz(weights: Path, imgsz: int | None) -> int:
    """The image size asked for, else the one in the weights file, else the default; checked."""
    from yolofast.models import read_metadata

    said = read_metadata(weights).get("imgsz", str(DatasetConfig.imgsz))
    if imgsz is None and not said.isdecimal():
        raise CheckpointError(f"{weights}: its header says imgsz '{said}', expected a number. Give --imgsz.")
    return DatasetConfig(imgsz=int(said) if imgsz is None else imgsz).imgsz


def val(args: ValArgs) -> None:
    from yolofast.pipeline import evaluate_run

    config = YOLOConfig().replace(
        data=args.data,
        imgsz=_trained_imgsz(args.weights, args.imgsz),
        batch=args.batch,
        device=args.device,
        workers=args.workers,
    )
    folder = args.project / args.name
    result = evaluate_run(args.weights, config, split=args.split, save_dir=folder)
    if args.json:
        print_json(result.to_dict())
        return
    print(result.table())
    if args.metrics == "coco":
        print(f"\n{result.coco_table()}")
    print(f"written to {folder}")


def predict(args: PredictArgs) -> None:
    from yolofast.pipeline import predict_run

    folder = args.project / args.name
    found = predict_run(
        args.weights,
        args.source,
        folder,
        imgsz=_trained_imgsz(args.weights, args.imgsz),
        conf=args.conf,
        iou=args.iou,
        max_det=args.max_det,
        device=args.device,
    )
    if args.json:
        print_json(found)
        return
    for entry in found:
        print(f"{entry['path']}: {len(entry['detections'])} objects")
    print(f"written to {folder}")


def export(args: ExportArgs) -> None:
    from yolofast.pipeline import export_run

    config = YOLOConfig(export=args.export).replace(
        data=args.data, imgsz=_trained_imgsz(args.weights, args.imgsz)
    )
    result = export_run(args.weights, config, args.out)
    if args.json:
        print_json(dataclasses.asdict(result))
        return
    print(f"{result.path} ({result.size_bytes / 2**20:.1f} MiB, {result.seconds:.1f} s)")
    if result.max_rel_diff is None:
        print("not compared with torch: give --data to check it on real images")
    else:
        print(f"differs from torch by at most {result.max_rel_diff:.1e} on {result.images_checked} images")


# ---------------------------------------------------------------- entry

COMMANDS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "demo": (DemoArgs, demo),
    "fetch": (FetchArgs, fetch),
    "analyze": (AnalyzeArgs, analyze),
    "check": (CheckArgs, check),
    "prepare": (PrepareArgs, prepare),
    "convert": (ConvertArgs, convert),
    "train": (TrainArgs, train),
    "val": (ValArgs, val),
    "predict": (PredictArgs, predict),
    "export": (ExportArgs, export),
    **BENCHES,
}


def _help() -> str:
    lines = [f"yolofast {__version__}: from raw images to a trained, exported YOLO detector", ""]
    lines += ["usage: yolofast COMMAND [options]", ""]
    lines += [f"  {name:13} {(kind.__doc__ or '').splitlines()[0]}" for name, (kind, _) in COMMANDS.items()]
    return "\n".join([*lines, "", "`yolofast COMMAND --help` explains the options of a command."])


def _split_command(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The command's name in `COMMANDS` and its arguments. Raises `ConfigError` for an unknown one."""
    first = argv[0]
    if first in COMMANDS:
        return first, argv[1:]
    subjects = [name.split()[1] for name in COMMANDS if name.startswith(f"{first} ")]
    if subjects:
        if len(argv) > 1 and argv[1] in subjects:
            return f"{first} {argv[1]}", argv[2:]
        got = f"'{argv[1]}'" if len(argv) > 1 else "nothing"
        raise ConfigError(f"{first}: got {got}, expected {' or '.join(subjects)}.")
    known = sorted({name.split()[0] for name in COMMANDS})
    raise ConfigError(f"unknown command '{first}'.{nearest(first, known)} Known: {', '.join(known)}.")


def _value(arguments: Sequence[str], flag: str) -> str | None:
    """What follows `flag` (or `flag=`) in the arguments, the last time."""
    found = None
    for index, argument in enumerate(arguments):
        if argument == flag and index + 1 < len(arguments):
            found = arguments[index + 1]
        elif argument.startswith(f"{flag}="):
            found = argument.removeprefix(f"{flag}=")
    return found


def _defaults(name: str, arguments: Sequence[str]) -> TrainArgs | None:
    """What flags change: for `train`, the settings in --config or of the run to --resume."""
    if name != "train" or "--help" in arguments:
        return None
    path = _value(arguments, "--config")
    if "--resume" in arguments:
        from yolofast.pipeline import resumed_config

        place = LoggingConfig()
        base = resumed_config(
            LoggingConfig(
                project=Path(_value(arguments, "--project") or place.project),
                name=_value(arguments, "--name") or place.name,
            )
        )
    elif path is not None:
        base = YOLOConfig.from_yaml(path)
    else:
        base = YOLOConfig()
    return TrainArgs(None, base.model, base.dataset, base.training, base.augment, base.logging)


def _parse(kind: type[ArgsT], name: str, arguments: Sequence[str]) -> ArgsT:
    """The arguments as `kind`; help is printed and exits, a mistake raises `ConfigError`."""
    defaults = _defaults(name, arguments)
    options: dict[str, Any] = {} if defaults is None else {"default": defaults}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed: ArgsT = tyro.cli(
                kind,
                prog=f"yolofast {name}",
                args=list(arguments),
                config=(tyro.conf.OmitArgPrefixes,),
                **options,
            )
            return parsed
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ConfigError(f"{name}: {_in_one_line(said.getvalue())} See yolofast {name} --help.") from None


def _in_one_line(framed: str) -> str:
    """The message of tyro's framed error, and the flags that it suggests, as one line.

    The frame is a title, the message, and more blocks, between rules drawn with lines or dashes.
    """
    blocks: list[list[str]] = [[]]
    for line in framed.strip().splitlines()[1:]:
        text = line.strip("│╰╯ ")
        if text.strip("─-"):
            blocks[-1].append(text)
        elif blocks[-1]:
            blocks.append([])
    message = " ".join(blocks[0]).removesuffix(".")
    unknown = message.startswith("Unrecognized")
    flags = [t.split()[0] for block in blocks[1:-1] for t in block if unknown and t.startswith("--")]
    return f"{message}. Did you mean {' or '.join(flags)}?" if flags else f"{message}."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if argv[0] in ("-V", "--version"):
        print(__version__)
        return 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names that are not UTF-8 are shown, not fatal
            stream.reconfigure(errors="backslashreplace")
    try:
        name, arguments = _split_command(argv)
        kind, command = COMMANDS[name]
        command(_parse(kind, name, arguments))
        sys.stdout.flush()
    except YolofastError as error:
        return _complain(error)
    except ModuleNotFoundError as error:
        if error.name not in TRAIN_PACKAGES:
            raise
        return _complain(missing_extra(error.name, "train", f"yolofast {argv[0]}"))
    except BrokenPipeError:
        # The reader of our output (head, say) has enough; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        return _complain(f"{place}{error.strerror or error}")
    except KeyboardInterrupt:
        print("yolofast: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _complain(error: object) -> int:
    print(f"yolofast: error: {error}", file=sys.stderr)
    return USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
