"""Odd names of files, folders and classes through every command: no crash, no escape, no silent loss.

Each command ends with exit code 0, or 2 and one line; it prints only what any terminal shows, and what it
writes is valid and finds its files again.
"""

from __future__ import annotations

import json
import os
import random
import re
import tarfile
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.chaos import Attack, Ran, yolofast
from support.dataset_files import image_bytes
from support.in_process import command
from support.odd_names import file_name, file_names, is_plain_output, odd_texts, write_yolo_dataset

pytestmark = pytest.mark.chaos

NAMES = 300
GROUP = 50
HALF_PAIRS = re.compile("[\ud800-\udfff]")


def settled(ran: Ran, *, refused: bool = False) -> bool:
    """Whether a command succeeded; else it was refused with one line. Its output is plain in any case."""
    assert is_plain_output(ran.out), ascii(ran.out)
    assert is_plain_output(ran.err, progress=True), ascii(ran.err)
    assert ran.code in ((0, 2) if refused else (0,)), ascii(ran.err)
    if ran.code == 2:
        last = ran.err.rstrip("\n").split("\n")[-1].split("\r")[-1]
        assert last.startswith("yolofast: error: "), ascii(ran.err)
    return ran.code == 0


def read_json(path: Path) -> object:
    return json.loads(path.read_bytes().decode("utf-8"))


def pack(root: Path, archive: Path) -> int:
    """Put the files of a dataset into a tar or zip; returns the number of images packed.

    Without those with a backslash, which separates folders in the archives of some programs.
    """
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and "\\" not in str(path)]
    if archive.suffix == ".zip":
        files = [path for path in files if not HALF_PAIRS.search(str(path))]
        with zipfile.ZipFile(archive, "w") as packed:
            for path in files:
                packed.writestr(zipfile.ZipInfo(str(path.relative_to(root))), path.read_bytes())
    else:
        with tarfile.open(archive, "w") as packed:
            for path in files:
                packed.add(path, str(path.relative_to(root)))
    return sum(path.name.endswith(".jpg") for path in files)


def through_every_command(attack: Attack, work: Path, texts: list[str], *, odd_folder: bool) -> None:
    """One dataset with an image and a class of each text, in folders of such names."""
    names = file_names(texts, ".jpg")
    folders = iter(file_names([text for text in texts if not text.startswith(".")], "") if odd_folder else ())
    work = work / next(folders, "work")
    root, runs = work / next(folders, "set"), work / next(folders, "runs")
    data = write_yolo_dataset(root, names, texts, next(folders, ""))
    images = sum(not name.startswith(".") for name in names)

    def run(*words: object, refused: bool = False) -> Ran:
        ran = attack.saw(yolofast(*words, timeout=280))
        settled(ran, refused=refused)
        return ran

    for suffix in (".tar", ".zip"):
        packed = pack(root, work / f"packed{suffix}")
        fetched = work / f"fetched{suffix[1:]}"
        if run("fetch", work / f"packed{suffix}", "--out", fetched, refused=True).code == 0:
            assert sum(path.name.endswith(".jpg") for path in fetched.rglob("*")) == packed

    info = json.loads(run("analyze", root, "--json").out)
    assert (info["total_images"], info["total_boxes"]) == (images, images)
    hidden = len(names) - images
    assert any(f["code"] == "image-hidden" and f["count"] == hidden for f in info["findings"]) == (hidden > 0)
    run("analyze", root)
    run("check", root, "--html", work / "report.html")
    page = (work / "report.html").read_bytes().decode("utf-8")
    HTMLParser().feed(page)
    assert is_plain_output(page)
    assert "<script>" not in page
    json.loads(run("check", root, "--json").out)

    prepared = work / "prepared"
    done = json.loads(run("prepare", root, "--out", prepared, "--json").out)
    assert sum(done["images"].values()) == sum(done["boxes"].values()) == images
    manifest = read_json(prepared / "manifest.json")
    assert isinstance(manifest, dict)
    assert manifest["classes"] == texts
    for entry in manifest["images"]:
        assert (prepared / entry["split"] / "images" / entry["name"]).exists()
        assert (root / entry["source"]).exists()

    run("convert", root, "--to", "coco", "--out", work / "coco")
    for path in (work / "coco" / "annotations").iterdir():
        listed = read_json(path)
        assert isinstance(listed, dict)
        assert [category["name"] for category in listed["categories"]] == texts
        split = path.stem.removeprefix("instances_")
        assert all((work / "coco" / "images" / split / e["file_name"]).exists() for e in listed["images"])
    run("convert", root, "--to", "voc", "--out", work / "voc", refused=True)  # XML cannot hold every name

    data = prepared / "data.yaml"
    trained = ("--model", "p", "--imgsz", 64, "--epochs", 1, "--workers", 1, "--project", runs)
    run("train", "--data", data, *trained)
    weights = runs / "train" / "weights" / "best.safetensors"
    run("val", "--data", data, "--weights", weights, "--project", runs, "--conf", 0.001)
    metrics = read_json(runs / "val" / "metrics.json")
    assert isinstance(metrics, dict)
    assert metrics["boxes"] == done["boxes"]["valid"]
    assert set(metrics["classes"]) == set(texts)
    assert all(Path(file).exists() for file in metrics["files"].values())
    assert len(metrics["files"]) == 7
    source = prepared / "valid" / "images"
    run("predict", "--weights", weights, "--source", source, "--project", runs, "--conf", 0.001)
    found = read_json(runs / "predict" / "detections.json")
    assert isinstance(found, list)
    assert {os.path.realpath(e["path"]) for e in found} == {os.path.realpath(p) for p in source.iterdir()}
    assert len(list((runs / "predict").iterdir())) == len(found) + 1, "a picture of each image"
    run("export", "--weights", weights, "--format", "onnx", "--imgsz", 64, "--data", data)


