"""The disk cache under attack: damaged, cut short, deleted; builders killed, and two at once."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest
from support.cache_folder import Folder
from support.chaos import Attack, python
from support.coloured_dataset import Plain, plain_samples, write_coloured
from support.loader_cases import dataset

from yolofast.load import Loader, YOLODataset
from yolofast.load.cache.folder import cache_path

pytestmark = pytest.mark.chaos

TESTS = Path(__file__).parents[1]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Images that a cache keeps as they are: no larger than the samples, and 4:2:0."""
    return write_coloured(tmp_path / "data", 6, kinds=("420",), sides=(20, 32))


def opened(data: Path, cache: Path | None) -> YOLODataset:
    kind = "none" if cache is None else "disk"
    return dataset(data, imgsz=32, augment=None, shuffle=False, cache=kind, cache_dir=cache)


def epoch(samples: YOLODataset, threads: int = 0) -> list[Plain]:
    loader = Loader(samples, 2, threads=threads, prefetch=1)
    try:
        return plain_samples(loader)
    finally:
        loader.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    return found


def test_flipped_bytes(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each is noticed with one line, and the pixels are those without a cache, then and at the next start."""
    expected = epoch(opened(data, None))
    cache = tmp_path / "cache"
    assert epoch(opened(data, cache)) == expected
    (path,) = cache.glob("*.planes")
    sound = path.read_bytes()
    warnings(caplog)
    with Attack("bytes of a cache file flipped", tries=1000) as attack:
        for random in attack:
            content = bytearray(sound)
            content[random.randrange(len(content))] ^= random.randrange(1, 256)
            path.write_bytes(content)
            assert epoch(opened(data, cache)) == expected
            assert len(told := warnings(caplog)) == 1, told
            assert epoch(opened(data, cache)) == expected
            assert warnings(caplog) == []


CUT = """
import faulthandler, logging, os, random, sys, threading, time
from pathlib import Path
faulthandler.enable()
logging.basicConfig(level=logging.WARNING, format="%(message)s")
sys.path.insert(0, sys.argv[1])
from support.coloured_dataset import plain_samples
from support.loader_cases import dataset
from yolofast.load import Loader
draw = random.Random(sys.argv[4])
def opened(kind):
    return dataset(sys.argv[2], imgsz=32, augment=None, shuffle=False, cache=kind, cache_dir=sys.argv[3])
expected = plain_samples(Loader(opened("none"), 2))
loader = Loader(opened("disk"), 2, threads=draw.randrange(4), prefetch=draw.randrange(1, 4))
for _ in range(draw.randrange(2)):
    assert plain_samples(loader) == expected
(path,) = Path(sys.argv[3]).glob("*.planes")
def cut():
    time.sleep(draw.random() * 0.01)
    os.truncate(path, draw.randrange(path.stat().st_size) if draw.random() < 0.8 else 0)
cutter = threading.Thread(target=cut)
cutter.start()
for _ in range(3):
    assert plain_samples(loader) == expected, "wrong pixels"
cutter.join()
assert plain_samples(loader) == expected, "wrong pixels"
loader.close()
"""


def test_files_cut_short_while_mapped(data: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with Attack("cache file cut short while mapped", tries=200) as attack:
        for random in attack:
            opened(data, cache)
            ran = attack.saw(python(CUT, TESTS, data, cache, str(random.random())))
            assert ran.code == 0, ran.err
            assert ran.err.count("\n") <= 1, ran.err


BUILD = """
import logging, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.cache_folder import Folder, picture_of
from yolofast.load.cache.disk import cache_on_disk
from yolofast.load.cache.folder import cache_path
root, caches, log = map(Path, sys.argv[2:])
images = sorted(map(str, root.iterdir()))
def load(image):
    with log.open("a") as file:
        file.write(f"{image}\\n")
    time.sleep(0.001)
    return picture_of(Path(images[image]).read_text())
print("begun", flush=True)
path = cache_path(caches, "data-train", images, "64")
cache = cache_on_disk(path, images, "64", load, threads=2, progress=False)
folder = Folder.__new__(Folder)
folder.images = images
folder.check(cache)
"""


def many_images(root: Path) -> Folder:
    return Folder(root, tuple(f"420 {40 + number % 9} {50 + number % 7} {number}" for number in range(20)))


def in_cache(folder: Folder, caches: Path) -> None:
    folder.images = sorted(map(str, folder.root.iterdir()))
    folder.check(folder.on_disk(cache_path(caches, "data-train", folder.images, "64"), "64"))


def test_builders_killed(tmp_path: Path) -> None:
    """Whenever it is: the next one builds the cache, and no half file of the killed one is left.

    One that is killed between writing its file and removing the one before it leaves both, until the next.
    """
    folder, caches = many_images(tmp_path / "images"), tmp_path / "cache"
    with Attack("builder of a cache killed", tries=100) as attack:
        for random in attack:
            folder.write(f"new{attack.done}.jpg", f"420 30 30 {attack.done}")
            if random.random() < 0.5:
                for left in caches.glob("*.planes"):
                    left.unlink()
            command = [sys.executable, "-c", BUILD, TESTS, folder.root, caches, tmp_path / "log"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(random.random() * 0.06)
                process.send_signal(signal.SIGKILL)
                _, err = process.communicate()
                assert process.returncode in (0, -signal.SIGKILL), err
            in_cache(folder, caches)
            left = [path.suffix for path in caches.iterdir()]
            assert set(left) == {".lock", ".planes"}
            assert len(left) <= 4


def test_pairs_of_builders(tmp_path: Path) -> None:
    """One builds, the other waits for it: each image is decoded once, and both have the right planes."""
    folder = many_images(tmp_path / "images")
    with Attack("two builders of one cache", tries=50) as attack:
        for random in attack:
            caches, log = tmp_path / f"cache{attack.done}", tmp_path / f"log{attack.done}"
            command = [sys.executable, "-c", BUILD, TESTS, folder.root, caches, log]
            pair = []
            for _ in range(2):
                pair.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
                time.sleep(random.random() * 0.02)
            for process in pair:
                _, err = process.communicate(timeout=60)
                assert process.returncode == 0, err
            assert sorted(map(int, log.read_text().split())) == list(range(len(folder.images)))
            assert sorted(path.suffix for path in caches.iterdir()) == [".lock", ".planes"]


def disturb(path: Path, random: Random) -> None:
    """What others may do to a file that they do not know to be in use."""
    content = path.read_bytes()
    other = path.with_name("other")
    match random.randrange(6):
        case 0:
            path.unlink()
        case 1:
            other.write_bytes(np.random.default_rng(random.randrange(1000)).bytes(len(content)))
            other.replace(path)
        case 2:
            other.write_bytes(content[: random.randrange(len(content))])
            other.replace(path)
        case 3:
            path.chmod(0)
        case 4:
            with path.open("ab") as file:
                file.write(b"more")
        case 5:
            path.rename(path.with_name(f"moved-{'0' * 16}.planes"))


def test_files_deleted_and_replaced_during_an_epoch(data: Path, tmp_path: Path) -> None:
    expected = epoch(opened(data, None))
    cache = tmp_path / "cache"
    with Attack("cache file deleted or replaced while it is used", tries=300) as attack:
        for random in attack:
            samples = opened(data, cache)
            (path,) = (p for p in cache.glob("data-*.planes"))
            delay = random.random() * 0.004

            def later(path: Path = path, random: Random = random, delay: float = delay) -> None:
                time.sleep(delay)
                disturb(path, random)

            thread = threading.Thread(target=later)
            thread.start()
            for _ in range(3):
                assert epoch(samples, threads=2) == expected
            thread.join()
            assert epoch(samples) == expected
            if path.exists():
                path.chmod(0o644)
            assert epoch(opened(data, cache)) == expected
