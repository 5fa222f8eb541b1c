"""Hooks of tests, in a module so that spawned processes can import them."""

from __future__ import annotations

import numpy as np

from yolofast.load.hooks import Hook, hook


@hook(draws=2)
def stripes(image, labels, draws):
    """Inverts the rows from a drawn one on, so that twice would be as never; moves the boxes a little."""
    rows = image[:, int(draws[0] * image.shape[1]) :]
    rows[:] = ~rows
    for i in range(len(labels)):
        labels[i, 1] += np.float32(0.01 * draws[1])


@hook(draws=3)
def drop_some(image, labels, draws):
    """Drops every label for which a draw says so, and darkens a corner by their number."""
    kept = 0
    for i in range(len(labels)):
        if draws[i % 3] < 0.6:
            labels[kept] = labels[i]
            kept += 1
    image[:, :8, :8] = 50 * min(len(labels) - kept, 5)
    return kept


def count_labels(image, labels, draws):
    """Plain Python: writes how many labels it saw into a pixel."""
    image[0, -1, -1] = len(labels)


HOOKS = (stripes, count_labels, drop_some)
PYTHON = tuple(
    Hook(each.function, draws=each.draws, compiled=False) if isinstance(each, Hook) else each
    for each in HOOKS
)
"""The same, none of them compiled."""


@hook()
def nothing(image, labels, draws):
    """Does nothing."""
