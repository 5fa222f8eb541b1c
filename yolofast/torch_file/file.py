"""The zip of a PyTorch file: its entries, its pickle, and the bytes of its tensors.

`torch.save` writes a zip without compression: PREFIX/data.pkl describes the values, PREFIX/data/KEY has the
numbers of a storage, PREFIX/byteorder their order of bytes (little where it is missing).

The bytes are read, not memory-mapped: a mapped file that becomes shorter ends the process.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from yolofast.errors import CheckpointError
from yolofast.limits import MAX_PICKLE_BYTES, MAX_TORCH_ENTRIES
from yolofast.printable import printable
from yolofast.torch_file import names
from yolofast.torch_file.machine import Machine
from yolofast.torch_file.records import PickleError, Storage, StoredTensor
from yolofast.zip_directory import (
    DamagedArchive,
    RefusedArchive,
    ZipMember,
    contents_offset,
    shown_name,
    zip_members,
)

_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""A pickle of the number with which files of torch before 1.6 begin."""
_PICKLE = "/data.pkl"
_BLOCK = 1 << 20


def is_torch_file(path: Path) -> bool:
    """Whether a file begins as PyTorch's do, whatever its name is. False for one that cannot be read."""
    if not path.is_file():  # a pipe would wait for its writer
        return False
    try:
        with path.open("rb") as file:
            begin = file.read(len(_LEGACY))
    except OSError:
        return False
    return begin.startswith(_ZIP) or begin == _LEGACY


