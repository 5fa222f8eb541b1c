"""What the image kernels mean: plain numpy in float64, with no regard for speed.

Every backend is held to these within 1 level (rounding). Arguments are those of `yolofast.kernels`, and
valid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.types import Letterbox


def to_levels(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Rounded (halves up) and clipped to 0..255."""
    return np.floor(values.clip(0.0, 255.0) + 0.5).astype(np.uint8)


def sample_bilinear(
    image: NDArray[np.uint8], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`image` [H, W, C] at the pixel-edge points (x, y) [...]: float64 [..., C], edges clamped."""
    height, width = image.shape[:2]
    column = (x - 0.5).clip(0, width - 1)
    row = (y - 0.5).clip(0, height - 1)
    left, top = np.floor(column).astype(np.int64), np.floor(row).astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    wx, wy = (column - left)[..., None], (row - top)[..., None]
    upper = image[top, left] * (1 - wx) + image[top, right] * wx
    lower = image[bottom, left] * (1 - wx) + image[bottom, right] * wx
    blended: NDArray[np.float64] = upper * (1 - wy) + lower * wy
    return blended


def letterbox(
    image: NDArray[np.uint8], size: int | tuple[int, int], *, fill: int = 114, layout: str = "hwc"
) -> tuple[NDArray[np.uint8], Letterbox]:
    """See `yolofast.kernels.letterbox`."""
    target = (size, size) if isinstance(size, int) else size
    placed = Letterbox.fit((image.shape[0], image.shape[1]), target)
    inner_h, inner_w = placed.inner
    x = (np.arange(inner_w) + 0.5) * (image.shape[1] / inner_w)
    y = (np.arange(inner_h) + 0.5) * (image.shape[0] / inner_h)
    inner = to_levels(sample_bilinear(image, *np.meshgrid(x, y)))
    result = np.full((*target, 3), fill, np.uint8)
    top, left = int(placed.pad_y), int(placed.pad_x)
    result[top : top + inner_h, left : left + inner_w] = inner
    return (result.transpose(2, 0, 1).copy() if layout == "chw" else result), placed


def warp_affine(
    image: NDArray[np.uint8],
    matrix: ArrayLike,
    out: NDArray[np.uint8],
    *,
    window: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """See `yolofast.kernels.warp_affine`. Which pixels are written is exact, in this order of operations."""
    m = np.asarray(matrix, np.float64)
    x0, y0, x1, y1 = (0, 0, image.shape[1], image.shape[0]) if window is None else window
    u = np.arange(out.shape[2]) + 0.5
    v = (np.arange(out.shape[1]) + 0.5)[:, None]
    x = m[0, 0] * u + (m[0, 1] * v + m[0, 2])
    y = m[1, 0] * u + (m[1, 1] * v + m[1, 2])
    owned = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    out[:, owned] = to_levels(sample_bilinear(image, x[owned], y[owned])).T
    return out


def flip(image: NDArray[np.uint8], *, horizontal: bool = False, vertical: bool = False) -> NDArray[np.uint8]:
    """See `yolofast.kernels.flip`."""
    return image[:: -1 if vertical else 1, :: -1 if horizontal else 1].copy()


def color_matrix(image: NDArray[np.uint8], matrix: ArrayLike) -> NDArray[np.uint8]:
    """See `yolofast.kernels.color_matrix`."""
    m = np.asarray(matrix, np.float64)
    return to_levels(np.einsum("ij,jhw->ihw", m[:, :3], image.astype(np.float64)) + m[:, 3, None, None])


def hsv_jitter(image: NDArray[np.uint8], h: float, s: float, v: float) -> NDArray[np.uint8]:
    """See `yolofast.kernels.hsv_jitter`.

    To HSV: value = max, saturation = chroma / max, hue by the largest channel (red before green before blue).
    Back: `channel(n) = value - value * saturation * clip(min(k, 4 - k), 0, 1)`, `k = (n + 6 hue) mod 6`, for
    n = 5, 3, 1 (red, green, blue).
    """
    rgb = image.astype(np.float64) / 255.0
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    high, low = rgb.max(axis=-1), rgb.min(axis=-1)
    chroma = high - low
    divisor = np.where(chroma > 0, chroma, 1.0)
    sixths = np.where(
        high == r, (g - b) / divisor, np.where(high == g, (b - r) / divisor + 2, (r - g) / divisor + 4)
    )
    hue = (sixths / 6 + h) % 1.0
    saturation = np.minimum(chroma / np.where(high > 0, high, 1.0) * s, 1.0)
    value = np.minimum(high * v, 1.0)

    def channel(n: int) -> NDArray[Any]:
        k = (n + 6 * hue) % 6
        part: NDArray[Any] = value - value * saturation * np.minimum(k, 4 - k).clip(0, 1)
        return part

    return to_levels(np.stack([channel(5), channel(3), channel(1)], axis=-1) * 255.0)
