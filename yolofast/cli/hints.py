"""What the flags and commands of other trainers are called here: one table for all commands."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from yolofast.errors import nearest

FLAGS: dict[str, tuple[str, ...]] = {
    # data and size
    "--img": ("--imgsz",),
    "--imgs": ("--imgsz",),
    "--img-size": ("--imgsz",),
    "--image-size": ("--imgsz",),
    "--input-size": ("--imgsz",),
    "--size": ("--imgsz",),
    "--dataset": ("--data", "--source"),
    "--dataset-dir": ("--data", "--source"),
    "--input": ("--source", "--data"),
    "--images": ("--source", "--data"),
    "--task": ("--split",),
    "--subset": ("--split",),
    # model and weights
    "--checkpoint": ("--weights",),
    "--ckpt": ("--weights",),
    "--model": ("--weights",),
    "--model-path": ("--weights",),
    "--pretrained": ("--weights",),
    "--arch": ("--model",),
    "--cfg": ("--model n, s, m, l or x; settings come from --config FILE", "--weights"),
    "--hyp": ("--config",),
    # the run
    "-b": ("--batch",),
    "--bs": ("--batch",),
    "--batch-size": ("--batch",),
    "-e": ("--epochs",),
    "--max-epochs": ("--epochs",),
    "--num-epochs": ("--epochs",),
    "-d": ("--device",),
    "--gpu": ("--device cuda",),
    "--gpus": ("--device cuda",),
    "--cuda": ("--device cuda",),
    "--cpu": ("--device cpu",),
    "-j": ("--workers", "--threads"),
    "--num-workers": ("--workers", "--threads"),
    "--threads": ("--workers",),
    "--workers": ("--threads",),
    "--output": ("--out", "--project and --name"),
    "--output-dir": ("--out", "--project and --name"),
    "--out-dir": ("--out", "--project and --name"),
    "--save-dir": ("--out", "--project and --name"),
    "--out": ("--project and --name",),
    "--verbose": ("Progress is always shown",),
    "--exist-ok": ("Every run gets a folder of its own",),
    "--resume-from": ("--resume",),
    "--nc": ("The classes are those of --data",),
    # optimisation
    "--lr": ("--lr0",),
    "--learning-rate": ("--lr0",),
    "--wd": ("--weight-decay",),
    "--optim": ("--optimizer",),
    "--cos-lr": ("--schedule cosine",),
    "--linear-lr": ("--schedule linear",),
    "--no-amp": ("--amp off",),
    "--accumulate": ("--nbs",),
    "--warmup": ("--warmup-epochs",),
    "--scheduler": ("--schedule",),
    "--lr-scheduler": ("--schedule",),
    "--early-stopping": ("--patience",),
    "--grad-clip": ("--clip-norm",),
    "--random-seed": ("--seed",),
    "--noplots": ("--no-plots",),
    "--flip-lr": ("--fliplr",),
    "--flip-ud": ("--flipud",),
    # detections
    "--conf-thres": ("--conf",),
    "--conf-threshold": ("--conf",),
    "--confidence": ("--conf",),
    "--threshold": ("--conf",),
    "--score-thr": ("--conf",),
    "--iou-thres": ("--iou",),
    "--iou-threshold": ("--iou",),
    "--nms-thres": ("--iou",),
    "--nms-threshold": ("--iou",),
    "--max-detections": ("--max-det",),
    "--save-json": ("predictions.json is always written",),
    "--save-txt": ("predictions.json is always written",),
    "--nosave": ("--no-save",),
    "--line-thickness": ("--line-width",),
    # export
    "--include": ("--format",),
    "--nms": ("--include-nms", "--iou"),
    "--fp16": ("--half", "--half-precision", "--amp on"),
    "--half": ("--half-precision", "--amp on"),
    "--opset-version": ("--opset",),
    "--dynamic-axes": ("--dynamic",),
    # data stages
    "--val-split": ("--val-fraction",),
    "--val-ratio": ("--val-fraction",),
    "--strict": ("--fail-on warning",),
}
"""Flag of another tool -> what it is here: the first entry whose flag the command has; entries that name no
flag are whole sentences, and come last."""

COMMANDS = {
    "benchmark": "bench",
    "detect": "predict",
    "download": "fetch",
    "eval": "val",
    "evaluate": "val",
    "fit": "train",
    "infer": "predict",
    "inference": "predict",
    "test": "val",
    "validate": "val",
}
"""Command of another tool -> ours."""


def flag_hint(argument: str, known: Collection[str]) -> str:
    """The text " Here it is --batch." for an unknown argument such as `--batch-size`, or an empty string.

    `known` are the flags of the command.
    """
    flag, equals, value = argument.partition("=")
    if not argument.startswith("-"):
        ours = "--" + flag.replace("_", "-")
        return f" Here it is {ours} {value}." if equals and ours in known else ""
    for entry in FLAGS.get(flag, ()):
        if not entry.startswith("-"):
            return f" {entry}."
        if entry.split()[0] in known:
            return f" Here it is {entry}."
    return nearest(flag, known)


def command_hint(words: Sequence[str], known: Collection[str]) -> str:
    """The text " Did you mean 'val'?" for a line that begins with an unknown command, or an empty string."""
    first, *more = words
    if more and more[0] in known:  # `detect train`
        return f" Did you mean '{more[0]}'?"
    if first in COMMANDS:
        return f" Did you mean '{COMMANDS[first]}'?"
    return nearest(first, known)
