"""What a decoder makes of a file, in a form that two decoders' can be compared in."""

from __future__ import annotations

import re
import warnings
from typing import Any, NamedTuple

import numpy as np

from yolofast.errors import ImageError
from yolofast.kernels import decode_jpeg, jpeg_info
from yolofast.types import Ycc

LAYOUTS = ("ycc", "rgb", "bgr", "gray")
PLACE = re.compile(r" \(near byte (\d+)\)")


class Outcome(NamedTuple):
    error: str | None
    """Why the file was refused; without the place, which only our own decoder tells."""
    lost: str | None
    """What salvage warned of, without the place."""
    pixels: tuple[tuple[tuple[int, ...], bytes] | None, ...]
    """Shape and bytes of each array."""
    subsampling: str | None


def arrays_of(decoded: Any) -> tuple[Any, ...]:
    return (decoded.y, decoded.cb, decoded.cr) if isinstance(decoded, Ycc) else (decoded,)


def outcome(data: bytes, decoder: Any, **options: Any) -> Outcome:
    """All that a caller of `decode_jpeg` sees."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            decoded = decode_jpeg(data, decoder=decoder, **options)
        except (ImageError, ValueError) as error:
            return Outcome(PLACE.sub("", str(error)), None, (), None)
    lost = PLACE.sub("", str(caught[0].message)) if caught else None
    pixels = tuple(None if a is None else (a.shape, a.tobytes()) for a in arrays_of(decoded))
    return Outcome(None, lost, pixels, decoded.subsampling if isinstance(decoded, Ycc) else None)


def assert_same(data: bytes, **options: Any) -> Outcome:
    """Both decoders make the same of a file; gives what that is."""
    own, turbo = (outcome(data, decoder, **options) for decoder in ("auto", "turbo"))
    assert own[:2] == turbo[:2], options
    assert own == turbo, f"other pixels: {options}"
    return own


def side_at(data: bytes, scale: int) -> tuple[int, int]:
    """The `min_size` that gives a scale in eighths, of the upright picture."""
    height, width = jpeg_info(data).shape
    return -(-height * scale // 8), -(-width * scale // 8)


def scan_start(data: bytes) -> int:
    """Offset of the first entropy-coded byte of an ordinary file."""
    at = 2
    while data[at + 1] != 0xDA:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def place_of_error(data: bytes) -> int | None:
    """The byte that a strict decode's error names: our own decoder's mark. None where there is none."""
    try:
        decode_jpeg(data, decoder="auto")
    except ImageError as error:
        found = PLACE.search(str(error))
        return int(found[1]) if found else None
    return None


def is_for_own_decoder(data: bytes) -> bool:
    """Whether our own decoder tries a file: seen by who finds fault with it when its scan is cut."""
    start = scan_start(data)
    return place_of_error(data[: start + max(1, (len(data) - 2 - start) // 2)]) is not None


def cut(
    decoded: Any, region: tuple[int, int, int, int], factors: tuple[int, int] = (1, 1)
) -> tuple[Any, ...]:
    """A region of a decoded whole; chroma planes are `factors` (down, across) smaller."""
    x0, y0, x1, y1 = region
    parts = []
    for i, array in enumerate(arrays_of(decoded)):
        down, across = factors if i else (1, 1)
        part = array if array is None else array[y0 // down : -(-y1 // down), x0 // across : -(-x1 // across)]
        parts.append(None if part is None else np.ascontiguousarray(part))
    return tuple(parts)
