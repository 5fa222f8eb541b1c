"""Chooses the validation images: pseudo-random, repeatable, with a fair share of every class.

Iterative stratification (Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, 2011) on
the sets of classes of the images:

1. Images of the same content are one unit, so that no image is on both sides (unless all images are equal).
   Units without boxes form a class of their own.
2. The class with the fewest unassigned units is assigned next; ties go to the lower class (background last).
   Its units are taken in the order of a hash of the seed and their path.
3. A unit goes to the side that lacks most of that class; on a tie, to the side that lacks most images; then
   to training. A class with two units or more demands at least one on each side.
4. A side that has reached its number of images is full. Exactly `count` images are chosen, unless units of
   several images prevent it.
5. When a class is still on one side only, one of its units is swapped with a unit of the same size on the
   other side, provided no other class loses its last unit on a side.

All arithmetic is in integers: the result is the same on every platform, whatever the order of the images.
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
    """Images that stay on one side."""

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
    """The indices of `count` images for validation; all others are for training.

    Args:
        keys: relative path of each image, unique.
        class_sets: the classes of the boxes of each image, each once.
        contents: a digest of each image, equal for images of the same content.
        count: images to choose, 1 to len(keys) - 1. Images of the same content stay together: with many of
            them, the result can differ from `count` by less than the largest such group.
        seed: another seed gives another choice.
    """
    units = _units(keys, class_sets, contents, seed)
    holders: dict[int, list[_Unit]] = {}
    for unit in units:
        for label in unit.classes:
            holders.setdefault(label, []).append(unit)
    _assign(units, holders, len(keys), count)
    for side in (TRAIN, VALID):
        if all(unit.side != side for unit in units):  # large units can crowd the others out
            min(units, key=lambda unit: unit.size).side = side
        _fill_gaps(units, holders, side)
    return {member for unit in units if unit.side == VALID for member in unit.members}


def _units(
    keys: Sequence[bytes], class_sets: Sequence[tuple[int, ...]], contents: Sequence[bytes], seed: int
) -> list[_Unit]:
    """The units in the order of assignment."""
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


def _assign(units: list[_Unit], holders: dict[int, list[_Unit]], total: int, count: int) -> None:
    """Assign every unit to a side (points 2 to 4); shares are in units of 1 / total."""
    demand: dict[int, list[int]] = {}
    for label, having in holders.items():
        number = len(having)
        share = count * number
        if number > 1:
            share = min(max(share, total), (number - 1) * total)
        demand[label] = [number * total - share, share]
    free = [total - count, count]
    unassigned = {label: len(having) for label, having in holders.items()}
    while unassigned:
        label = min(unassigned, key=lambda c: (unassigned[c], c == _BACKGROUND, c))
        mine = demand[label]
        for unit in holders[label]:
            if unit.side >= 0:
                continue
            better = mine[VALID] - mine[TRAIN] or free[VALID] - free[TRAIN]
            side = VALID if better > 0 else TRAIN
            if free[side] < unit.size:
                side = VALID if free[VALID] > free[TRAIN] else TRAIN
            unit.side = side
            free[side] -= unit.size
            for other in unit.classes:
                demand[other][side] -= total
                if other in unassigned:
                    unassigned[other] -= 1
        del unassigned[label]


def _fill_gaps(units: list[_Unit], holders: dict[int, list[_Unit]], side: int) -> None:
    """Give each class with two units or more one on `side`, where possible (point 5)."""
    held = {label: [0, 0] for label in holders}
    for unit in units:
        for label in unit.classes:
            held[label][unit.side] += 1
    for label in sorted(holders):
        if held[label][side] or len(holders[label]) < 2:
            continue
        there = [unit for unit in units if unit.side == side]
        for incoming in holders[label]:
            outgoing = _swap_partner(incoming, there, held, side)
            if outgoing is not None:
                for unit, new_side in ((incoming, side), (outgoing, 1 - side)):
                    unit.side = new_side
                    for other in unit.classes:
                        held[other][new_side] += 1
                        held[other][1 - new_side] -= 1
                break


def _swap_partner(incoming: _Unit, there: list[_Unit], held: dict[int, list[int]], side: int) -> _Unit | None:
    """The first unit on `side` that can be swapped for `incoming`: no class may lose its last unit."""
    for unit in there:
        if unit.size != incoming.size:
            continue
        can_leave = all(held[c][side] > 1 or c in incoming.classes for c in unit.classes)
        can_come = all(held[c][1 - side] > 1 or c in unit.classes for c in incoming.classes)
        if can_leave and can_come:
            return unit
    return None
