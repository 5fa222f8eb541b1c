"""Small files that ask for gigabytes or minutes, each through the commands that a user would run.

The floor: `yolofast analyze` of three images takes 45 MB and 0.2 s on an idle core, with OpenCV 70 MB; torch,
which `predict` and `val` import, takes 220 MB and 1.2 s. So the bound of 200 MB is on whole processes, and
for commands with torch on what a bomb adds.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.chaos import Attack, Ran, yolofast
from support.dataset_files import write_image, write_text, write_yolo
from support.image_bombs import BOMBS as IMAGE_BOMBS
from support.image_bombs import NOTES, png
from support.text_bombs import BOMBS as TEXT_BOMBS
from support.text_bombs import DATA, ROW

pytestmark = pytest.mark.chaos
MAX_MB = 200
MAX_SECONDS = 1.0
COMMANDS = {
    "analyze": lambda root, out: ("analyze", root),
    "check": lambda root, out: ("check", "--decode", root),
    "prepare": lambda root, out: ("prepare", root, "--out", out, "--max-side", "512"),
}


def assert_short(ran: Ran) -> None:
    """One clear line where the command is refused, and no text of any length where it goes on."""
    assert ran.code in (0, 2), ran.err
    assert len(ran.err) < 2000
    assert len(ran.out) < 20_000
    if ran.code == 2:
        assert len(ran.err.strip().splitlines()) == 1


def run_bomb(attack: Attack, make: Callable[[Path], object], command: str, top: Path) -> Ran:
    """One bomb through one command: in bounds, and nothing is left."""
    root, out = top / "set", top / "out"
    shutil.rmtree(top, ignore_errors=True)
    make(root)
    ran = yolofast(*COMMANDS[command](root, out), timeout=60)
    attack.saw(ran)
    assert_short(ran)
    assert ran.peak_mb < MAX_MB
    assert ran.cpu_seconds < MAX_SECONDS
    assert {path.name for path in top.iterdir()} <= {"set", "out"}
    assert out.exists() == (command == "prepare" and ran.code == 0)
    shutil.rmtree(top)
    return ran


def write_image_bomb(root: Path, suffix: str, data: bytes) -> None:
    write_yolo(root, {f"images/{name}.jpg": ROW for name in "abc"}, DATA)
    (root / f"images/bomb{suffix}").write_bytes(data)
    write_text(root / "labels/bomb.txt", ROW)


def test_image_bombs(tmp_path: Path) -> None:
    bombs = IMAGE_BOMBS | {
        kind: (".png", lambda note=note: png(64, 64, more=note())) for kind, note in NOTES.items()
    }
    tries = [(kind, command) for kind in bombs for command in COMMANDS]
    with Attack("image bombs through analyze, check --decode, prepare --max-side", len(tries)) as attack:
        for _, (kind, command) in zip(attack, tries, strict=False):
            suffix, make = bombs[kind]
            run_bomb(attack, lambda root: write_image_bomb(root, suffix, make()), command, tmp_path / "bomb")  # noqa: B023


def test_text_bombs(tmp_path: Path) -> None:
    tries = [(kind, command) for kind in TEXT_BOMBS for command in COMMANDS]
    with Attack("text bombs through analyze, check, prepare", len(tries)) as attack:
        for _, (kind, command) in zip(attack, tries, strict=False):
            run_bomb(attack, TEXT_BOMBS[kind], command, tmp_path / "bomb")


def test_image_bombs_through_predict_and_val(tmp_path: Path) -> None:
    """With all images of one folder: no more memory or time than without them, beyond what is measured."""
    torch = pytest.importorskip("torch")
    from yolofast.models import build_model
    from yolofast.models.weights import save_weights

    torch.manual_seed(0)
    weights = tmp_path / "p.safetensors"
    save_weights(build_model("p", 1), weights)
    write_yolo(tmp_path / "set", {f"images/{name}.jpg": ROW for name in "abc"}, DATA)
    write_image(tmp_path / "plain/a.jpg")
    images = tmp_path / "set/images"

    def predict(source: Path, name: str) -> Ran:
        words = ("--weights", weights, "--imgsz", "64", "--project", tmp_path / "runs", "--name", name)
        return yolofast("predict", "--source", source, *words, "--device", "cpu")

    with Attack("image bombs through predict and val", 2) as attack:
        plain = predict(tmp_path / "plain", "plain")
        for number, (suffix, make) in enumerate(IMAGE_BOMBS.values()):
            (images / f"bomb{number}{suffix}").write_bytes(make())
        steps = iter(attack)
        next(steps)
        ran = attack.saw(predict(images, "bombs"))
        assert "19 of 23 images could not be read" in ran.err
        assert ran.peak_mb < plain.peak_mb + 100
        next(steps)
        val = (
            "val",
            "--data",
            tmp_path / "set/data.yaml",
            "--weights",
            weights,
            "--imgsz",
            "64",
            "--device",
            "cpu",
        )
        ran = attack.saw(yolofast(*val, "--project", tmp_path / "runs"))
        assert ran.peak_mb < plain.peak_mb + 150
        assert not list(steps)
