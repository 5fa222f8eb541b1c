"""The upright box around a shape that is not one: polygon, ellipse, rotated box."""

from __future__ import annotations

import math
from collections.abc import Iterable

Box = tuple[float, float, float, float]
"""xyxy"""
Point = tuple[float, float]
NO_NUMBERS: Box = (math.nan, math.nan, math.nan, math.nan)
"""For shapes with an infinite angle: the box rules report it."""


def around_points(points: Iterable[Point]) -> Box:
    """The box around one or more points."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def around_ellipse(x: float, y: float, radius_x: float, radius_y: float, angle: float = 0.0) -> Box:
    """The box around an ellipse with centre x, y, turned by `angle` radians."""
    if not math.isfinite(angle):
        return NO_NUMBERS
    cos, sin = math.cos(angle), math.sin(angle)
    half_width = math.hypot(radius_x * cos, radius_y * sin)
    half_height = math.hypot(radius_x * sin, radius_y * cos)
    return x - half_width, y - half_height, x + half_width, y + half_height


def around_turned(box: Box, angle: float, pivot: Point) -> Box:
    """The box around `box` turned by `angle` radians (clockwise, as y points down) about `pivot`."""
    if angle == 0:
        return box
    if not math.isfinite(angle):
        return NO_NUMBERS
    cos, sin = math.cos(angle), math.sin(angle)
    px, py = pivot
    corners = [(x - px, y - py) for x in (box[0], box[2]) for y in (box[1], box[3])]
    return around_points((px + x * cos - y * sin, py + x * sin + y * cos) for x, y in corners)
