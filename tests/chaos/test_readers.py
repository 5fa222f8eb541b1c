"""Mutated label files, YAML, archives and results: each is read or refused with an error for users."""

from __future__ import annotations

import pytest
from support.chaos import Attack
from support.fuzz_readers import ARCHIVES, LABELS, MEMORY_MB, RESULTS, SECONDS, YAML, ReaderProcess


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("name", "targets", "tries"),
    [
        ("mutated label files of 17 formats", LABELS, 34_000),
        ("mutated data.yaml and settings", YAML, 10_000),
        ("mutated archives", ARCHIVES, 10_000),
        ("mutated COCO results", RESULTS, 5_000),
    ],
    ids=["labels", "yaml", "archives", "results"],
)
def test_mutated_files_are_read_or_refused(name: str, targets: tuple[str, ...], tries: int) -> None:
    with ReaderProcess() as readers, Attack(name, tries) as attack:
        for random in attack:
            ran = attack.saw(readers.attempt(random.choice(targets), f"{random.getrandbits(64):x}"))
            assert ran.seconds < SECONDS
            assert ran.peak_mb < MEMORY_MB
