"""From the category ids of COCO files to classes: by name, for each file by its own list.

Files that were exported one by one often number the same names differently, so an id means what its own file
says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yolofast.brief import brief, brief_text
from yolofast.errors import DataError
from yolofast.formats.coco.parser import CocoFile, as_integer, is_int64
from yolofast.formats.unique_names import check_names
from yolofast.types import Finding


@dataclass(frozen=True, slots=True)
class CocoClasses:
    """The classes of a dataset; `tables[i]` maps the category ids of file i to them, in ascending order."""

    names: tuple[str, ...]
    tables: tuple[Mapping[int, int], ...]
    findings: tuple[Finding, ...]
    evidence: str


def map_classes(files: Sequence[CocoFile]) -> CocoClasses:
    """The classes of COCO files.

    Where the files agree about ids and names, classes are numbered from 0 in the order of the ids, and a file
    may use an id that only another one names. Where they do not, classes are mapped by name. A category
    without annotations is left out when it is the root that Roboflow adds (the project, whose name the other
    categories have as `supercategory`), or repeats the name of one that is used.

    Raises `DataError` for a category without an id and a name, an id with two names, a name with two ids that
    are both used, files without names among others that disagree, and when there is no category.
    """
    named = [_category_names(file) for file in files]
    for file, names in zip(files, named, strict=True):
        check_names(names.values(), str(file.path))
    used = [_used_ids(file) for file in files]
    findings = [*_drop_root(files, named, used)]
    for file, names, ids in zip(files, named, used, strict=True):
        findings += _drop_repeats(file, names, ids)
    if not any(named):
        raise DataError(f"{files[0].path}: got no category, expected at least one.")
    ids_agree = _disagreement(files, named)
    if ids_agree is None:
        merged = {number: name for names in named for number, name in names.items()}
        ordered = {number: merged[number] for number in sorted(merged)}
        table = {number: i for i, number in enumerate(ordered)}
        gaps = (
            "" if list(table) == list(range(len(table))) else ", ids with gaps or not from 0: numbered anew"
        )
        evidence = f"{len(table)} categories{gaps}"
        return CocoClasses(tuple(ordered.values()), (table,) * len(files), tuple(findings), evidence)
    nameless = [file for file, names, ids in zip(files, named, used, strict=True) if ids and not names]
    if nameless:
        raise DataError(
            f"{nameless[0].path}: uses category ids without naming them, and the other files do not agree "
            f"({ids_agree.message}). Add its 'categories'."
        )
    classes = {name: i for i, name in enumerate(dict.fromkeys(n for names in named for n in names.values()))}
    tables = tuple({number: classes[names[number]] for number in sorted(names)} for names in named)
    evidence = f"{len(classes)} categories, numbered differently by the files: mapped by name"
    return CocoClasses(tuple(classes), tables, (*findings, ids_agree), evidence)


def _category_names(file: CocoFile) -> dict[int, str]:
    """Category id -> name, in ascending order."""
    names: dict[int, str] = {}
    for category in file.categories:
        number, name = as_integer(category.get("id")), category.get("name")
        if not is_int64(number) or not isinstance(name, str):
            raise DataError(
                f"{file.path}: category {brief(category)}: expected a whole number 'id' and a text 'name'."
            )
        if names.setdefault(number, name) != name:
            both = f"'{brief_text(names[number])}' and '{brief_text(name)}'"
            raise DataError(f"{file.path}: category id {number} is both {both}.")
    return {number: names[number] for number in sorted(names)}


def _used_ids(file: CocoFile) -> frozenset[int]:
    """The category ids of the annotations that are boxes."""
    good = np.ones(len(file.ids), dtype=np.bool_)
    good[list(file.problems)] = False
    ids = file.category_ids[good]
    if len(ids) and ids.min() >= 0 and ids.max() < 1 << 16:  # faster than sorting
        return frozenset(np.flatnonzero(np.bincount(ids)).tolist())
    return frozenset(np.unique(ids).tolist())


def _drop_root(
    files: Sequence[CocoFile], named: Sequence[dict[int, str]], used: Sequence[frozenset[int]]
) -> list[Finding]:
    """Remove the root category from `named` when no file uses it."""
    roots = [_root_id(file, names) for file, names in zip(files, named, strict=True)]
    if any(root in ids for root, ids in zip(roots, used, strict=True) if root is not None):
        return []
    dropped = []
    for file, root, names in zip(files, roots, named, strict=True):
        if root is not None:
            dropped.append((file, root, names.pop(root)))
    if not dropped:
        return []
    file, root, name = dropped[0]
    more = f" (so in {len(dropped)} files)" if len(dropped) > 1 else ""
    message = (
        f"category {root} '{name}' is the root that the others have as supercategory, without annotations: "
        f"it is no class{more}"
    )
    return [Finding("warning", "category-root", message, str(file.path))]


def _root_id(file: CocoFile, names: Mapping[int, str]) -> int | None:
    """The only category without a supercategory, when all others have its name as theirs."""
    above = {as_integer(category.get("id")): category.get("supercategory") for category in file.categories}
    tops = [number for number in names if above.get(number) in (None, "", "none")]
    if len(tops) != 1 or len(names) < 2:
        return None
    (root,) = tops
    return root if all(above[n] == names[root] for n in names if n != root) else None


def _drop_repeats(file: CocoFile, names: dict[int, str], used: frozenset[int]) -> list[Finding]:
    """Remove ids whose name another id has, when they are not used; two that are used are refused."""
    findings = []
    by_name: dict[str, list[int]] = {}
    for number, name in names.items():
        by_name.setdefault(name, []).append(number)
    for name, numbers in by_name.items():
        if len(numbers) == 1:
            continue
        with_boxes = [number for number in numbers if number in used]
        if len(with_boxes) > 1:
            raise DataError(
                f"{file.path}: categories {', '.join(map(str, numbers))} are all called '{name}', and more "
                "than one of them has annotations. Rename them, or give these annotations one category."
            )
        kept = with_boxes[0] if with_boxes else numbers[0]
        for number in numbers:
            if number != kept:
                del names[number]
        message = f"categories {', '.join(map(str, numbers))} are all called '{name}': only {kept} is used"
        findings.append(Finding("warning", "names-repeated", message, str(file.path)))
    return findings


def _disagreement(files: Sequence[CocoFile], named: Sequence[Mapping[int, str]]) -> Finding | None:
    """The first difference between two files: an id with two names, or a name with two ids."""
    name_of: dict[int, tuple[str, CocoFile]] = {}
    id_of: dict[str, tuple[int, CocoFile]] = {}
    for file, names in zip(files, named, strict=True):
        for number, name in names.items():
            known, first = name_of.setdefault(number, (name, file))
            message = f"category {number} is '{name}' here and '{known}' in {first.path.name}"
            if known == name:
                known_id, first = id_of.setdefault(name, (number, file))
                message = f"category '{name}' is {number} here and {known_id} in {first.path.name}"
                if known_id == number:
                    continue
            message += f" ({first.path}): classes are mapped by name, each file by its own list"
            return Finding("warning", "names-mapped", message, str(file.path))
    return None
