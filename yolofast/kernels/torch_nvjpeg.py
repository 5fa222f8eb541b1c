"""JPEG files to planes on a CUDA device by nvJPEG, with the CPU decoder for what it refuses.

    decoder = NvJpegDecoder("cuda")
    decoded = decoder.decode(files)          # bytes, or paths
    torch.ops.yolofast.render_(images, decoded.planes, decoded.pictures, decoded.places, ...)

nvJPEG is looked for when a decoder is made: in YOLOFAST_NVJPEG (a path) if that is set, else in the package
`nvidia-nvjpeg` (`pip install 'yolofast[nvjpeg]'`), in CUDA_HOME, and where the system looks. It has to be of
torch's major version of CUDA.

Our own readers see each file before nvJPEG does. It gets only whole, ordinary ones: baseline, extended or
progressive Huffman, 8 bits, gray or YCbCr in 4:4:4, 4:2:2, 4:2:0, 4:4:0 or 4:1:1, ended by an end marker,
whose planes are by its own word of the sizes that memory was laid out for. Pixels differ from the CPU
decoder's by rounding in the inverse transform. What only decoding can find, such as a code that does not
exist, nvJPEG may let pass where the CPU decoder refuses the file.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ConfigError, ImageError, MissingExtraError, missing_extra
from yolofast.kernels import decode_jpeg, jpeg_info
from yolofast.kernels._nvjpeg import Decoder, Nvjpeg
from yolofast.types import SUBSAMPLING_FACTORS, JpegInfo, Ycc

try:
    import torch
except ModuleNotFoundError as error:
    raise missing_extra("torch", "train", "yolofast.kernels.torch_nvjpeg") from error

File = bytes | bytearray | memoryview | NDArray[np.uint8] | str | os.PathLike[str]

PLANE_ALIGN = 64
"""Each plane begins at a multiple of it."""
MARKS = 16
"""Bytes of a luma plane that are looked at to see whether anything was written."""
_DRIVERS = ("libcuda.so.1",)


@dataclass(frozen=True)
class DecodedPlanes:
    """Pictures in device memory.

    planes    uint8 [N] on the device
    pictures  int64 [P, 11] on the CPU, a row a file: offsets of y, cb and cr in `planes` (both chroma offsets
              are -1 for gray), stride of y and of chroma, height, width, height and width of chroma, chroma
              factors across and down; -1 throughout where there is no picture
    places    float64 [P, 2, 3] on the CPU, as `place` of `types.Picture`
    refused   (position, reason) of each file that has no picture
    """

    planes: torch.Tensor
    pictures: torch.Tensor
    places: torch.Tensor
    refused: list[tuple[int, str]]


def library_candidates(cuda: str | None) -> list[str]:
    """Where nvJPEG may lie, best first, for a version of CUDA such as "13.0"."""
    chosen = os.environ.get("YOLOFAST_NVJPEG")
    if chosen:
        return [chosen]
    name = f"libnvjpeg.so.{cuda.split('.')[0]}" if cuda else "libnvjpeg.so"
    spec = importlib.util.find_spec("nvidia")
    packages = spec.submodule_search_locations if spec is not None else None
    found = [str(path) for folder in packages or () for path in sorted(Path(folder).glob(f"*/lib/{name}"))]
    homes = [os.environ.get(variable) for variable in ("CUDA_HOME", "CUDA_PATH")]
    paths = [Path(home, "lib64", name) for home in [*homes, "/usr/local/cuda"] if home]
    return [*found, *(str(path) for path in paths if path.exists()), name]


class NvJpegDecoder:
    """Decodes many JPEG files at a time to planes on a device. Use one a thread.

    device   a CUDA device
    threads  that read and check files on the CPU
    stream   of the device, on which work is queued; None: the current one of the thread that calls
    library  path of nvJPEG, None to look for it
    driver   path of the CUDA driver's library, None for the system's

    Raises:
        MissingExtraError: there is no nvJPEG, or none that is whole and new enough; says where it
            was looked for.
        ConfigError: no CUDA device, or one on which nvJPEG does not work.
    """

    def __init__(
        self,
        device: str | torch.device = "cuda",
        *,
        threads: int = 4,
        stream: torch.cuda.Stream | None = None,
        library: str | os.PathLike[str] | None = None,
        driver: str | os.PathLike[str] | None = None,
    ) -> None:
        if threads < 1:
            raise ConfigError(f"threads is {threads}; expected at least 1.")
        place = torch.device(device)
        libraries = library_candidates(torch.version.cuda) if library is None else [os.fspath(library)]
        try:
            found = Nvjpeg(libraries, _DRIVERS if driver is None else [os.fspath(driver)])
        except OSError as error:
            raise MissingExtraError(
                f"GPU JPEG decode: {error}. Install it with: pip install 'yolofast[nvjpeg]', or name the "
                "library in YOLOFAST_NVJPEG"
            ) from None
        # Only a stand-in for tests has a device that is the CPU.
        if place.type != ("cpu" if found.is_on_host else "cuda"):
            raise ConfigError(f"device: got '{device}', expected a CUDA device for GPU JPEG decode.")
        if place.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f"device: got '{device}', but torch finds no CUDA device.")
        place = torch.empty(0, device=place).device  # with its index
        self.device, self.library, self._stream = place, found, stream
        with self._current():
            try:
                self._decoder = Decoder(found, threads)
            except OSError as error:
                raise ConfigError(f"device: got '{device}', but {error}.") from None
        self.has_hardware: bool = self._decoder.has_hardware

    # ------------------------------------------------------------ all at once

    def decode(self, files: Sequence[File], *, fall_back: bool = True) -> DecodedPlanes:
        """The planes of files; with `fall_back`, those that nvJPEG refuses are decoded on the CPU.

        Files are bytes-like, or paths. No file raises: what neither decodes is in `refused`, with the CPU
        decoder's reason where that was asked.
        """
        planes = self.empty(self.prepare(files))
        rows, places, refused = self.decode_to(planes)
        if fall_back and refused:
            planes, refused = self._decode_on_cpu(files, refused, planes, rows, places)
        return DecodedPlanes(planes, torch.from_numpy(rows), torch.from_numpy(places), refused)

    def empty(self, size: int) -> torch.Tensor:
        """uint8 [size] on the device, for `decode_to`."""
        with self._current():
            return torch.empty(size, dtype=torch.uint8, device=self.device)

    def _decode_on_cpu(
        self,
        files: Sequence[File],
        refused: list[tuple[int, str]],
        planes: torch.Tensor,
        rows: NDArray[np.int64],
        places: NDArray[np.float64],
    ) -> tuple[torch.Tensor, list[tuple[int, str]]]:
        """The planes with those of refused files behind them, and which files are still refused."""
        still: list[tuple[int, str]] = []
        pieces: list[NDArray[np.uint8]] = []
        end = -(-len(planes) // PLANE_ALIGN) * PLANE_ALIGN
        for position, _ in refused:
            try:
                info, ycc = _decoded(files[position])
            except ImageError as error:
                still.append((position, str(error)))
                continue
            packed, rows[position] = _packed(ycc, end)
            places[position] = _place(info)
            pieces.append(packed)
            end += len(packed)
        if not pieces:
            return planes, still
        with self._current():
            grown = torch.empty(end, dtype=torch.uint8, device=self.device)
            grown[: len(planes)].copy_(planes)
            behind = np.concatenate(pieces)
            grown[end - len(behind) :].copy_(torch.from_numpy(behind))
        return grown, still

    # ------------------------------------------------------------ in two steps

    def prepare(self, files: Sequence[File], shapes: NDArray[np.int32] | None = None) -> int:
        """Read and check files; how many bytes their planes take.

        `shapes` int32 [n, 2]: height and width of the upright pictures, if they are known; files of another
        are refused.
        """
        with self._current():
            return self._decoder.prepare(files, shapes)

    def decode_to(
        self, planes: torch.Tensor
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], list[tuple[int, str]]]:
        """Decode what was prepared to the beginning of uint8 [N] on the device; done when this returns.

        Returns the columns `pictures`, `places` and `refused` of `DecodedPlanes`, as arrays.
        """
        if planes.dtype != torch.uint8 or planes.dim() != 1 or planes.device != self.device:
            got = f"{planes.dtype} {list(planes.shape)} on {planes.device}"
            raise ValueError(f"planes is {got}; expected uint8 [N] on {self.device}")
        if not planes.is_contiguous():
            raise ValueError(f"planes has stride {planes.stride(0)}; expected a contiguous tensor")
        size = self._decoder.prepared
        if size is None or len(planes) < size:
            raise ValueError(f"planes has {len(planes)} bytes; what was prepared takes {size}")
        with self._current() as stream:
            rows = self._decoder.rows()
            there = np.flatnonzero(rows[:, 0] >= 0)
            where = torch.from_numpy(_mark_positions(rows[there])).to(self.device)
            marks = (where * 37 + 101).to(torch.uint8)
            planes[where] = marks
            self._decoder.decode(planes.data_ptr(), len(planes), stream)
            is_untouched = (planes[where] == marks).all(dim=1).cpu().numpy()
        rows, places, refused = self._decoder.rows(), self._decoder.places(), self._decoder.refused()
        for position in there[is_untouched].tolist():
            if rows[position, 0] >= 0:
                rows[position] = -1
                refused.append((position, "nvJPEG: says that the file is decoded, but wrote nothing"))
        return rows, places, sorted(refused)

    @contextlib.contextmanager
    def _current(self) -> Iterator[int]:
        """Makes the device and the stream current, for torch and for the driver; the stream's address."""
        if self.device.type == "cpu":
            yield 0
            return
        with torch.cuda.device(self.device), torch.cuda.stream(self._stream):
            stream = torch.cuda.current_stream(self.device)
            stream.query()  # so that the driver has a context in this thread
            yield stream.cuda_stream


