"""JPEG files to planes by nvJPEG: by a stand-in for the library, and on a GPU by the real one."""

from __future__ import annotations

import ctypes
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support.coloured_dataset import write_coloured
from support.cuda_device import skip_without_cuda
from support.jpeg_files import (
    APP14,
    COM,
    DHT,
    DNL,
    DQT,
    DRI,
    SAMPLING,
    SOF0,
    SOS,
    coded_file,
    draw,
    drawn_file,
    encoded,
    exif_segment,
    segment,
    with_segment,
)
from support.nvjpeg_library import build_double

from yolofast.errors import ImageError, MissingExtraError
from yolofast.kernels import decode_jpeg, jpeg_info
from yolofast.load import Loader, YOLODataset
from yolofast.load.execute._engine import load_picture
from yolofast.types import Ycc

torch = pytest.importorskip("torch")

from yolofast.kernels import torch_nvjpeg  # noqa: E402
from yolofast.kernels.packed_pictures import PictureColumn  # noqa: E402
from yolofast.kernels.torch_nvjpeg import DecodedPlanes, NvJpegDecoder  # noqa: E402
from yolofast.load.execute import nvjpeg as nvjpeg_pictures  # noqa: E402

APP1 = 0xE1
OFFSETS = (PictureColumn.OFFSET_Y, PictureColumn.OFFSET_CB, PictureColumn.OFFSET_CR)
LUMA_SIDES = (PictureColumn.HEIGHT, PictureColumn.WIDTH)
CHROMA_SIDES = (PictureColumn.HEIGHT_C, PictureColumn.WIDTH_C)


@pytest.fixture(scope="module", params=["hardware", "no hardware", "cuda"])
def decoder(request: pytest.FixtureRequest) -> NvJpegDecoder:
    if request.param != "cuda":
        return double(*(["NO_HARDWARE"] if request.param == "no hardware" else []))
    if not torch.cuda.is_available():
        skip_without_cuda("torch finds no CUDA device")
    try:
        return NvJpegDecoder("cuda")
    except MissingExtraError as error:
        skip_without_cuda(str(error))


def double(*macros: str) -> NvJpegDecoder:
    library = build_double(*macros)
    return NvJpegDecoder("cpu", threads=2, library=library, driver=library)


@pytest.fixture(scope="module")
def stand_in() -> NvJpegDecoder:
    return double()


def planes_of(decoded: DecodedPlanes, position: int) -> list[NDArray[np.uint8]]:
    memory = decoded.planes.cpu().numpy()
    row = dict(zip(PictureColumn, decoded.pictures[position].tolist(), strict=True))
    cut = np.lib.stride_tricks.as_strided
    luma, chroma = ((row[h], row[w]) for h, w in (LUMA_SIDES, CHROMA_SIDES))
    planes = [cut(memory[row[PictureColumn.OFFSET_Y] :], luma, (row[PictureColumn.STRIDE_Y], 1))]
    offsets = [row[column] for column in OFFSETS[1:] if row[column] >= 0]
    return planes + [cut(memory[at:], chroma, (row[PictureColumn.STRIDE_C], 1)) for at in offsets]


def planes_on_cpu(data: bytes) -> list[NDArray[np.uint8]]:
    ycc = decode_jpeg(data, layout="ycc")
    return [plane for plane in (ycc.y, ycc.cb, ycc.cr) if plane is not None]


def assert_decoded(decoder: NvJpegDecoder, decoded: DecodedPlanes, files: list[bytes]) -> None:
    """Planes are those of the CPU decoder; on a GPU within 2 levels in 99.9 % of a batch's samples."""
    wrong = total = 0
    for position, data in enumerate(files):
        found, expected = planes_of(decoded, position), planes_on_cpu(data)
        assert [plane.shape for plane in found] == [plane.shape for plane in expected]
        ycc: Ycc = decode_jpeg(data, layout="ycc")
        factors = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2), "411": (4, 1), "gray": (1, 1)}
        found_factors = decoded.pictures[position].tolist()[PictureColumn.FACTOR_X :]
        assert tuple(found_factors) == factors[ycc.subsampling]
        for one, other in zip(found, expected, strict=True):
            if decoder.device.type == "cpu":
                np.testing.assert_array_equal(one, other)
            wrong += int((np.abs(one.astype(int) - other) > 2).sum())
            total += one.size
    assert wrong <= total / 1000


def usual(subsampling: str, height: int, width: int, *, progressive: bool = False, restart: int = 0) -> bytes:
    pixels = draw(np.random.default_rng(height * width), height, width, noise=False)
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING.get(subsampling, SAMPLING["444"])]
    options += [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive), cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    image = pixels[..., 0] if subsampling == "gray" else pixels
    return bytes(cv2.imencode(".jpg", image, options)[1])


