"""Files of named tensors with a header of text: safetensors, in one order of bytes and with checksums.

A file is the length of its header (8 bytes, little endian), the header (JSON: dtype, shape and offsets of
every tensor, and text by name), then the bytes of the tensors without gaps
(https://github.com/huggingface/safetensors, "Format"). Any safetensors reader can open the files. What is
added here:

- Equal tensors and equal text give equal bytes: everything is in a fixed order.
- The text has a checksum for every tensor, and one of the whole header, so that each of the two can be
  checked alone. A file without them, by another writer, can be read too.
- The header is foreign input: it is bounded, and checked whole before anything else is read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolofast.errors import CheckpointError
from yolofast.limits import MAX_TENSOR_DIMENSIONS, MAX_TENSOR_HEADER_BYTES, MAX_TENSOR_HEADER_VALUES
from yolofast.printable import printable
from yolofast.seal import UNSEALED, is_intact, sealed

RESERVED = ("checksum", "tensor_checksums")
"""Names of the text in which the checksums are: of the header, and of the tensors in the order of bytes."""

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_METADATA = "__metadata__"
_LENGTH = 8
_ALIGNMENT = 8
_DIGITS = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor is in a file, and what it is."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    """Of its bytes, from the end of the header."""
    end: int
    checksum: str | None
    """CRC-32 of its bytes in hexadecimal; None in a file without checksums."""


class TensorFile:
    """An open file: `metadata` is its text by name, without the checksums; `stored` its tensors by name."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file = path, file
        with _errors_of(path):
            self.metadata, self.stored, self._begin = _read_header(path, file)

    def read(self, name: str) -> Tensor:
        """A tensor, on the CPU and in memory of its own. Raises `CheckpointError` for damaged bytes."""
        stored = self.stored[name]
        data = torch.empty(stored.end - stored.begin, dtype=torch.uint8)
        view = data.numpy().data
        with _errors_of(self.path):
            self._file.seek(self._begin + stored.begin)
            if view.nbytes and self._file.readinto(view) != view.nbytes:  # type: ignore[attr-defined]
                raise ValueError("it became shorter while it was read")
        if stored.checksum is not None and stored.checksum != _hexadecimal(zlib.crc32(view)):
            raise _damaged(self.path, f"tensor {printable(name, 100)}")
        return data.view(stored.dtype).reshape(stored.shape)


@contextlib.contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """The file at `path`, its header checked. Raises `CheckpointError` when it is not a sound safetensors."""
    with contextlib.ExitStack() as stack:
        with _errors_of(path):
            file = stack.enter_context(path.open("rb"))
        yield TensorFile(path, file)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a file; `metadata` must not use the names `RESERVED`. One tensor at a time is copied.

    Raises `CheckpointError` for a dtype that has no name in the format and for a header that is too large to
    be read again, `OSError` as the disk does.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # keeps each aligned
    header: dict[str, Any] = {}
    position = 0
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in _NAMES:
            raise CheckpointError(f"{path}: tensor {name} is {tensor.dtype}, which cannot be saved.")
        end = position + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = dict(sorted(metadata.items()))
    room = {"tensor_checksums": "0" * _DIGITS * len(order), "checksum": UNSEALED}
    empty = _encoded(header, text | room)
    length = len(empty)
    if length - _LENGTH > MAX_TENSOR_HEADER_BYTES or _brackets(empty) > MAX_TENSOR_HEADER_VALUES:
        raise CheckpointError(
            f"{path}: not written, because its header has {length - _LENGTH} bytes and {_brackets(empty)} "
            f"objects and lists, the limits are {MAX_TENSOR_HEADER_BYTES} and {MAX_TENSOR_HEADER_VALUES}. "
            "Use shorter class names, or go on from best.safetensors (--weights) in a new run."
        )
    with path.open("wb") as file:
        file.seek(length)
        checksums = []
        for name in order:
            data = _bytes_of(tensors[name])
            checksums.append(_hexadecimal(zlib.crc32(data.data)))
            file.write(data.data)
        file.seek(0)
        file.write(sealed(_encoded(header, text | room | {"tensor_checksums": "".join(checksums)})))


