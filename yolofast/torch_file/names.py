"""Which classes and functions a pickle may mention, and what each becomes: one table, and a list of refusals.

A name in `CALLS` is replaced by a function of ours that takes plain values and returns a plain value. A name
whose module is in `DANGEROUS` is refused as soon as it is mentioned: no file of weights has a reason for it.
Every other name becomes a `Record`, whatever it is, and so cannot do anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from yolofast.limits import MAX_TENSOR_DIMENSIONS
from yolofast.printable import printable
from yolofast.torch_file.records import Name, PickleError, Record, Storage, StoredTensor

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""The classes of torch's storages by name, and the type of their numbers."""

DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in STORAGES.values()}

DANGEROUS = frozenset(
    re.findall(
        r"\w+",
        "__builtin__ _frozen_importlib _frozen_importlib_external _imp _io _operator _pickle _posixshmem "
        "_posixsubprocess _socket _sqlite3 _ctypes _winapi _xxsubinterpreters aifc ast asyncio atexit bdb "
        "builtins cProfile cffi code codeop cloudpickle commands concurrent copyreg ctypes dill distutils "
        "doctest ensurepip fileinput ftplib functools gc glob http httplib idlelib imaplib imp importlib "
        "inspect io joblib linecache lib2to3 logging mailbox marshal mmap msvcrt multiprocessing nntplib "
        "nt ntpath operator os pdb pickle pickletools pip pkg_resources pkgutil poplib posix posixpath "
        "profile pty pydoc requests runpy setuptools shelve shutil signal site smtplib socket "
        "socketserver sqlite3 ssl subprocess sys sysconfig tarfile tempfile telnetlib threading "
        "timeit trace types urllib urllib2 venv webbrowser weakref winreg xmlrpc zipapp zipfile zipimport",
    )
)
"""Top-level modules whose names are refused, but for those in `CALLS`."""

_HARMLESS = frozenset(
    {Name("types", "SimpleNamespace"), Name("builtins", "object"), Name("__builtin__", "object")}
)
"""Names of those modules that files of weights do mention; they become records."""

_DANGEROUS_IN_TORCH = re.compile(
    r"torch\.(hub|package|jit|_dynamo|_inductor|utils\.cpp_extension|distributed|multiprocessing"
    r"|storage\._load_from_bytes|load$|serialization\.(load|_load)|fx|_utils\._?import|ops|_ops|classes|_classes"
    r"|testing)"
)
_DANGEROUS_IN_NUMPY = re.compile(r"numpy\.(load|testing|distutils|f2py|ctypeslib|lib\.npyio|memmap|fromfile)")


def checked(name: Name) -> Name:
    """`name`, when a pickle may mention it. Raises `PickleError` when it is dangerous by nature."""
    if name in CALLS or name in _HARMLESS:
        return name
    text = str(name)
    if (
        name.module.partition(".")[0] in DANGEROUS
        or _DANGEROUS_IN_TORCH.match(text)
        or _DANGEROUS_IN_NUMPY.match(text)
    ):
        raise PickleError(
            f"it asks for {printable(text, 100)}, which can run programs or code: no weights need it, and "
            "the file may be an attack"
        )
    return name


