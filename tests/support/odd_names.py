"""Names of files, folders and classes that a program may trip over, and what its output may hold."""

from __future__ import annotations

import json
import os
import random
import re
import unicodedata
from pathlib import Path

from support.dataset_files import image_bytes

from yolofast.limits import MAX_NAME

MAX_BYTES = 255
"""The longest file name that common file systems support."""

ODD_TEXTS = (
    "\udcff", "\udcc3(x", "caf\udce9", "\udced\udcb2\udc80", "\ud800",  # not UTF-8, half a pair
    "a\x01b", "bell\x07", "back\b\b", "a\x7fb", "c1\x9b31m", "tab\there",  # control characters
    "two\nlines", "cr\rover", "vt\x0bff\x0c", "nel\x85x", "ls\u2028ps\u2029x",  # line ends
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b[2J\x1b[H", "\x1bP+q\x1b\\",  # terminal escapes
    "-leading", "--out", "-", " leading", "trailing ", " ", ".hidden", "..twice", "dot.", "...",
    "\u202egnp.evil", "\u2066a\u2069", "\u200fx\u200e", "zero\u200bwidth", "\ufeffbom",  # direction, width
    "%s%n%d", "{}", "{0.__class__}", "$x$", "$$", "$\\frac{", "$HOME", "`id`", "~", "*", "?x", "[ab]", "!x",
    "'", '"', "it's", "\\", "a\\nb", "&amp;", "<script>alert(1)</script>", "</style>", "]]>", "-->",
    "e\u0301", "\xe9", "\u212b", "\xc5", "\ufb01", "\u0130", "\xdf", "Straße", "STRASSE",  # twins
    "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "猫", "\U0010ffff", "\ufffe",
    "con", "nul", "com1", "a:b", "a;b", "a|b", "a,b", "a=b", "#x", "@x", "%41", "%2e%2e", "+x",
    "null", "true", "1e3", "0", "nan", "no", "- x", "x: y", "{a: b}", "[a", "&a", "*a", "!!python/object",
    "|", ">", "x #y",
)  # fmt: skip

_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def odd_text(rng: random.Random) -> str:
    """A text of odd pieces, neither empty nor with a NUL."""
    pieces = [rng.choice(ODD_TEXTS) for _ in range(rng.randint(1, 3))]
    return rng.choice(("", "x", "ж")) + rng.choice(("", "_", " ")).join(pieces)


def odd_texts(rng: random.Random, count: int) -> list[str]:
    """`count` different odd texts: every one of `ODD_TEXTS`, then mixtures; some fill a file name.

    None is longer than a class name may be.
    """
    texts = dict.fromkeys(ODD_TEXTS[:count])
    while len(texts) < count:
        text = odd_text(rng)
        texts[(text * 200)[:MAX_NAME] if rng.random() < 0.1 else text] = None
    return list(texts)


def file_name(text: str, suffix: str = "", limit: int = MAX_BYTES) -> str:
    """The file name nearest to `text`: no slash, no half pair, not `.` or `..`, at most `limit` bytes."""
    text = re.sub("[/\ud800-\udc7f\udd00-\udfff]", "_", text)
    while len(os.fsencode(text + suffix)) > limit:
        text = text[:-1]
    name = text + suffix
    return f"{name}_" if name in ("", ".", "..") else name


def file_names(texts: list[str], suffix: str) -> list[str]:
    """A file name for each text; names that are one on many file systems get a number."""
    taken: set[str] = set()
    names = []
    for number, text in enumerate(texts):
        name = file_name(text, suffix)
        if _key(name) in taken:
            name = file_name(text, f"~{number}{suffix}")
        taken.add(_key(name))
        names.append(name)
    return names


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_plain_output(text: str, *, progress: bool = False) -> bool:
    """Whether output can be shown on any terminal: UTF-8, no escapes, no control or direction characters.

    `progress` allows for the carriage returns, and the cursor movements, of progress bars.
    """
    if progress:
        text = re.sub(r"\x1b\[A|\r", "", text)
    return (
        not _UNPRINTABLE.search(text)
        and "\r" not in text
        and not any("\ud800" <= c <= "\udfff" for c in text)
    )


def write_yolo_dataset(root: Path, names: list[str], classes: list[str], folder: str = "") -> Path:
    """A YOLO dataset with an image of each file name and a box in it, the classes in turn; returns data.yaml.

    The last of each four is in the split valid. All images differ.
    """
    for number, name in enumerate(names):
        split = "valid" if number % 4 == 3 else "train"
        image = root / split / "images" / folder / name
        label = root / split / "labels" / folder / f"{os.path.splitext(name)[0]}.txt"  # noqa: PTH122
        for path in (image, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(image_bytes(48, 32, "JPEG", str(number)))
        label.write_text(f"{number % len(classes)} 0.5 0.5 0.4 0.6\n", encoding="ascii")
    # JSON is YAML: the escapes of both name any character
    content = {"train": "train/images", "val": "valid/images", "names": classes}
    (root / "data.yaml").write_text(json.dumps(content), encoding="ascii")
    return root / "data.yaml"
