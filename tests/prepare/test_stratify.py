"""choose_valid: a repeatable choice with a fair share of every class."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolofast.prepare.stratify import choose_valid

ClassSets = list[tuple[int, ...]]
class_sets = st.lists(st.lists(st.integers(0, 6), max_size=3, unique=True).map(lambda c: tuple(sorted(c))))


def keys(count: int) -> list[bytes]:
    return [b"images/%d.jpg" % i for i in range(count)]


def chosen(sets: ClassSets, count: int, seed: int = 0, contents: list[bytes] | None = None) -> set[int]:
    names = keys(len(sets))
    return choose_valid(names, sets, contents or names, count=count, seed=seed)


@given(class_sets.filter(lambda s: len(s) > 1), st.floats(0, 1), st.integers(0, 5))
def test_exact_count_and_the_same_for_any_order(sets: ClassSets, share: float, seed: int) -> None:
    count = min(max(1, round(share * len(sets))), len(sets) - 1)
    first = chosen(sets, count, seed)
    assert len(first) == count
    order = np.random.default_rng(seed).permutation(len(sets)).tolist()
    names = keys(len(sets))
    again = choose_valid(
        [names[i] for i in order], [sets[i] for i in order], [names[i] for i in order], count=count, seed=seed
    )
    assert {order[i] for i in again} == first


@given(class_sets.filter(lambda s: len(s) > 1), st.data())
def test_images_of_one_content_stay_together(sets: ClassSets, data: st.DataObject) -> None:
    contents = data.draw(st.lists(st.binary(max_size=1), min_size=len(sets), max_size=len(sets)))
    groups = Counter(contents)
    count = max(1, len(sets) // 3)
    valid = chosen(sets, count, contents=contents)
    assert 0 < len(valid) < len(sets)
    if len(groups) > 1:
        assert {contents[i] for i in valid}.isdisjoint(c for i, c in enumerate(contents) if i not in valid)
        assert abs(len(valid) - count) < max(groups.values()) or len(groups) == 2


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_class_shares_are_closer_than_those_of_a_random_choice(fraction: float) -> None:
    rng = np.random.default_rng(3)
    weights = 1 / np.arange(1, 41) ** 1.5
    sets = [tuple(np.flatnonzero(rng.random(40) < weights * 0.5).tolist()) for _ in range(3000)]
    total = Counter(c for s in sets for c in s)
    count = round(fraction * len(sets))

    def miss(valid: set[int]) -> float:
        got = Counter(c for i in valid for c in sets[i])
        return sum(abs(got[c] / number - fraction) for c, number in total.items())

    valid = chosen(sets, count)
    drawn = [miss(set(rng.permutation(len(sets))[:count].tolist())) for _ in range(5)]
    assert miss(valid) < min(drawn) / 1.5
    got = Counter(c for i in valid for c in sets[i])
    assert all(0 < got[c] < number for c, number in total.items() if number > 1)


def test_rare_classes_are_on_both_sides() -> None:
    sets: ClassSets = [(0,)] * 96 + [(1,), (1,), (0, 2), (2,)]
    valid = chosen(sets, 10)
    for label in (1, 2):
        holders = {i for i, s in enumerate(sets) if label in s}
        assert len(holders & valid) == 1


def test_background_has_its_share() -> None:
    sets: ClassSets = [(0,)] * 50 + [()] * 50
    assert len([i for i in chosen(sets, 20) if i >= 50]) == 10


def test_another_seed_another_choice() -> None:
    sets: ClassSets = [(0,)] * 50
    assert len({frozenset(chosen(sets, 10, seed)) for seed in range(5)}) == 5


def test_one_content_only_is_split_all_the_same() -> None:
    assert len(chosen([(0,)] * 10, 2, contents=[b"same"] * 10)) == 2


def test_the_only_boxes_are_for_training() -> None:
    for seed in range(20):
        chosen = choose_valid([b"a", b"b"], [(0,), ()], [b"1", b"2"], count=1, seed=seed)
        assert chosen == {1}, "validation gets the picture without boxes"
