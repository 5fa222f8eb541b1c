"""JPEG files to planes on a CUDA device by nvJPEG, with the CPU decoder for what it refuses.

    decoder = NvJpegDecoder("cuda")
    decoded = decoder.decode(files)          # bytes, or paths
    arguments = torch_render.render_arguments(decoded.packed, plan, tile_picture)
    torch.ops.yolofast.render_(images, decoded.planes, **arguments)

nvJPEG is looked for when a decoder is made: in YOLOFAST_NVJPEG (a path) if that is set, else in the package
`nvidia-nvjpeg` (`pip install 'yolofast[nvjpeg]'`), in CUDA_HOME, and in the system's library path. Its CUDA
version must have the same major number as torch's.

yolofast's own parsers check each file before nvJPEG gets it. nvJPEG gets only complete, common files:
baseline, extended or progressive Huffman, 8 bits, gray or YCbCr in 4:4:4, 4:2:2, 4:2:0, 4:4:0 or 4:1:1, with
an end marker, for which nvJPEG reports the plane sizes that memory was laid out for. Pixels differ from the
CPU decoder's by rounding in the inverse transform. nvJPEG may accept errors that only decoding can find, such
as an invalid Huffman code, where the CPU decoder refuses the file.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ConfigError, ImageError, MissingExtraError, missing_extra
from yolofast.kernels import decode_jpeg
from yolofast.kernels._nvjpeg import Decoder, Nvjpeg
from yolofast.kernels.packed_pictures import (
    PLANE_ALIGN,
    PackedPictures,
    PictureColumn,
    pack_pictures,
)
from yolofast.types import Picture

try:
    import torch
except ModuleNotFoundError as error:
    raise missing_extra("torch", "train", "yolofast.kernels.torch_nvjpeg") from error

File = bytes | bytearray | memoryview | NDArray[np.uint8] | str | os.PathLike[str]

MARKS = 16
"""Bytes of a luma plane that are checked to see whether nvJPEG wrote anything."""
_DRIVERS = ("libcuda.so.1",)


@dataclass(frozen=True)
class DecodedPlanes:
    """Pictures in device memory.

    packed    the pictures, one per file, whose planes are uint8 [N] on the device; missing where refused
    refused   (position, reason) of each file that has no picture
    """

    packed: PackedPictures[torch.Tensor]
    refused: list[tuple[int, str]]

    @property
    def planes(self) -> torch.Tensor:
        """uint8 [N] on the device."""
        return self.packed.planes

    @property
    def pictures(self) -> torch.Tensor:
        """int64 [P, len(PictureColumn)] on the CPU: see `PackedPictures`."""
        return torch.from_numpy(self.packed.pictures)

    @property
    def places(self) -> torch.Tensor:
        """float64 [P, 2, 3] on the CPU, as `place` of `types.Picture`."""
        return torch.from_numpy(self.packed.places)


def library_candidates(cuda: str | None) -> list[str]:
    """Paths to try for nvJPEG, best first, for a version of CUDA such as "13.0"."""
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
    """Decodes many JPEG files at a time to planes on a device. Not thread-safe: use one per thread.

    device   a CUDA device
    threads  number of CPU threads that read and check files
    stream   CUDA stream for the work; None means the current stream of the calling thread
    library  path of nvJPEG; None means search for it
    driver   path of the CUDA driver's library; None means the system's

    Raises:
        MissingExtraError: nvJPEG was not found, is incomplete or too old; says where it was looked for.
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
        target = torch.device(device)
        libraries = library_candidates(torch.version.cuda) if library is None else [os.fspath(library)]
        try:
            found = Nvjpeg(libraries, _DRIVERS if driver is None else [os.fspath(driver)])
        except OSError as error:
            raise MissingExtraError(
                f"GPU JPEG decode: {error}. Install it with: pip install 'yolofast[nvjpeg]', or name the "
                "library in YOLOFAST_NVJPEG"
            ) from None
        # Only the tests' substitute for nvJPEG decodes to the CPU.
        if target.type != ("cpu" if found.is_on_host else "cuda"):
            raise ConfigError(f"device: got '{device}', expected a CUDA device for GPU JPEG decode.")
        if target.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f"device: got '{device}', but torch finds no CUDA device.")
        target = torch.empty(0, device=target).device  # with its index
        self.device, self.library, self._stream = target, found, stream
        with self._current():
            try:
                self._decoder = Decoder(found, threads)
            except OSError as error:
                raise ConfigError(f"device: got '{device}', but {error}.") from None
        self.has_hardware: bool = self._decoder.has_hardware

    # ------------------------------------------------------------ all at once

    def decode(self, files: Sequence[File], *, fall_back: bool = True) -> DecodedPlanes:
        """The planes of files; with `fall_back`, those that nvJPEG refuses are decoded on the CPU.

        Files are bytes-like, or paths. A bad file does not raise: `refused` lists the files without a
        picture, with the CPU decoder's reason if that was tried.
        """
        decoded = self.decode_to(self.empty(self.prepare(files)))
        return self._decode_on_cpu(files, decoded) if fall_back and decoded.refused else decoded

    def empty(self, size: int) -> torch.Tensor:
        """uint8 [size] on the device, for `decode_to`."""
        with self._current():
            return torch.empty(size, dtype=torch.uint8, device=self.device)

    def _decode_on_cpu(self, files: Sequence[File], decoded: DecodedPlanes) -> DecodedPlanes:
        """The same with the planes of refused files appended; lists those that are still refused."""
        positions, pictures = [], []
        refused: list[tuple[int, str]] = []
        for position, _ in decoded.refused:
            try:
                pictures.append(_picture_of(files[position]))
            except ImageError as error:
                refused.append((position, str(error)))
                continue
            positions.append(position)
        if not pictures:
            return DecodedPlanes(decoded.packed, refused)
        more = pack_pictures(pictures, row_align=1)
        begin = -(-len(decoded.planes) // PLANE_ALIGN) * PLANE_ALIGN
        planes = self.empty(begin + len(more.planes))
        with self._current():
            planes[: len(decoded.planes)].copy_(decoded.planes)
            planes[begin:].copy_(torch.from_numpy(more.planes))
        packed = replace(decoded.packed, planes=planes)
        packed.put(np.array(positions), more, begin)
        return DecodedPlanes(packed, refused)

    # ------------------------------------------------------------ in two steps

    def prepare(self, files: Sequence[File], shapes: NDArray[np.int32] | None = None) -> int:
        """Read and check files; returns how many bytes their planes take.

        `shapes` int32 [n, 2]: height and width of the upright pictures, if they are known; files of another
        shape are refused.
        """
        with self._current():
            return self._decoder.prepare(files, shapes)

    def decode_to(self, planes: torch.Tensor) -> DecodedPlanes:
        """Decode what was prepared to the beginning of uint8 [N] on the device; done when this returns."""
        if planes.dtype != torch.uint8 or planes.dim() != 1 or planes.device != self.device:
            got = f"{planes.dtype} {list(planes.shape)} on {planes.device}"
            raise ValueError(f"planes is {got}; expected uint8 [N] on {self.device}")
        if not planes.is_contiguous():
            raise ValueError(f"planes has stride {planes.stride(0)}; expected a contiguous tensor")
        size = self._decoder.prepared
        if size is None or len(planes) < size:
            raise ValueError(f"planes has {len(planes)} bytes; what was prepared takes {size}")
        with self._current() as stream:
            prepared = self._decoder.packed(planes)
            there = np.flatnonzero(prepared.is_there)
            where = torch.from_numpy(_mark_positions(prepared.select(there))).to(self.device)
            marks = (where * 37 + 101).to(torch.uint8)
            planes[where] = marks
            self._decoder.decode(planes.data_ptr(), len(planes), stream)
            is_untouched = (planes[where] == marks).all(dim=1).cpu().numpy()
        packed, refused = self._decoder.packed(planes), self._decoder.refused()
        unwritten = there[is_untouched & packed.is_there[there]]
        packed.remove(unwritten)
        message = "nvJPEG: says that the file is decoded, but wrote nothing"
        return DecodedPlanes(packed, sorted([*refused, *((at, message) for at in unwritten.tolist())]))

    @contextlib.contextmanager
    def _current(self) -> Iterator[int]:
        """Make the device and the stream current, for torch and the driver; yields the stream's address."""
        if self.device.type == "cpu":
            yield 0
            return
        with torch.cuda.device(self.device), torch.cuda.stream(self._stream):
            stream = torch.cuda.current_stream(self.device)
            stream.query()  # so that the driver has a context in this thread
            yield stream.cuda_stream


def _mark_positions(packed: PackedPictures[torch.Tensor]) -> NDArray[np.int64]:
    """Bytes of each luma plane, [n, MARKS], that are marked before nvJPEG writes.

    Hardware decoders have been seen to skip a file of a batch and to report success. A picture that has every
    mark by chance is decoded once more, on the CPU, which does no harm.
    """
    size = packed.column(PictureColumn.HEIGHT) * packed.column(PictureColumn.WIDTH)
    spread = size[:, None] * (2 * np.arange(MARKS) + 1) // (2 * MARKS)
    return np.asarray(packed.column(PictureColumn.OFFSET_Y)[:, None] + spread)


def _picture_of(file: File) -> Picture:
    """A file decoded on the CPU at full size; raises ImageError."""
    data = file
    if isinstance(file, str | os.PathLike):
        try:
            data = Path(file).read_bytes()
        except OSError as error:
            raise ImageError(f"{os.fspath(file)}: cannot be read ({error.strerror})") from None
    assert not isinstance(data, str | os.PathLike)
    return Picture.of(decode_jpeg(data, layout="ycc"))