KINDS = [*SAMPLING, "gray"]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_planes(decoder: NvJpegDecoder, kind: str, progressive: bool) -> None:
    sizes = [(1, 1), (7, 3), (8, 8), (16, 17), (33, 31), (121, 200)]
    files = [
        usual(kind, *size, progressive=progressive, restart=restart) for size in sizes for restart in (0, 2)
    ]
    decoded = decoder.decode(files, fall_back=False)
    assert decoded.refused == []
    assert decoded.planes.device == decoder.device
    assert_decoded(decoder, decoded, files)


def test_batches_of_all_kinds(decoder: NvJpegDecoder) -> None:
    """One after the other, of other numbers and sizes; nothing of one batch is left in the next."""
    for begin, end in ((0, 40), (40, 41), (41, 41), (41, 120), (0, 40)):
        files = [drawn_file(seed) for seed in range(begin, end)]
        decoded = decoder.decode(files)
        assert decoded.refused == []
        assert_decoded(decoder, decoded, files)
        offsets = decoded.pictures[:, OFFSETS]
        assert bool((offsets[offsets >= 0] % 64 == 0).all())


def test_symbols_that_no_encoder_writes(decoder: NvJpegDecoder) -> None:
    """Legal files of random symbols: what is written stays within the planes, whoever decodes them."""
    for seed in range(20):
        files = [coded_file(seed, interleaved=bool(seed % 2)), drawn_file(seed)]
        decoded = decoder.decode(files)
        if decoder.device.type == "cpu":
            assert_decoded(decoder, decoded, files)
        else:
            assert [p.shape for p in planes_of(decoded, 1)] == [p.shape for p in planes_on_cpu(files[1])]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_place_is_that_of_the_loader(decoder: NvJpegDecoder, tmp_path: Path, orientation: int) -> None:
    plain = usual("420", 21, 40)
    turned = with_segment(plain, APP1, exif_segment(orientation))
    path = tmp_path / "turned.jpg"
    path.write_bytes(turned)
    picture = load_picture(path, jpeg_info(turned).shape, 1000)
    by_cpu = encoded("CMYK", height=21, width=40).with_first(APP1, exif_segment(orientation)).join()
    decoded = decoder.decode([plain, turned, by_cpu])
    assert [position for position, _ in decoder.decode([turned, by_cpu], fall_back=False).refused] == [1]
    np.testing.assert_array_equal(decoded.places[0].numpy(), np.eye(2, 3))
    for position in (1, 2):
        np.testing.assert_array_equal(decoded.places[position].numpy(), picture.place)


# ---------------------------------------------------------------- files that are not for nvJPEG


def four_by_one(data: bytes) -> bytes:
    """Says that luma is sampled 4 x 2, which is 4:1:0."""
    return data[:7] + b"\x42" + data[8:]


REFUSED: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no JPEG": lambda: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "half a header": lambda: encoded().join()[:60],
    "half a scan": lambda: encoded().join()[:-300],
    "no end marker": lambda: encoded().join(b""),
    "garbage between segments": lambda: (lambda d: d[:2] + b"\x00\x11" + d[2:])(encoded().join()),
    "CMYK": lambda: encoded("CMYK").join(),
    "RGB": lambda: encoded().with_first(APP14, b"Adobe\0\x64\0\0\0\0\0").join(),
    "12 bits": lambda: encoded().changed(SOF0, lambda p: b"\x0c" + p[1:]).join(),
    "no size": lambda: encoded().changed(SOF0, lambda p: p[:1] + bytes(4) + p[5:]).join(),
    "4:1:0": lambda: encoded().changed(SOF0, four_by_one).join(),
    "two frame headers": lambda: (lambda p: p.with_first(SOF0, p[SOF0]))(encoded()).join(),
    "lossless": lambda: encoded().join().replace(b"\xff\xc0", b"\xff\xc3", 1),
    "arithmetic": lambda: encoded().join().replace(b"\xff\xc0", b"\xff\xc9", 1),
    "height behind the scan": lambda: encoded().join(segment(DNL, b"\0\x25") + b"\xff\xd9"),
    "restart markers left out": lambda: encoded(restart_marker_blocks=2).join().replace(b"\xff\xd1", b"", 1),
    "restart markers not announced": lambda: encoded(restart_marker_blocks=2).without(DRI).join(),
    "too many Huffman codes": lambda: encoded().changed(DHT, lambda p: p[:2] + b"\x05" + p[3:]).join(),
    "Huffman codes cut off": lambda: encoded().changed(DHT, lambda p: p[:-3]).join(),
    "Huffman codes of nobody": lambda: encoded().changed(DHT, lambda p: bytes([p[0] | 4]) + p[1:]).join(),
    "a difference of 16 bits": lambda: encoded().changed(DHT, lambda p: p[:-1] + b"\x10").join(),
    "no Huffman codes": lambda: encoded().without(DHT).join(),
    "no quantisers": lambda: encoded().without(DQT).join(),
    "quantisers cut off": lambda: encoded().changed(DQT, lambda p: p[:-1]).join(),
    "quantisers of nobody": lambda: encoded().changed(SOF0, lambda p: p[:8] + b"\x07" + p[9:]).join(),
    "components of one name": lambda: encoded().changed(SOF0, lambda p: p[:9] + p[6:7] + p[10:]).join(),
    "a scan of nobody": lambda: encoded().changed(SOS, lambda p: p[:1] + b"\x09" + p[2:]).join(),
    "a scan by codes of nobody": lambda: encoded().changed(SOS, lambda p: p[:2] + b"\x33" + p[3:]).join(),
    "half the coefficients": lambda: encoded().changed(SOS, lambda p: p[:-2] + b"\x1f\0").join(),
    "luma alone": lambda: encoded().changed(SOS, lambda p: b"\x01" + p[1:3] + p[-3:]).join(),
    "too large a picture": lambda: (
        encoded().changed(SOF0, lambda p: p[:1] + b"\xff\xff\xff\xff" + p[5:]).join()
    ),
}


