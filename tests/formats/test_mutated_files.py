"""A few mutated inputs of every reader; tests/chaos/test_readers.py tries thousands in a bounded process."""

from __future__ import annotations

import pytest
from support.fuzz_readers import LABELS, TARGETS, attempt, read_sound


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_input_is_read_or_refused_with_an_error_for_users(target: str) -> None:
    read_sound(target)
    outcomes = [attempt(target, str(seed)) for seed in range(4 if target in LABELS else 12)]
    assert target in LABELS or set(outcomes) != {"read"}
