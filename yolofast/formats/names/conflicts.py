"""Files of a tree that name classes, and contradictions between them.

One source is used (data.yaml before class files for labels with class numbers; the labels themselves when
they contain names); all others are compared with it, and each contradiction is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from yolofast.errors import DataError
from yolofast.formats.data_yaml import read_class_names
from yolofast.formats.discover import FileTree
from yolofast.formats.names.reader import read_class_file
from yolofast.printable import command_line, printable
from yolofast.types import Finding, Severity

_SHOWN = 5
_SEPARATORS = re.compile(r"[\s_-]+")


def class_sources(
    tree: FileTree, skip: Collection[Path] = ()
) -> Iterator[tuple[Path, tuple[str, ...] | Finding]]:
    """Each class file and each YAML file with `names`, except `skip`, with its names or what is wrong."""
    for path in tree.class_files:
        if path in skip:
            continue
        try:
            yield path, read_class_file(path)
        except DataError as error:
            yield path, _unreadable(path, str(error))
    for path in tree.yamls:
        if path in skip:
            continue
        try:
            names = read_class_names(path)
        except DataError:
            continue  # the file of another tool; an invalid data.yaml is an error of the reader
        if names is not None:
            yield path, names


def _unreadable(path: Path, message: str) -> Finding:
    """The message of an error about `path` as a finding, with the line moved out of the text."""
    rest = message.removeprefix(f"{printable(str(path))}:")
    line, _, after = rest.partition(": ")
    if line.isdecimal():
        return Finding("warning", "names-unreadable", after, str(path), int(line))
    return Finding("warning", "names-unreadable", rest.strip(), str(path))


def _shown(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(f"'{n}'" for n in names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def id_conflicts(
    tree: FileTree,
    names: tuple[str, ...],
    used: Sequence[Path],
    severity: Severity,
    agreeing: Collection[tuple[str, ...]] = (),
) -> tuple[Finding, ...]:
    """Findings about sources that name class ids otherwise than the files `used`, whose `names` are used.

    `agreeing` are the lists of `used` where each rules a part of the dataset: an equal list is no conflict.
    """
    found = []
    source = " and ".join(map(tree.relative, used))
    for path, other in class_sources(tree, skip=used):
        if isinstance(other, Finding):
            found.append(other)
        elif other != names and other not in agreeing:
            first = next(
                (i for i, pair in enumerate(zip(other, names, strict=False)) if pair[0] != pair[1]), None
            )
            message = f"names {len(other)} classes, {source} {len(names)}"
            if first is not None:
                message = f"class {first} is '{other[first]}' here and '{names[first]}' in {source}"
            message += ": the latter counts. Make them agree, or remove one."
            found.append(Finding(severity, "names-conflict", message, str(path)))
    return tuple(found)


def name_conflicts(tree: FileTree, names: tuple[str, ...], label_format: str) -> tuple[Finding, ...]:
    """Findings about sources that lack names which the labels use. Additional names are no contradiction."""
    found = []
    for path, other in class_sources(tree):
        if isinstance(other, Finding):
            found.append(other)
            continue
        lacking = sorted(set(names) - set(other))
        if lacking:
            message = (
                f"names {_shown(other)}, without {_shown(lacking)} of the {label_format} labels, which count"
            )
            found.append(Finding("warning", "names-conflict", message, str(path)))
    return tuple(found)


def similar_names(names: Sequence[str], root: Path) -> tuple[Finding, ...]:
    """A finding for each group of classes whose names differ only in case, spaces, hyphens or underscores."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_SEPARATORS.sub(" ", name).strip().casefold(), []).append(name)
    found = []
    for group in groups.values():
        if len(group) > 1:
            shown = ", ".join(f"'{name}'" for name in group)
            kept = next((name for name in group if name == name.lower()), group[0])
            renames = command_line(*(f"{name}={kept}" for name in group if name != kept))
            message = (
                f"classes {shown} differ only in case or separators. If they are one class: yolofast prepare "
                f"... --rename {renames}"
            )
            found.append(Finding("warning", "names-case", message, str(root)))
    return tuple(found)
