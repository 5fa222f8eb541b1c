"""The choice of validation images: random-looking, repeatable, with every class in its share.

Iterative stratification (Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, 2011) on
the sets of classes of the images:

1. Images of the same content are one unit, so that no picture is on both sides (unless there is only one
   content at all). Units without boxes are a class of their own.
2. The class with the fewest units that are not dealt yet is dealt next, the first such class when several
   have so few (background the last). Its units come in the order of a hash of the seed and their path.
3. A unit goes to the side that lacks most of that class; when equal, to the side that lacks most of all;
   then to training. A class with two units or more asks for at least one on each side.
4. A side that has its number of images is full. Exactly `count` images are chosen, where units of several
   images allow it.
5. A class that still is on one side only gets a unit moved there against another one of the same size,
   where no other class loses its last unit on a side by that.

All of it is integer arithmetic: the same on every platform, whatever the order of the images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

TRAIN, VALID = 0, 1
_BACKGROUND = -1
"""The class of images without boxes."""


@dataclass(slots=True)
class _Unit:
    """Images that stay together."""

    order: bytes
    classes: tuple[int, ...]
    size: int
    members: list[int]
    side: int = -1


def choose_valid(
    keys: Sequence[bytes],
    class_sets: Sequence[tuple[int, ...]],
    contents: Sequence[bytes],
    *,
    count: int,
    seed: int,
) -> set[int]:
    """The positions of `count` images for validation, the others being for training.

    Args:
        keys: relative path of each image, no two the same.
        class_sets: the classes of its boxes, each once.
        contents: something that is equal for images of the same content (a digest).
        count: images to choose, 1 to len(keys) - 1. Images of the same content stay together: with many of
            them it can be missed, by less than the largest such group.
        seed: another seed gives another choice.
    """
    units = _units(keys, class_sets, contents, seed)
    holders: dict[int, list[_Unit]] = {}
    for unit in units:
        for label in unit.classes:
            holders.setdefault(label, []).append(unit)
    _deal(units, holders, len(keys), count)
    for side in (TRAIN, VALID):
        if all(unit.side != side for unit in units):  # large units can crowd the others out
            min(units, key=lambda unit: unit.size).side = side
        _fill_gaps(units, holders, side)
    return {member for unit in units if unit.side == VALID for member in unit.members}


def _units(
    keys: Sequence[bytes], class_sets: Sequence[tuple[int, ...]], contents: Sequence[bytes], seed: int
) -> list[_Unit]:
    """The units in dealing order."""
    prefix = b"%d:" % seed
    if len(set(contents)) == 1:
        contents = keys
    by_content: dict[bytes, _Unit] = {}
    for i, (key, classes, content) in enumerate(zip(keys, class_sets, contents, strict=True)):
        order = hashlib.sha256(prefix + key).digest() + key
        unit = by_content.get(content)
        if unit is None:
            by_content[content] = _Unit(order, classes, 1, [i])
        else:
            unit.order = min(unit.order, order)
            unit.classes = tuple(sorted({*unit.classes, *classes}))
            unit.size += 1
            unit.members.append(i)
    for unit in by_content.values():
        unit.classes = unit.classes or (_BACKGROUND,)
    return sorted(by_content.values(), key=lambda unit: unit.order)


def _deal(units: list[_Unit], holders: dict[int, list[_Unit]], total: int, count: int) -> None:
    """Give every unit its side (points 2 to 4); shares are in units of 1 / total."""
    lacks: dict[int, list[int]] = {}
    for label, having in holders.items():
        number = len(having)
        share = count * number
        if number > 1:
            share = min(max(share, total), (number - 1) * total)
        lacks[label] = [number * total - share, share]
    room = [total - count, count]
    waiting = {label: len(having) for label, having in holders.items()}
    while waiting:
        label = min(waiting, key=lambda c: (waiting[c], c == _BACKGROUND, c))
        mine = lacks[label]
        for unit in holders[label]:
            if unit.side >= 0:
                continue
            better = mine[VALID] - mine[TRAIN] or room[VALID] - room[TRAIN]
            side = VALID if better > 0 else TRAIN
            if room[side] < unit.size:
                side = VALID if room[VALID] > room[TRAIN] else TRAIN
            unit.side = side
            room[side] -= unit.size
            for other in unit.classes:
                lacks[other][side] -= total
                if other in waiting:
                    waiting[other] -= 1
        del waiting[label]


def _fill_gaps(units: list[_Unit], holders: dict[int, list[_Unit]], side: int) -> None:
    """Give each class with two units or more one on `side`, where that can be had (point 5)."""
    held = {label: [0, 0] for label in holders}
    for unit in units:
        for label in unit.classes:
            held[label][unit.side] += 1
    for label in sorted(holders):
        if held[label][side] or len(holders[label]) < 2:
            continue
        there = [unit for unit in units if unit.side == side]
        for comes in holders[label]:
            leaves = _partner(comes, there, held, side)
            if leaves is not None:
                for unit, place in ((comes, side), (leaves, 1 - side)):
                    unit.side = place
                    for other in unit.classes:
                        held[other][place] += 1
                        held[other][1 - place] -= 1
                break


def _partner(comes: _Unit, there: list[_Unit], held: dict[int, list[int]], side: int) -> _Unit | None:
    """The first of the units on `side` that can be given for `comes`: no class may lose its last anywhere."""
    for unit in there:
        if unit.size != comes.size:
            continue
        given = all(held[c][side] > 1 or c in comes.classes for c in unit.classes)
        taken = all(held[c][1 - side] > 1 or c in unit.classes for c in comes.classes)
        if given and taken:
            return unit
    return None
