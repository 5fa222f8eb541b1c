"""JPEG files for tests: drawn from a seed, coded symbol by symbol, or taken apart and put together otherwise.

Encoders write what is usual. What is legal but unusual (any code lengths, coefficients that overflow, scans
of one component) is coded here, from random symbols.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

SAMPLING = {"444": 0x111111, "422": 0x211111, "420": 0x221111, "440": 0x121111, "411": 0x411111}
SOF0, SOF1, DHT, EOI, SOS, DQT, DNL, DRI, APP0, APP1, APP14, COM = (
    0xC0, 0xC1, 0xC4, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xE0, 0xE1, 0xEE, 0xFE,
)  # fmt: skip


def draw(rng: np.random.Generator, height: int, width: int, *, noise: bool) -> Pixels:
    """Noise, or soft blobs."""
    if noise:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    small = rng.integers(0, 256, (2 + height // 12, 2 + width // 12, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def exif_segment(orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0II" + struct.pack("<HIH", 42, 8, 1) + entry + bytes(4)


# ------------------------------------------------------------------------------------------ drawn from a seed


def _by_opencv(rng: np.random.Generator, pixels: Pixels, quality: int) -> bytes:
    subsampling = list(SAMPLING)[rng.integers(len(SAMPLING))]
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[subsampling]]
    options += [cv2.IMWRITE_JPEG_OPTIMIZE, int(rng.integers(2))]
    options += [cv2.IMWRITE_JPEG_RST_INTERVAL, int(rng.choice([0, 0, 1, 2, 3, 7, 50]))]
    return cv2.imencode(".jpg", pixels, options)[1].tobytes()


def _by_pillow(rng: np.random.Generator, pixels: Pixels, quality: int) -> bytes:
    options: dict[str, Any] = {"quality": quality, "optimize": bool(rng.integers(2))}
    image = Image.fromarray(pixels)
    if rng.integers(4) == 0:
        image = image.convert("L")
    else:
        options["subsampling"] = int(rng.integers(3))
    if rng.integers(4) == 0:
        options["qtables"] = [rng.integers(1, 256, 64).tolist() for _ in range(2)]
        del options["quality"]
    restart = rng.integers(4)
    if restart == 1:
        options["restart_marker_blocks"] = int(rng.integers(1, 20))
    if restart == 2:
        options["restart_marker_rows"] = int(rng.integers(1, 4))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def drawn_file(seed: int) -> bytes:
    """A baseline file as encoders write it: any subsampling, size, quality, tables, restarts, orientation."""
    rng = np.random.default_rng(seed)
    longest = int(rng.choice([3, 9, 20, 70, 200]))
    height, width = (int(side) for side in rng.integers(1, longest + 1, 2))
    pixels = draw(rng, height, width, noise=bool(rng.integers(3) == 0))
    quality = int(rng.integers(1, 101))
    data = (_by_opencv if rng.integers(2) else _by_pillow)(rng, pixels, quality)
    orientation = int(rng.integers(1, 9))
    return with_segment(data, APP1, exif_segment(orientation)) if orientation > 1 else data


# ------------------------------------------------------------------------------------------ taken apart


@dataclass(frozen=True)
class Parts:
    """A file with one scan: its marker segments up to SOS, and the entropy-coded bytes behind."""

    segments: tuple[tuple[int, bytes], ...]
    scan: bytes

    def join(self, end: bytes = b"\xff\xd9") -> bytes:
        return b"\xff\xd8" + b"".join(segment(*each) for each in self.segments) + self.scan + end

    def __getitem__(self, marker: int) -> bytes:
        """The payload of the first segment of a kind."""
        return next(payload for kind, payload in self.segments if kind == marker)

    def changed(self, marker: int, change: Callable[[bytes], bytes]) -> Parts:
        """With the payloads of all segments of a kind changed."""
        return replace(self, segments=tuple((m, change(p) if m == marker else p) for m, p in self.segments))

    def without(self, *markers: int) -> Parts:
        return replace(self, segments=tuple(each for each in self.segments if each[0] not in markers))

    def with_first(self, marker: int, payload: bytes) -> Parts:
        return replace(self, segments=((marker, payload), *self.segments))


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def take_apart(data: bytes) -> Parts:
    """The parts of an ordinary file with one scan."""
    assert data[:2] == b"\xff\xd8"
    assert data[-2:] == b"\xff\xd9"
    segments: list[tuple[int, bytes]] = []
    at = 2
    while not segments or segments[-1][0] != SOS:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + length
    return Parts(tuple(segments), data[at:-2])


def with_segment(data: bytes, marker: int, payload: bytes) -> bytes:
    """With a segment behind the start of the image."""
    return data[:2] + segment(marker, payload) + data[2:]


def encoded(mode: str = "RGB", height: int = 37, width: int = 53, **options: Any) -> Parts:
    """An ordinary picture as Pillow writes it, 4:2:0 if not told otherwise, taken apart."""
    buffer = io.BytesIO()
    pixels = draw(np.random.default_rng(width), height, width, noise=False)
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **{"subsampling": 2, **options})
    return take_apart(buffer.getvalue())


# ------------------------------------------------------------------------------------------ random symbols


def first_scans(data: bytes, count: int) -> bytes:
    """A progressive file with its first scans only, and an end marker."""
    starts = [m.start() for m in re.finditer(rb"\xff[\xda\xc4]", data)]
    scans = [i for i, at in enumerate(starts) if data[at + 1] == SOS]
    return data[: starts[scans[count - 1] + 1]] + b"\xff\xd9"


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


class _Bits:
    def __init__(self) -> None:
        self._parts: list[str] = []

    def write(self, value: int, count: int) -> None:
        if count > 0:
            self._parts.append(f"{value:0{count}b}")

    def take(self) -> bytes:
        """All bytes since the last time: filled up with ones, 0 put behind each FF."""
        bits = "".join(self._parts)
        self._parts.clear()
        bits += "1" * (-len(bits) % 8)
        return int(bits or "0", 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")


class _Code:
    """A random complete prefix code of at most 16 bits; the code of all ones is used only on demand."""

    def __init__(self, rng: np.random.Generator, symbols: list[int], *, all_ones: bool) -> None:
        depths = [0]
        while len(depths) < len(symbols) + (not all_ones):
            open_ones = [i for i, depth in enumerate(depths) if depth < 16]
            depth = depths.pop(open_ones[int(rng.integers(len(open_ones)))])
            depths += [depth + 1, depth + 1]
        depths = sorted(depths)[: len(symbols)]
        order = [symbols[i] for i in rng.permutation(len(symbols))]
        self.payload = bytes(depths.count(i) for i in range(1, 17)) + bytes(order)
        self.codes: dict[int, tuple[int, int]] = {}
        code, last = 0, 0
        for symbol, depth in zip(order, depths, strict=True):
            code <<= depth - last
            self.codes[symbol] = (code, depth)
            code, last = code + 1, depth


def _write_block(
    rng: np.random.Generator, bits: _Bits, dc: _Code, ac: _Code, most: int, prediction: int
) -> int:
    """One block of random symbols; the DC value, which stays within 16 bits."""
    size = int(rng.integers(min(most + 1, 12) if most < 12 else 16))
    raw = int(rng.integers(1 << size))
    value = raw if size == 0 or raw >> (size - 1) else raw - (1 << size) + 1
    if abs(prediction + value) > (2047 if most < 12 else 32767):
        size, raw, value = 0, 0, 0
    bits.write(*dc.codes[size])
    bits.write(raw, size)
    k, ending = 0, float(rng.choice([0.02, 0.2, 0.7]))
    while k < 63:
        if rng.random() < ending:
            bits.write(*ac.codes[int(rng.choice([s for s in ac.codes if not s & 15 and s != 0xF0]))])
            break
        fitting = [s for s in ac.codes if k + (s >> 4) + 1 <= 63 and (s & 15 or s == 0xF0)]
        if not fitting:
            continue
        symbol = fitting[int(rng.integers(len(fitting)))]
        bits.write(*ac.codes[symbol])
        bits.write(int(rng.integers(1 << (symbol & 15))), symbol & 15)
        k += (symbol >> 4) + 1
    return prediction + value


def _ac_symbols(rng: np.random.Generator, most: int) -> list[int]:
    usual = [run << 4 | size for run in range(16) for size in range(1, most + 1)]
    share = float(rng.choice([0.1, 0.5, 1.0]))
    kept = [symbol for symbol in usual if rng.random() < share]
    ends = [0x10, 0x70] if rng.integers(4) == 0 else []  # other runs of no coefficient end a block as well
    return [0x00, *ends, 0xF0, *kept]


def coded_file(seed: int, *, interleaved: bool = True, all_ones: bool = False) -> bytes:
    """A small legal file of random symbols: codes of any length, coefficients up to 15 bits, any quantisers.

    Without `interleaved` each component has a scan of its own. `all_ones` gives a symbol the code of all
    ones, which the format forbids.
    """
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 41, 2))
    most = int(rng.choice([3, 6, 10, 15]))
    factors = [(1, 1), (2, 1), (2, 2), (1, 2), (4, 1)][int(rng.integers(5))]
    sampling = [factors, (1, 1), (1, 1)] if not interleaved or rng.integers(4) else [(1, 1)]
    dc = [_Code(rng, list(range(12 if most < 12 else 16)), all_ones=all_ones) for _ in range(2)]
    ac = [_Code(rng, _ac_symbols(rng, most), all_ones=all_ones) for _ in range(2)]
    tables = [min(i, 1) for i in range(len(sampling))]
    interval = int(rng.choice([0, 0, 1, 2, 5]))

    frame = struct.pack(">BHHB", 8, height, width, len(sampling))
    frame += b"".join(bytes([i, h << 4 | v, tables[i]]) for i, (h, v) in enumerate(sampling))
    top = int(rng.choice([2, 30, 256]))
    head = [(DQT, bytes([i]) + rng.integers(1, top, 64).astype(np.uint8).tobytes()) for i in range(2)]
    head += [(SOF0 if rng.integers(2) else SOF1, frame)]
    head += [
        (DHT, bytes([kind << 4 | i]) + code[i].payload) for kind, code in enumerate((dc, ac)) for i in (0, 1)
    ]
    if interval:
        head.append((DRI, struct.pack(">H", interval)))
    data = b"\xff\xd8" + b"".join(segment(*each) for each in head)

    max_h, max_v = (max(each[axis] for each in sampling) for axis in (0, 1))
    scans = [list(range(len(sampling)))] if interleaved else [[i] for i in range(len(sampling))]
    for components in scans:
        if len(components) == 1:  # then an MCU is one block, and only blocks with pixels are coded
            h, v = sampling[components[0]]
            across, down = ceil_div(ceil_div(width * h, max_h), 8), ceil_div(ceil_div(height * v, max_v), 8)
            blocks = components
        else:
            across, down = ceil_div(width, 8 * max_h), ceil_div(height, 8 * max_v)
            blocks = [i for i in components for _ in range(sampling[i][0] * sampling[i][1])]
        header = bytes([len(components)]) + b"".join(bytes([i, tables[i] * 0x11]) for i in components)
        data += segment(SOS, header + b"\x00\x3f\x00")
        bits, predictions = _Bits(), [0, 0, 0]
        for mcu in range(across * down):
            if interval and mcu and mcu % interval == 0:
                data += bits.take() + bytes([0xFF, 0xD0 + (mcu // interval - 1) % 8])
                predictions = [0, 0, 0]
            for i in blocks:
                predictions[i] = _write_block(rng, bits, dc[tables[i]], ac[tables[i]], most, predictions[i])
        data += bits.take()
    return data + b"\xff\xd9"