def storage(identity: Any) -> Storage:
    """The storage that a persistent id describes: ("storage", class, key, device, number of elements)."""
    if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
        raise PickleError("a persistent id is not that of a storage")
    _, kind, key, _, count = identity
    dtype = STORAGES.get(kind.name) if isinstance(kind, Name) and kind.module == "torch" else None
    if kind in (Name("torch.storage", "UntypedStorage"), Name("torch", "UntypedStorage")):
        dtype = torch.uint8
    if dtype is None:
        shown = printable(str(kind), 100) if isinstance(kind, Name) else type(kind).__name__
        raise PickleError(f"a storage of type {shown}, which is not one of numbers that weights have")
    if not isinstance(key, str) or not _is_count(count):
        raise PickleError("a storage without a key or a size")
    return Storage(key, dtype, count)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _tensor(source: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    """A view of a storage, as `torch._utils._rebuild_tensor_v2` describes it."""
    if not isinstance(source, Storage):
        raise PickleError("a tensor without a storage")
    if not (isinstance(shape, tuple) and isinstance(stride, tuple) and len(shape) == len(stride)):
        raise PickleError("a tensor whose shape and strides do not belong together")
    if len(shape) > MAX_TENSOR_DIMENSIONS:
        raise PickleError(f"a tensor of {len(shape)} dimensions, the limit is {MAX_TENSOR_DIMENSIONS}")
    if not all(_is_count(number) for number in (offset, *shape, *stride)):
        raise PickleError("a tensor whose shape, strides or offset are not whole numbers from 0 on")
    if 0 in shape and math.prod(size for size in shape if size) >= 1 << 48:
        raise PickleError("a tensor without numbers whose shape is beyond all memory")
    reach = 1
    if 0 not in shape:
        for step, size in sorted(zip(stride, shape, strict=True)):
            if size > 1:
                if step < reach:
                    raise PickleError(
                        "a tensor that uses the same number several times (overlapping strides)"
                    )
                reach += step * (size - 1)
    if offset + (0 if 0 in shape else reach) > source.count:
        raise PickleError(
            f"a tensor that goes beyond its storage of {source.count} numbers: offset {offset}, "
            f"shape {shape}, strides {stride}"
        )
    return StoredTensor(source, offset, shape, stride)


def _parameter(data: Any, *_: Any) -> StoredTensor:
    if not isinstance(data, StoredTensor):
        raise PickleError("a parameter that is not a tensor")
    return data


def _pairs(pairs: Any = ()) -> dict[Any, Any]:
    if isinstance(pairs, dict):
        return dict(pairs)
    if not isinstance(pairs, list | tuple) or any(
        not isinstance(pair, list | tuple) or len(pair) != 2 or not _is_plain_key(pair[0]) for pair in pairs
    ):
        raise PickleError("a dictionary whose pairs are not pairs")
    return dict(pairs)


def _elements(values: Any = ()) -> set[Any]:
    if not isinstance(values, list | tuple | set | frozenset) or not all(
        _is_plain_key(value) for value in values
    ):
        raise PickleError("a set of something else than plain values")
    return set(values)


def _sequence(values: Any = ()) -> tuple[Any, ...]:
    if not isinstance(values, list | tuple):
        raise PickleError("a size that is not a list of numbers")
    return tuple(values)


def _encoded(text: Any, encoding: Any) -> bytes:
    """Bytes, as pickles of protocol 2 write them: text in latin1."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise PickleError("bytes that are not written as latin1")
    return text.encode("latin1")


def _reconstructed(kind: Any, *_: Any) -> Record:
    """An object of a class, as `copyreg._reconstructor` makes it."""
    if not isinstance(kind, Name):
        raise PickleError("an object without a class")
    return Record(checked(kind))


def _device(kind: Any, *_: Any) -> str:
    if not isinstance(kind, str):
        raise PickleError("a device that is not a name")
    return kind


def _scalar(kind: Any, data: Any = None) -> bool | int | float:
    """A number of numpy: its type is a record of `numpy.dtype`, its bytes are little endian."""
    code = kind.arguments[0] if isinstance(kind, Record) and kind.arguments else None
    order = (
        kind.state[1]
        if isinstance(kind, Record) and isinstance(kind.state, tuple) and kind.state[1:]
        else "<"
    )
    wanted = code if isinstance(code, str) and code in _SCALAR_CODES else None
    if wanted is None or order not in ("<", "|", "=") or not isinstance(data, bytes):
        raise PickleError("a scalar of numpy that is not a plain number")
    if len(data) != np.dtype(wanted).itemsize:
        raise PickleError("a scalar of numpy with too many or too few bytes")
    value: bool | int | float = np.frombuffer(data, f"<{wanted}")[0].item()
    return value


def is_key(value: Any) -> bool:
    """Whether a value may be the key of a dictionary or in a set: cheap to hash, whatever it holds.

    Many tuples can have the same hash, so the machine counts them.
    """
    if isinstance(value, tuple):
        return len(value) <= 16 and all(_is_plain_key(item) for item in value)
    return _is_plain_key(value)


def _is_plain_key(value: Any) -> bool:
    if isinstance(value, int):
        return abs(value) < 1 << 60  # from there on many have the same hash
    return value is None or isinstance(value, (str, bytes, float, torch.dtype, Name, Record))


_SCALAR_CODES = frozenset(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"])

CALLS: dict[Name, Callable[..., Any]] = {
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
    Name("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    Name("torch", "Size"): _sequence,
    Name("collections", "OrderedDict"): _pairs,
    Name("_codecs", "encode"): _encoded,
    Name("copyreg", "_reconstructor"): _reconstructed,
    Name("copy_reg", "_reconstructor"): _reconstructed,
    **{
        Name(module, name): _elements
        for module in ("builtins", "__builtin__")
        for name in ("set", "frozenset")
    },
    Name("torch", "device"): _device,
    **{Name(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}
"""What is done for a call of a name. All others become a `Record`."""