def why_refused(data: bytes) -> str | None:
    try:
        decode_jpeg(data)
    except ImageError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", REFUSED)
def test_refused_files_go_to_the_cpu_one_by_one(decoder: NvJpegDecoder, name: str) -> None:
    bad, good = REFUSED[name](), [drawn_file(1), drawn_file(2)]
    files = [good[0], bad, good[1]]
    first = decoder.decode(files, fall_back=False)
    assert [position for position, _ in first.refused] == [1]
    assert "nvJPEG" not in first.refused[0][1]  # which has not seen it
    assert bool((first.pictures[1] == -1).all())
    decoded = decoder.decode(files)
    reason = why_refused(bad)
    assert decoded.refused == ([] if reason is None else [(1, reason)])
    if reason is None:
        assert_decoded(decoder, decoded, files)
    for position in (0, 2):
        found = planes_of(decoded, position)
        assert [plane.shape for plane in found] == [plane.shape for plane in planes_on_cpu(files[position])]


def test_hostile_files_write_nothing_past_their_planes(decoder: NvJpegDecoder) -> None:
    """Bytes changed anywhere, the header first of all."""
    rng = np.random.default_rng(3)
    for seed in range(25):
        files = []
        for each in range(8):
            data = bytearray(drawn_file(100 * seed + each))
            for _ in range(rng.integers(0, 4)):
                data[rng.integers(2, min(len(data), 700))] = rng.integers(256)
            files.append(bytes(data))
        size = decoder.prepare(files)
        planes = torch.full((size + 4096,), 0x5B, dtype=torch.uint8, device=decoder.device)
        decoded = decoder.decode_to(planes)
        owned = np.zeros(size + 4096, dtype=bool)
        for values in decoded.packed.pictures[decoded.packed.is_there].tolist():
            row = dict(zip(PictureColumn, values, strict=True))
            luma = row[PictureColumn.STRIDE_Y] * row[PictureColumn.HEIGHT]
            chroma = row[PictureColumn.STRIDE_C] * row[PictureColumn.HEIGHT_C]
            for column, bytes_of_plane in zip(OFFSETS, (luma, chroma, chroma), strict=True):
                owned[max(row[column], 0) : max(row[column], 0) + bytes_of_plane] = True
        owned[:size] |= bool(
            decoded.refused
        )  # a file that nvJPEG gave up may have written within its own planes
        assert (planes.cpu().numpy()[~owned] == 0x5B).all()