@pytest.mark.parametrize("odd_folder", [False, True], ids=["names", "names and folders"])
def test_every_command_takes_odd_names(odd_folder: bool, tmp_path: Path) -> None:
    what = "names and folders" if odd_folder else "names"
    title = f"odd {what} through every command, {GROUP} in each try"
    with Attack(title, tries=NAMES // GROUP) as attack:
        texts: list[str] = []
        for number, rng in enumerate(attack):
            texts = texts or odd_texts(rng, NAMES)
            chosen = texts[number :: NAMES // GROUP]
            through_every_command(attack, tmp_path / str(number), chosen, odd_folder=odd_folder)


def one_name(text: str, work: Path, model_classes: list[str], rng: random.Random) -> None:
    """A name as the value of every option that takes one; commands run in this process."""
    import shutil

    from yolofast.models import build_model, save_weights

    weights = work / "model.safetensors"
    if not weights.exists():
        names = tuple(model_classes)
        save_weights(build_model("p", len(names), class_names=names), weights)
    image, folder, own_weights = file_name(text, ".jpg"), file_name(text), file_name(text, ".safetensors")
    (work / image).write_bytes(image_bytes(48, 32, "JPEG", "one"))
    if not (work / own_weights).exists():
        os.link(weights, work / own_weights)
    write_yolo_dataset(work / "plain", ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], ["x"])
    shutil.copytree(work / "plain", work / "sets" / folder, dirs_exist_ok=True)
    sized = ("--imgsz", "64")
    predict = ("predict", "--weights", "model.safetensors", *sized)
    for words in (
        (*predict, f"--source={image}", f"--project={folder}~", f"--name={folder}"),
        (*predict, "--source", image, "--project", folder, "--name", folder),
        ("predict", f"--weights={own_weights}", "--source", "plain/valid/images", "--project", "p", *sized),
        (*predict, "--source", f"sets/{folder}/valid/images", "--project", "p"),
        (*predict, "--source", f"{image}.missing", "--project", "p"),
        (*predict, "--source", image, "--project", "p", "--classes", text),
        ("analyze", f"sets/{folder}"),
        ("analyze", folder),
        ("analyze", f"sets/{folder}/data.yaml", "--label-format", text),
        ("check", f"sets/{folder}", "--html", f"{folder}.html"),
        ("prepare", f"sets/{folder}", f"--out=prepared/{folder}"),
        ("prepare", "plain", "--out", "renamed", "--rename", f"x={text}"),
        ("convert", f"sets/{folder}", "--to", "coco", f"--out=coco/{folder}"),
        ("fetch", folder, "--out", f"fetched/{folder}"),
        (f"{text}",),
        ("train", f"--{text}"),
        ("train", "--data", f"{folder}.yaml", "--config", folder),
        ("train", "--resume", folder),
    ):
        settled(command(*words, cwd=work), refused=True)
    for made in ("p", "prepared", "coco", "fetched", "sets", "renamed"):
        shutil.rmtree(work / made, ignore_errors=True)


def test_every_option_takes_an_odd_name(tmp_path: Path) -> None:
    with Attack("one odd name in every place of a command line", tries=NAMES) as attack:
        texts: list[str] = []
        for number, rng in enumerate(attack):
            texts = texts or odd_texts(rng, NAMES)
            one_name(texts[number], tmp_path, texts[:3], rng)
