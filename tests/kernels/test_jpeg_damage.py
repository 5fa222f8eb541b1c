"""Damaged JPEG files: both decoders refuse the same ones, for one reason, and salvage the same pixels."""

from __future__ import annotations

import io
import struct
import warnings
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.jpeg_files import (
    APP1,
    DHT,
    DNL,
    DQT,
    DRI,
    SOF0,
    SOS,
    coded_file,
    draw,
    encoded,
    exif_segment,
    first_scans,
    segment,
)
from support.jpeg_outcomes import LAYOUTS, assert_same, place_of_error, scan_start

from yolofast.errors import ImageError
from yolofast.kernels import decode_jpeg

PLAIN = encoded(height=20, width=27, quality=60)
SMALL = {
    "gray": encoded("L", 9, 11, quality=40),
    "4:2:0": encoded(height=17, width=18, quality=30, optimize=True),
    "4:4:4 turned": encoded(height=9, width=20, subsampling=0, quality=30, optimize=True).with_first(
        APP1, exif_segment(6)
    ),
    "restarts": encoded(height=17, width=33, quality=50, optimize=True, restart_marker_blocks=1),
}


def assert_same_in_all_ways(data: bytes, **options: Any) -> Counter[str]:
    """Strict and salvaged, planes and RGB; counts what became of the file."""
    seen: Counter[str] = Counter()
    for layout in ("rgb", "ycc"):
        strict = assert_same(data, layout=layout, **options)
        kept = assert_same(data, layout=layout, salvage=True, **options)
        if strict.error is None:
            assert strict == kept
            seen["taken"] += 1
        else:
            assert kept.error is not None or kept.lost is not None
            seen["refused" if kept.error else "salvaged"] += 1
    return seen


@pytest.mark.parametrize("name", SMALL)
def test_cut_at_every_byte(name: str) -> None:
    data = SMALL[name].join()
    seen = sum((assert_same_in_all_ways(data[:length]) for length in range(len(data))), Counter())
    assert seen["refused"] > 200
    assert seen["salvaged"] > 20


@pytest.mark.parametrize("name", SMALL)
def test_every_byte_changed(name: str) -> None:
    """Each byte with each of its bits flipped, and set to 0 and to 255."""
    data = SMALL[name].join()
    seen: Counter[str] = Counter()
    for at, value in enumerate(data):
        for other in {value ^ 1 << bit for bit in range(8)} | {0, 255}:
            changed = data[:at] + bytes([other]) + data[at + 1 :]
            seen += assert_same_in_all_ways(changed, max_pixels=1 << 18)
    assert all(seen[kind] > 100 for kind in ("taken", "salvaged", "refused")), seen