def test_files_by_path(decoder: NvJpegDecoder, tmp_path: Path) -> None:
    files = [drawn_file(seed) for seed in range(5)]
    paths: list[Any] = [tmp_path / f"{i}.jpg" for i in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    paths[1] = str(paths[1])
    decoded = decoder.decode([*paths, tmp_path / "missing.jpg", tmp_path])
    assert_decoded(decoder, decoded, files)
    assert [position for position, _ in decoded.refused] == [5, 6]
    assert "missing.jpg: cannot be read" in decoded.refused[0][1]


def test_another_shape_than_expected(decoder: NvJpegDecoder) -> None:
    turned = with_segment(usual("420", 21, 40), APP1, exif_segment(6))
    shapes = np.array([[40, 21], [21, 40]], dtype=np.int32)
    size = decoder.prepare([turned, turned], shapes)
    planes = torch.empty(size, dtype=torch.uint8, device=decoder.device)
    assert decoder.decode_to(planes).refused == [(1, "another size than was expected")]
    with pytest.raises(ValueError, match="planes has 63 bytes; what was prepared takes"):
        decoder.decode_to(planes[:63])
    with pytest.raises(ValueError, match=r"planes is torch.float32 \[4\]"):
        decoder.decode_to(torch.empty(4, device=decoder.device))


# ---------------------------------------------------------------- a library that misbehaves


def saying(comment: str, **options: Any) -> bytes:
    """An ordinary file whose comment tells the stand-in what to do."""
    return encoded(**options).with_first(COM, comment.encode()).join()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        ("unknown", "the header does not say the same"),
        ("other size", "the header does not say the same"),
        ("always fails", "nvJPEG: the file is damaged"),
        ("skipped", "wrote nothing"),
    ],
)
def test_failures_are_of_one_file(
    stand_in: NvJpegDecoder, comment: str, reason: str, progressive: bool
) -> None:
    good = [drawn_file(seed) for seed in range(6)]
    files = [*good[:3], saying(comment, progressive=progressive), *good[3:]]
    first = stand_in.decode(files, fall_back=False)
    if (comment, progressive) == ("skipped", True):  # those files go another way
        assert first.refused == []
    else:
        assert [position for position, _ in first.refused] == [3]
        assert reason in first.refused[0][1]
    decoded = stand_in.decode(files)
    assert decoded.refused == []
    assert_decoded(stand_in, decoded, files)


def test_a_batch_that_fails_is_decoded_file_by_file(stand_in: NvJpegDecoder) -> None:
    files = [saying("batch fails"), *(drawn_file(seed) for seed in range(6)), saying("batch fails", height=9)]
    for _ in range(2):
        decoded = stand_in.decode(files, fall_back=False)
        assert decoded.refused == []
        assert_decoded(stand_in, decoded, files)


def test_no_memory_is_taken_for_each_batch() -> None:
    library = build_double()
    decoder = NvJpegDecoder("cpu", library=library, driver=library)
    count = ctypes.CDLL(str(library)).double_allocations
    taken = []
    for step in range(12):
        decoder.decode([drawn_file(seed) for seed in range(20 + step % 2)])
        taken.append(count())
    assert taken[-1] == taken[6]
    assert ctypes.CDLL(str(library)).double_contexts() == 0  # each that was made current was put back


def test_a_forked_process_gives_nothing_back() -> None:
    """The device is its parent's: a decoder that goes there leaves nvJPEG and the driver alone."""
    library = build_double()
    handles = ctypes.CDLL(str(library)).double_handles
    before = handles()
    decoders = [NvJpegDecoder("cpu", library=library, driver=library)]
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def drop() -> None:
        decoders.clear()
        sender.send(handles())

    child = context.Process(target=drop)
    child.start()
    assert receiver.poll(30)
    assert receiver.recv() == before + 1
    child.join(30)
    decoders.clear()
    assert handles() == before


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_a_loader_by_nvjpeg(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs, the first of them left in the middle once: batches are those that the CPU decodes, but for
    rounding in the inverse transform."""
    if place == "cpu":
        monkeypatch.setenv("YOLOFAST_NVJPEG", str(build_double()))
        monkeypatch.setattr(torch_nvjpeg, "_DRIVERS", (str(build_double()),))
    elif not torch.cuda.is_available():
        skip_without_cuda("torch finds no CUDA device")
    monkeypatch.setattr(nvjpeg_pictures, "MAX_GROUP_IMAGES", 5)
    data = write_coloured(tmp_path, 43, sides=(60, 120))
    samples = [YOLODataset(data, "train", imgsz=128, augment=None) for _ in range(2)]
    try:
        loader = Loader(samples[0], 4, device=place, jpeg="nvjpeg", prefetch=2)
    except MissingExtraError as error:
        skip_without_cuda(str(error))
    next(iter(loader))
    for epoch in range(2):
        by_cpu = Loader(samples[1], 4)
        by_cpu.set_epoch(epoch)
        for found, expected in zip(loader, by_cpu, strict=True):
            apart = np.abs(found.images.cpu().numpy().astype(int) - expected.images)
            assert (apart > (3 if place == "cuda" else 0)).mean() < 0.002
            np.testing.assert_array_equal(found.targets.cpu().numpy(), expected.targets)
            assert found.paths == expected.paths
    loader.close()