def non_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that has an infinite value or NaN; None when there is none."""
    sums: dict[torch.device, list[Tensor]] = {}
    with torch.no_grad():
        for tensor in tensors.values():
            if tensor.is_floating_point():
                sums.setdefault(tensor.device, []).append(tensor.sum(dtype=torch.float32))
        # A sum is finite only where all values are, and takes a fortieth of the time of a look at each.
        if all(bool(torch.stack(found).isfinite().all()) for found in sums.values()):
            return None
        return next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)


def parsed_json(text: str | bytes) -> Any:
    """JSON of a header. Raises ValueError for what it is not, nested too deeply, or with a name twice."""
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


# ------------------------------------------------------------ bytes


def _encoded(header: Mapping[str, Any], text: Mapping[str, str]) -> bytes:
    """The beginning of a file, with the text last, because the seal must be."""
    encoded = json.dumps({**header, _METADATA: text}, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % _ALIGNMENT)
    return len(encoded).to_bytes(_LENGTH, "little") + encoded


def _bytes_of(tensor: Tensor) -> NDArray[np.uint8]:
    data: NDArray[np.uint8] = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return data


def _hexadecimal(checksum: int) -> str:
    return f"{checksum:08x}"


# ------------------------------------------------------------ header


def _read_header(path: Path, file: BinaryIO) -> tuple[dict[str, str], dict[str, StoredTensor], int]:
    """Text, tensors, and where the bytes of the tensors begin. Raises ValueError for another format."""
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(_LENGTH)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < _LENGTH or length > size - _LENGTH:
        raise ValueError("it is shorter than its header says")
    if length > MAX_TENSOR_HEADER_BYTES:
        raise ValueError(f"its header has {length} bytes, the limit is {MAX_TENSOR_HEADER_BYTES}")
    raw = prefix + file.read(length)
    intact = is_intact(raw)
    if intact is False:
        raise _damaged(path, "its header")
    header = _parsed(raw[_LENGTH:])
    text = header.pop(_METADATA, {})
    if not isinstance(text, dict) or not all(isinstance(value, str) for value in text.values()):
        raise ValueError("its metadata is not text")
    checksums = text.pop("tensor_checksums", None)
    text.pop("checksum", None)
    if checksums is not None if intact is None else len(checksums or "") != _DIGITS * len(header):
        raise _damaged(path, "its header")  # of the two checksums, one has lost its name
    if intact is None:
        _log.info("%s has no checksums: it is by an older version or another program", path)
    return text, _stored(header, checksums, size - len(raw)), len(raw)


def _parsed(raw: bytes) -> dict[str, Any]:
    if _brackets(raw) > MAX_TENSOR_HEADER_VALUES:
        raise ValueError(f"its header has more than {MAX_TENSOR_HEADER_VALUES} objects and lists")
    header = parsed_json(raw)
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    return header


def _brackets(raw: bytes) -> int:
    return raw.count(b"{") + raw.count(b"[")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return found


def _stored(header: Mapping[str, Any], checksums: str | None, size: int) -> dict[str, StoredTensor]:
    """The tensors in a header, in the order of their bytes, which must fill `size` without gaps."""
    found = {name: _entry(name, value) for name, value in header.items()}
    order = sorted(found, key=lambda name: (found[name].begin, found[name].end))
    position, stored = 0, {}
    for number, name in enumerate(order):
        entry = found[name]
        if entry.begin != position:
            raise ValueError(f"tensor {printable(name, 100)} does not begin where the one before ends")
        position = entry.end
        digits = None if checksums is None else checksums[number * _DIGITS : (number + 1) * _DIGITS]
        stored[name] = StoredTensor(entry.dtype, entry.shape, entry.begin, entry.end, digits)
    if position != size:
        raise ValueError(f"it has {size} bytes of tensors, its header says {position}")
    return stored


def _entry(name: str, value: Any) -> StoredTensor:
    try:
        dtype, shape, (begin, end) = _DTYPES[value["dtype"]], value["shape"], value["data_offsets"]
        numbers = [*shape, begin, end]
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in numbers):
            raise TypeError
        if len(shape) > MAX_TENSOR_DIMENSIONS or end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"its header does not describe tensor {printable(name, 100)}") from None
    return StoredTensor(dtype, tuple(shape), begin, end, None)


# ------------------------------------------------------------ errors


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}. Check the path.") from error
    except ValueError as error:
        raise CheckpointError(
            f"{path}: cannot be read as safetensors ({printable(str(error), 200)}): it is in another format, "
            "or was truncated while it was copied. Copy it again, or use another checkpoint."
        ) from error


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: damaged: the checksum of {what} does not match, because a disk, a copy or another program "
        "changed the file. Copy it again, or use another: a run keeps last, previous and best.safetensors. "
        f"A program that changes it on purpose has to leave out {' and '.join(RESERVED)} of its metadata."
    )