@pytest.mark.parametrize("seed", range(30))
def test_changed_entropy_data_of_random_symbols(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = coded_file(seed)
    for _ in range(20):
        changed = bytearray(data)
        for at in rng.integers(scan_start(data), len(data), int(rng.integers(1, 4))):
            changed[at] ^= 1 << int(rng.integers(8))
        assert_same_in_all_ways(bytes(changed))


PIECE = 4096  # bytes that our own decoder takes out of a file at a time


@pytest.mark.parametrize("seed", range(40))
def test_damage_where_a_piece_of_the_file_ends(seed: int) -> None:
    """Pieces count without the zeros behind FF, so their ends lie at another byte in each file."""
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    image = Image.fromarray(draw(rng, 110, 110, noise=True))
    image.save(buffer, "JPEG", quality=96, subsampling=0)
    data = buffer.getvalue()
    start = scan_start(data)
    at, left = start, PIECE
    while left > 0:
        at, left = at + (2 if data[at] == 0xFF else 1), left - 1
    assert len(data) > start + 2 * PIECE
    assert assert_same_in_all_ways(data)["taken"] == 2
    for place in range(at - 3, at + 4):
        assert assert_same_in_all_ways(data[:place])["salvaged"] == 2
        for value in (0xFF, data[place] ^ 0x10):
            assert_same_in_all_ways(data[:place] + bytes([value]) + data[place + 1 :])
        assert_same_in_all_ways(data[:place] + b"\xff\xd0" + data[place:])


@pytest.mark.parametrize("seed", range(20))
def test_bytes_left_out_and_put_in(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = list(SMALL.values())[seed % len(SMALL)].join()
    for _ in range(20):
        at, count = int(rng.integers(2, len(data))), int(rng.integers(1, 5))
        assert_same_in_all_ways(data[:at] + data[at + count :], max_pixels=1 << 18)
        more = rng.choice([0, 0xFF, 0xD0, 0xD9, 0x37], count).astype(np.uint8).tobytes()
        assert_same_in_all_ways(data[:at] + more + data[at:], max_pixels=1 << 18)


# ------------------------------------------------------------------------------------------ restart markers

RESTARTS = encoded(restart_marker_blocks=2)  # 12 MCUs, so 5 markers


def with_markers(*numbers: int | None) -> bytes:
    """With other numbers in the five restart markers; None leaves one out."""
    pieces, rest = [], RESTARTS.scan
    for i, number in enumerate(numbers):
        before, rest = rest.split(bytes([0xFF, 0xD0 + i]))
        pieces.append(before + (b"" if number is None else bytes([0xFF, 0xD0 + number])))
    return replace(RESTARTS, scan=b"".join([*pieces, rest])).join()


def test_the_markers_as_they_are_lose_nothing() -> None:
    assert with_markers(0, 1, 2, 3, 4) == RESTARTS.join()
    assert assert_same_in_all_ways(RESTARTS.join()) == {"taken": 2}


@pytest.mark.parametrize(
    "numbers",
    [
        (1, 1, 2, 3, 4),
        (0, 1, 2, 3, 5),
        (0, 2, 1, 3, 4),
        (7, 1, 2, 3, 4),
        (4, 4, 4, 4, 4),
        (None, 1, 2, 3, 4),
        (0, 1, None, 3, 4),
        (0, 1, 2, 3, None),
        (None, None, None, None, None),
    ],
)
def test_wrong_and_missing_restart_markers(numbers: tuple[int | None, ...]) -> None:
    assert assert_same_in_all_ways(with_markers(*numbers))["taken"] == 0


@pytest.mark.parametrize("interval", [1, 3, 5, 11, 12, 500])
def test_wrong_restart_interval(interval: int) -> None:
    data = RESTARTS.changed(DRI, lambda _: struct.pack(">H", interval)).join()
    assert assert_same_in_all_ways(data)["taken"] == 0


def test_bytes_around_restart_markers() -> None:
    """Fill bytes belong to the marker and lose nothing; other bytes may be skipped, by both alike."""
    first = RESTARTS.scan.index(b"\xff\xd0")
    for junk in (b"\xff", b"\xff\xff", b"\0", b"\x55\x55", b"\xff\0", b"\xff\xd0", b"\xff\x01"):
        scan = RESTARTS.scan[:first] + junk + RESTARTS.scan[first:]
        seen = assert_same_in_all_ways(replace(RESTARTS, scan=scan).join())
        assert seen["taken"] == 2 or set(junk) != {0xFF}


# ------------------------------------------------------------------------------------------ odd structure

OTHER = encoded(height=20, width=27, quality=25, optimize=True)
SOF = segment(SOF0, PLAIN[SOF0])
ODD = {
    "no end": PLAIN.join(b""),
    "half an end": PLAIN.join(b"\xff"),
    "another marker for the end": PLAIN.join(b"\xff\xd8"),
    "junk for the end": PLAIN.join(b"\x12\x34\x56"),
    "junk before the end": PLAIN.join(bytes(300) + b"\xff\xd9"),
    "stray restart before the end": PLAIN.join(b"\xff\xd3\xff\xd9"),
    "the scan twice": PLAIN.join(segment(SOS, PLAIN[SOS]) + PLAIN.scan + b"\xff\xd9"),
    "a broken second scan": PLAIN.join(segment(SOS, b"\1\2\3") + PLAIN.scan + b"\xff\xd9"),
    "height 0, lines told behind": PLAIN.changed(SOF0, lambda p: p[:1] + b"\0\0" + p[3:]).join(
        segment(DNL, b"\0\x14") + b"\xff\xd9"
    ),
    "lines told behind are fewer": PLAIN.join(segment(DNL, b"\0\1") + b"\xff\xd9"),
    "height 0": PLAIN.changed(SOF0, lambda p: p[:1] + b"\0\0" + p[3:]).join(),
    "width 0": PLAIN.changed(SOF0, lambda p: p[:3] + b"\0\0" + p[5:]).join(),
    "taller": PLAIN.changed(SOF0, lambda p: p[:1] + b"\0\x40" + p[3:]).join(),
    "shorter": PLAIN.changed(SOF0, lambda p: p[:1] + b"\0\1" + p[3:]).join(),
    "two frames": PLAIN.join().replace(SOF, SOF + SOF),
    "no frame": PLAIN.without(SOF0).join(),
    "no quantisers": PLAIN.without(DQT).join(),
    "no codes": PLAIN.without(DHT).join(),
    "quantisers of zeros": PLAIN.changed(DQT, lambda p: p[:1] + bytes(64)).join(),
    "quantisers of 65535": PLAIN.changed(DQT, lambda p: bytes([0x10 | p[0]]) + b"\xff" * 128).join(),
    "another file's codes": OTHER.changed(SOF0, lambda p: p).join().replace(OTHER.scan, PLAIN.scan),
    "codes of all ones": PLAIN.changed(DHT, lambda p: p[:1] + b"\2" + bytes(15) + b"\0\1").join(),
    "more codes than fit": PLAIN.changed(DHT, lambda p: p[:1] + b"\3" + bytes(15) + b"\0\1\2").join(),
    "300 symbols": PLAIN.changed(DHT, lambda p: p[:1] + bytes(14) + b"\x96\x96" + bytes(300)).join(),
    "no symbol": PLAIN.changed(DHT, lambda p: p[:1] + bytes(16)).join(),
    "DC of 255 bits": PLAIN.changed(DHT, lambda p: p[:1] + b"\1" + bytes(15) + b"\xff").join(),
    "codes cut short": PLAIN.changed(DHT, lambda p: p[:10]).join(),
    "quantisers cut short": PLAIN.changed(DQT, lambda p: p[:60]).join(),
    "part of the spectrum": PLAIN.changed(SOS, lambda p: p[:-3] + b"\0\5\0").join(),
    "successive approximation": PLAIN.changed(SOS, lambda p: p[:-1] + b"\x11").join(),
    "bits of ones": replace(PLAIN, scan=b"\xff\0" * 400).join(),
    "bits of zeros": replace(PLAIN, scan=bytes(400)).join(),
    "no bits": replace(PLAIN, scan=b"").join(),
    "header bytes twice": b"\xff\xd8" + PLAIN.join(),
    "a byte between header segments": PLAIN.join().replace(SOF, b"\0" + SOF),
    "bytes before the header": b"\0\0" + PLAIN.join(),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_structure(name: str) -> None:
    assert_same_in_all_ways(ODD[name])
    for layout in LAYOUTS:
        assert_same(ODD[name], layout=layout, min_size=(5, 7), salvage=True)


@pytest.mark.parametrize("seed", range(10))
def test_the_code_of_all_ones_is_refused(seed: int) -> None:
    """A file that is whole but for a symbol with the code that the format keeps free."""
    assert assert_same_in_all_ways(coded_file(seed, all_ones=True)) == {"refused": 2}
    assert assert_same_in_all_ways(coded_file(seed)) == {"taken": 2}


# ------------------------------------------------------------------------------------------ what is told


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_an_error_names_the_place(share: float) -> None:
    """The byte near which decoding gave up: where the file is cut, or within a block of the damage."""
    data = encoded(height=300, width=400, quality=95).join()
    start = scan_start(data)
    at = start + int(share * (len(data) - start))
    place = place_of_error(data[:at])
    assert place is not None
    assert at - 2 <= place <= at
    broken = bytearray(data)
    broken[at : at + 40] = b"\xff\xd0" * 20
    place = place_of_error(bytes(broken))
    assert place is not None
    assert at - 300 <= place <= at + 300


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("layout", ["rgb", "gray", "ycc"])
def test_a_progressive_file_is_whole_with_its_last_scan(mode: str, layout: Any) -> None:
    """Any that is missing makes it incomplete, as any other missing byte does, end marker or not."""
    data = encoded(mode, 40, 50, quality=90, progressive=True).join()
    count = data.count(b"\xff\xda")
    assert count > 5
    decode_jpeg(data, layout=layout)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode_jpeg(data, layout=layout, salvage=True)
    for scans in range(1, count):
        part = first_scans(data, scans)
        with pytest.raises(ImageError, match="progressive scans are missing; the file is incomplete: get it"):
            decode_jpeg(part, layout=layout)
        with pytest.warns(RuntimeWarning, match=r"^damaged JPEG: .*scans are missing; what could be decoded"):
            decode_jpeg(part, layout=layout, salvage=True)


def test_salvage_warns_of_what_was_lost_and_of_nothing_else() -> None:
    data = PLAIN.join()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(decode_jpeg(data, salvage=True), decode_jpeg(data))
        decode_jpeg(SMALL["restarts"].join(b"\0\0\xff\xd9") + b"more", salvage=True)
    for broken in (data[:-20], with_markers(0, 2, 1, 3, 4)):
        decoders: tuple[Any, ...] = ("auto", "turbo")
        for decoder in decoders:
            with pytest.warns(
                RuntimeWarning, match=r"^damaged JPEG: .*; what could be decoded was kept$"
            ) as caught:
                decode_jpeg(broken, salvage=True, decoder=decoder)
            assert len(caught) == 1
            assert ("near byte" in str(caught[0].message)) is (decoder == "auto")
