"""Normalised keys of file names: what tools and systems change in a name without meaning another file.

macOS decomposes accented letters, Windows ignores case, web tools write names as parts of URLs, and Label
Studio prefixes what it exports. Keys are only compared where the exact name is not found, and only a match
that is the single one on both sides counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote

from yolofast.images import SUFFIX_PATTERN
from yolofast.types import Finding

_SUFFIX = re.compile(rf"(?<=.)(?:{SUFFIX_PATTERN})$")
_QUERY = re.compile(rf"({SUFFIX_PATTERN})[?#].*", re.IGNORECASE | re.DOTALL)
_LOCAL_FILE = re.compile(r"\A.*[?&]d=")
"""Before the path in Label Studio's URLs of local files, `/data/local-files/?d=images/a.jpg`."""
_PREFIX = re.compile(r"(?!(?:19|20)\d{6})[0-9a-f]{8}-(?=.)")
"""The eight hexadecimal digits with which Label Studio prefixes names; dates look the same and are kept."""


def decoded(name: str) -> str:
    """A file name or path without the query of a URL and with its percent-encoding undone."""
    if "?" in name or "#" in name:
        name = _QUERY.sub(r"\1", _LOCAL_FILE.sub("", name))
    return unquote(name, errors="surrogateescape") if "%" in name else name


def name_key(name: str) -> str:
    """A name `decoded`, composed (NFC), ignoring case."""
    name = decoded(name)
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def short_key(name: str) -> str:
    """`name_key` of a stem without the prefix of an export, such as `1a2b3c4d-`, and without an image suffix
    (the label file of `a.jpg` may be `a.jpg.txt`, and that of `a.webp.jpg` `a.txt`)."""
    return _SUFFIX.sub("", _PREFIX.sub("", name_key(name), count=1))


KEYS: tuple[Callable[[str], str], ...] = (name_key, short_key)
"""The keys by which names are compared, one after the other."""


def same_name(a: str, b: str) -> bool:
    """Whether two stems are equal by a key. With two different prefixes or suffixes they are two files."""
    full, other = name_key(a), name_key(b)
    short = short_key(a)
    return full == other or (short == short_key(b) and short in (full, other))


def pair_by_key(ours: Iterable[str], theirs: Iterable[str]) -> dict[str, str]:
    """Pairs of equal names by key, each the only such pair for both of its names."""
    left, right, pairs = set(ours), set(theirs), dict[str, str]()
    for key in KEYS:
        there = by_key(right, key)
        for value, names in by_key(left, key).items():
            others = there.get(value, ())
            if len(names) == len(others) == 1 and same_name(names[0], others[0]):
                pairs[names[0]] = others[0]
        left.difference_update(pairs)
        right.difference_update(pairs.values())
    return pairs


def by_key(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    """Key -> the names that have it."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return groups


def matched_findings(matched: Mapping[str, str], root: Path) -> tuple[Finding, ...]:
    """One finding about names that were matched by key (name -> name); none without such names."""
    if not matched:
        return ()
    name, other = next(iter(matched.items()))
    message = (
        f"{len(matched)} names were matched although they differ in case, Unicode form, percent-encoding, "
        f"export prefix or suffix, such as '{name}' and '{other}'"
    )
    return (Finding("info", "names-matched", message, str(root), count=len(matched)),)
