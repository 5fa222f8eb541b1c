"""`yolofast prepare` killed at any moment: the next run gives the same bytes, and nothing else is left."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.dataset_files import tree_digest, write_text

from yolofast.prepare import prepare_dataset

IMAGES, KILLS = 200, 10
MAX_SIDE = 200


def generated(root: Path, images: int = IMAGES) -> Path:
    """Smooth pictures of 400x300, all different, each with a few boxes."""
    rng = np.random.default_rng(0)
    root.mkdir()
    for i in range(images):
        corners = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
        corners.resize((400, 300)).save(root / f"{i}.jpg", quality=80)
        rows = rng.uniform(0.3, 0.6, (3, 4)).round(4).tolist()
        write_text(root / f"{i}.txt", "".join(f"{i % 5} {x} {y} {w} {h}\n" for x, y, w, h in rows))
    return root


def start(source: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "yolofast.cli", "prepare", str(source), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--max-side", str(MAX_SIDE)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for_work(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Return when the process has begun to write, or has ended."""
    while process.poll() is None and not any(p.name.startswith(".out.") for p in folder.iterdir()):
        time.sleep(0.002)


@pytest.mark.deep
@pytest.mark.parametrize("replaces", [False, True], ids=["fresh", "replacing"])
def test_killed_at_random_moments(tmp_path: Path, replaces: bool) -> None:
    source, folder = generated(tmp_path / "set"), tmp_path / "made"
    folder.mkdir()
    out = folder / "out"
    before = tree_digest(source)
    process = start(source, out)
    wait_for_work(process, folder)
    begun = time.monotonic()
    assert process.wait() == 0
    seconds = time.monotonic() - begun
    expected = tree_digest(out)
    old = tree_digest(prepare_dataset(source, out, seed=1).root) if replaces else {}
    draw, killed = random.Random(int(replaces)), 0
    for moment in range(KILLS):
        if not replaces:
            out.rename(tmp_path / f"old{moment}")
        process = start(source, out)
        wait_for_work(process, folder)
        time.sleep(draw.uniform(0, seconds))
        process.kill()
        killed += process.wait() != 0
        if out.exists():
            assert tree_digest(out) in (expected, old)
        prepare_dataset(source, out, max_side=MAX_SIDE)
        assert tree_digest(out) == expected
        assert [p.name for p in folder.iterdir()] == ["out"]
        if replaces:
            prepare_dataset(source, out, seed=1)
    assert killed >= KILLS // 4  # the others had ended
    assert tree_digest(source) == before


def test_killed_while_the_old_dataset_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one is in place and complete, so that the next run has nothing to make."""
    source, folder = generated(tmp_path / "set", images=4), tmp_path / "made"
    out = folder / "out"
    prepare_dataset(source, out, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr("yolofast.work_folder._settle", lambda work, target: None)
        prepare_dataset(source, out, max_side=MAX_SIDE)
    expected = tree_digest(out)
    assert len(list(folder.iterdir())) == 2
    prepare_dataset(source, out, max_side=MAX_SIDE)
    assert tree_digest(out) == expected
    assert [p.name for p in folder.iterdir()] == ["out"]