def _mark_positions(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes of each luma plane, [n, MARKS], that are marked before nvJPEG writes.

    Hardware decoders have been seen to skip a file of a batch and to report success. A picture that has every
    mark by chance is decoded once more, on the CPU, which does no harm.
    """
    size = rows[:, 5] * rows[:, 6]
    spread = size[:, None] * (2 * np.arange(MARKS) + 1) // (2 * MARKS)
    return np.asarray(rows[:, :1] + spread)


def _decoded(file: File) -> tuple[JpegInfo, Ycc]:
    data = file
    if isinstance(file, str | os.PathLike):
        try:
            data = Path(file).read_bytes()
        except OSError as error:
            raise ImageError(f"{os.fspath(file)}: cannot be read ({error.strerror})") from None
    assert not isinstance(data, str | os.PathLike)
    return jpeg_info(data), decode_jpeg(data, layout="ycc")


def _packed(ycc: Ycc, begin: int) -> tuple[NDArray[np.uint8], list[int]]:
    """The planes one after the other, each at a multiple of PLANE_ALIGN, and their row, for an offset."""
    planes = [ycc.y] if ycc.cb is None or ycc.cr is None else [ycc.y, ycc.cb, ycc.cr]
    offsets = [0, -1, -1]
    end = 0
    for i, plane in enumerate(planes):
        offsets[i] = begin + end
        end += -(-plane.size // PLANE_ALIGN) * PLANE_ALIGN
    packed = np.zeros(end, dtype=np.uint8)
    for offset, plane in zip(offsets, planes, strict=False):
        packed[offset - begin : offset - begin + plane.size] = plane.ravel()
    height, width = ycc.y.shape
    c_height, c_width = (0, 0) if ycc.cb is None else ycc.cb.shape
    factors = SUBSAMPLING_FACTORS[ycc.subsampling]
    return packed, [*offsets, width, c_width, height, width, c_height, c_width, *factors]


def _place(info: JpegInfo) -> list[list[int]]:
    """Point of the upright picture -> point of the stored one, by EXIF orientation."""
    w, h = info.width, info.height
    return [
        [[1, 0, 0], [0, 1, 0]],
        [[-1, 0, w], [0, 1, 0]],
        [[-1, 0, w], [0, -1, h]],
        [[1, 0, 0], [0, -1, h]],
        [[0, 1, 0], [1, 0, 0]],
        [[0, 1, 0], [-1, 0, h]],
        [[0, -1, w], [-1, 0, h]],
        [[0, -1, w], [1, 0, 0]],
    ][info.orientation - 1]