class TorchFile:
    """A file of `torch.save`; `root` is the value that was saved, its tensors are `StoredTensor`.

    Raises `CheckpointError` when it cannot be read, is damaged, asks for something dangerous or for too much.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _errors_of(path), path.open("rb") as file:
            if file.read(len(_LEGACY)) == _LEGACY:
                raise PickleError(
                    "it is in the format of PyTorch before 1.6, which is no zip; load it and save it again "
                    "with a PyTorch of today"
                )
            self._entries = _entries(file)
            self._prefix = _prefix(self._entries)
            self._swapped = self._read_byte_order(file) == "big"
            self._storages: dict[str, Storage] = {}
            self._shared: dict[str, Tensor] = {}
            pickle = self._contents(file, self._prefix + _PICKLE, MAX_PICKLE_BYTES)
            self.root: Any = Machine(pickle, self._storage).run()

    def read(self, tensor: StoredTensor) -> Tensor:
        """The numbers of a tensor, on the CPU, in memory of its own and without gaps.

        Raises `CheckpointError` for bytes whose checksum does not match.
        """
        storage = tensor.storage
        values = self._shared.get(storage.key)
        if values is None:
            values = self._numbers(storage)
            if tensor.count != storage.count:  # others may be in it, too, and it is read once only
                self._shared[storage.key] = values
        view = values.as_strided(tensor.shape, tensor.stride, tensor.offset)
        is_shared = storage.key in self._shared
        return view.clone(memory_format=torch.contiguous_format) if is_shared else view.contiguous()

    def _numbers(self, storage: Storage) -> Tensor:
        data = torch.empty(storage.count * storage.dtype.itemsize, dtype=torch.uint8)
        view = data.numpy().data
        with _errors_of(self.path), self.path.open("rb") as file:
            entry = self._entries[self._storage_name(storage.key)]
            file.seek(contents_offset(file, entry))
            if view.nbytes and file.readinto(view) != view.nbytes:
                raise PickleError("it became shorter while it was read")
            if zlib.crc32(view) != entry.crc:
                raise DamagedArchive(f"wrong checksum of entry {shown_name(entry.name)}")
        if self._swapped and storage.dtype.itemsize > 1:
            data = data.view(-1, storage.dtype.itemsize).flip(1).reshape(-1)
        return data.view(storage.dtype)

    def _read_byte_order(self, file: BinaryIO) -> str:
        name = f"{self._prefix}/byteorder"
        order = (
            self._contents(file, name, 16).decode("ascii", "replace") if name in self._entries else "little"
        )
        if order not in ("little", "big"):
            raise PickleError(f"its order of bytes is {printable(order, 20)}, expected little or big")
        return order

    def _contents(self, file: BinaryIO, name: str, limit: int) -> bytes:
        """A whole entry, its checksum compared."""
        entry = self._entries[name]
        if entry.size > limit:
            raise PickleError(f"its {shown_name(name)} has {entry.size} bytes, the limit is {limit}")
        file.seek(contents_offset(file, entry))
        data = file.read(entry.size)
        if len(data) != entry.size or zlib.crc32(data) != entry.crc:
            raise DamagedArchive(f"wrong checksum of entry {shown_name(name)}")
        return data

    def _storage_name(self, key: str) -> str:
        return f"{self._prefix}/data/{key}"

    def _storage(self, identity: Any) -> Storage:
        """The storage of a persistent id, when the file has its bytes."""
        storage = names.storage(identity)
        known = self._storages.get(storage.key)
        if known is None:
            self._check_storage(storage)
            known = self._storages[storage.key] = storage
        if (known.dtype, known.count) != (storage.dtype, storage.count):
            raise PickleError(f"storage {printable(storage.key, 40)} is described in two ways")
        return known

    def _check_storage(self, storage: Storage) -> None:
        entry = self._entries.get(self._storage_name(storage.key))
        if entry is None:
            raise PickleError(f"it has no bytes for storage {printable(storage.key, 40)}")
        wanted = storage.count * storage.dtype.itemsize
        if entry.size != wanted:
            raise PickleError(
                f"storage {printable(storage.key, 40)} claims {wanted} bytes and has {entry.size} of them"
            )


def _entries(file: BinaryIO) -> dict[str, ZipMember]:
    """The entries of the zip by name. Those that are compressed or encrypted, or there twice, are refused."""
    size = os.fstat(file.fileno()).st_size
    found: dict[str, ZipMember] = {}
    for entry in zip_members(file):
        if entry.name in found:
            raise RefusedArchive(f"has two entries {shown_name(entry.name)}")
        if entry.method or entry.flags & 1 or entry.packed != entry.size:
            raise RefusedArchive(
                f"has a compressed or encrypted entry {shown_name(entry.name)}; torch.save writes none. "
                "Save it again with torch.save"
            )
        if entry.size > size:
            raise DamagedArchive(f"entry {shown_name(entry.name)} is larger than the file")
        if len(found) >= MAX_TORCH_ENTRIES:
            raise RefusedArchive(f"has more than {MAX_TORCH_ENTRIES} entries")
        found[entry.name] = entry
    return found


def _prefix(entries: dict[str, ZipMember]) -> str:
    """The folder that all entries are in."""
    found = [
        name.removesuffix(_PICKLE) for name in entries if name.count("/") == 1 and name.endswith(_PICKLE)
    ]
    if len(found) != 1:
        raise PickleError(
            f"it is a zip with {len(found)} files data.pkl, expected one: not written by torch.save"
        )
    if f"{found[0]}/constants.pkl" in entries:
        raise PickleError(
            "it is a TorchScript program, not a checkpoint; use the .pt that it was exported from"
        )
    return found[0]


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read: {error.strerror or error}. Check the path."
        ) from error
    except RefusedArchive as error:
        raise CheckpointError(f"{path}: {error}: refused, nothing was read or executed.") from None
    except (DamagedArchive, EOFError, struct.error, OverflowError, UnicodeError) as error:
        raise CheckpointError(
            f"{path}: is damaged or truncated ({printable(str(error), 200)}). Copy it again, or use another."
        ) from None
    except ValueError as error:
        raise CheckpointError(
            f"{path}: cannot be read as a file of PyTorch: {printable(str(error), 300)}. Nothing in it was "
            "executed. Use another file."
        ) from None
