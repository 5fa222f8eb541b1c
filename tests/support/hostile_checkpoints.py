"""Whole checkpoints that attack the reader: sound ones with something hostile in their pickle or their zip.

The sound one is a training file of `support.torch_files`; what is hostile is one more value of its
dictionary, written in the opcodes of pickle, or another way to write its zip.
"""

from __future__ import annotations

import io
import marshal
import os
import pickle
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from support.archive_bombs import zip_member, zip_of
from support.torch_files import Calls, save_training

Entries = dict[str, bytes]
MILLION = 1_000_000
TOUCH = "touch yolofast-was-here"


def entries_of(data: bytes) -> Entries:
    """The entries of a zip by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def written(entries: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return out.getvalue()


def pickle_name(entries: Mapping[str, bytes]) -> str:
    return next(name for name in entries if name.endswith("/data.pkl"))


def spliced(entries: Mapping[str, bytes], opcodes: bytes) -> Entries:
    """The checkpoint with one more value in its dictionary, which `opcodes` make."""
    name = pickle_name(entries)
    assert entries[name].endswith(b"u.")
    return {**entries, name: entries[name][:-2] + b"X\x04\x00\x00\x00evil" + opcodes + b"u."}


def with_object(entries: Mapping[str, bytes], value: Any, protocol: int = 2) -> Entries:
    """The checkpoint with one more object in its dictionary, as pickle writes it."""
    pickled = pickle.dumps(value, protocol)
    frame = 11 if pickled[2:3] == b"\x95" else 2
    return spliced(entries, renumbered(pickled[frame:-1]))


def renumbered(opcodes: bytes) -> bytes:
    """The memo of the spliced part is left out: its numbers are those of the checkpoint."""
    import pickletools

    kept, ends = [], [position for _, _, position in pickletools.genops(opcodes + b".")][1:]
    begin = 0
    for (code, _, _), end in zip(pickletools.genops(opcodes + b"."), ends, strict=False):
        if code.name not in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            kept.append(opcodes[begin:end])
        begin = end
    return b"".join(kept)


def saved(value: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


class OfSomebody:
    """A class that `torch.load` would import and make."""

    def __init__(self) -> None:
        self.weights = [1, 2, 3]


def objects() -> dict[str, Any]:
    """Objects that run code when Python unpickles them."""
    chain: Any = Calls(__import__, "os")
    for name in ("path", "os", "system"):
        chain = Calls(getattr, chain, name)
    nested: Any = Calls(os.system, TOUCH)
    for _ in range(50):
        nested = Calls(list, (nested,))
    return {
        "os.system": Calls(os.system, TOUCH),
        "popen": Calls(subprocess.Popen, (["touch", "yolofast-was-here"],)),
        "eval": Calls(eval, f"__import__('os').system({TOUCH!r})"),
        "exec": Calls(exec, f"import os; os.system({TOUCH!r})"),
        "open": Calls(open, "yolofast-was-here", "w"),
        "nested reduce": nested,
        "getattr chain": chain,
        "torch.load": Calls(torch.load, "other.pt"),
        "hub": Calls(torch.hub.load, "somebody/repository", "model"),
        "pickle in a pickle": Calls(pickle.loads, pickle.dumps(Calls(os.system, TOUCH))),
    }


# ------------------------------------------------------------ opcodes


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def put(key: int) -> bytes:
    return b"r" + struct.pack("<I", key)


def get(key: int) -> bytes:
    return b"j" + struct.pack("<I", key)


BASE = 1 << 30
"""Numbers of the memo from here on are free."""


def storage(key: str, count: int, kind: str = "HalfStorage") -> bytes:
    return (
        b"("
        + text("storage")
        + f"ctorch\n{kind}\n".encode()
        + text(key)
        + text("cpu")
        + number(count)
        + b"tQ"
    )


def sizes(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    offset: int = 0,
    key: str = "0",
    count: int = 1,
    kind: str = "HalfStorage",
) -> bytes:
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage(key, count, kind)
        + number(offset)
        + sizes(shape)
        + sizes(stride)
        + b"\x89}tR"
    )


def tuples_of_one_hash(count: int) -> list[tuple[int, int]]:
    """Pairs of numbers whose hash is the same: the hash of a tuple has no secret. The constants and steps are
    those of Objects/tupleobject.c (xxHash)."""
    first, second, third = 11400714785074694791, 14029467366897019727, 2870177450012600261
    mask, inverse = (1 << 64) - 1, pow(14029467366897019727, -1, 1 << 64)
    found: list[tuple[int, int]] = []
    number_ = 0
    while len(found) < count:
        number_ += 1
        lane = (third + number_ * second) & mask
        lane = ((lane << 31 | lane >> 33) & mask) * first & mask
        other = (12345 - lane) * inverse & mask
        if other < 1 << 59:
            found.append((number_, other))
    assert len(set(map(hash, found))) == 1
    return found


def opcodes() -> dict[str, Callable[[], bytes]]:
    """Values that ask for far more than they have, or break the rules of pickle."""
    huge = 1 << 40
    code = marshal.dumps(compile(f"__import__('os').system({TOUCH!r})", "x", "eval"))
    loaded = b"cmarshal\nloads\nB" + struct.pack("<I", len(code)) + code + b"\x85R"
    return {
        "lambda": lambda: b"ctypes\nFunctionType\n" + loaded + b"}\x86R)R",
        "code": lambda: loaded,
        "claimed storage": lambda: tensor((huge,), (1,), count=huge),
        "shape outside": lambda: tensor((1 << 20,), (1,), count=432),
        "offset outside": lambda: tensor((4,), (1,), 430, count=432),
        "stride outside": lambda: tensor((2, 2), (431, 431), count=432),
        "strides overlap": lambda: tensor((huge, huge), (0, 0), count=432),
        "negative size": lambda: tensor((-1,), (1,), count=432),
        "negative stride": lambda: tensor((2,), (-1,), 1, count=432),
        "negative offset": lambda: tensor((2,), (1,), -1, count=432),
        "count is NaN": lambda: b"(" + text("storage") + b"ctorch\nHalfStorage\n" + text("0") + text("cpu")
        + b"G" + struct.pack(">d", float("nan")) + b"tQ",
        "shape is NaN": lambda: b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage("0", 432) + b"K\x00(G"
        + struct.pack(">d", float("nan")) + b"t" + sizes((1,)) + b"\x89}tR",
        "shape is true": lambda: b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage("0", 432)
        + b"K\x00(\x88t(\x88t\x89}tR",
        "id of another shape": lambda: b"(" + text("storage") + b"K\x01tQ",
        "id is text": lambda: text("storage") + b"Q",
        "id is a cycle": lambda: b"]" + put(BASE) + get(BASE) + b"aQ",
        "id of a class of Python": lambda: storage("0", 432).replace(b"ctorch\nHalfStorage", b"cos\nsystem"),
        "storage described twice": lambda: b"("
        + storage("0", 432) + storage("0", 216, "FloatStorage") + b"t",
        "quantized": lambda: b"ctorch._utils\n_rebuild_qtensor\n("
        + storage("0", 432, "QInt8Storage") + b"tR",
        "memo far away": lambda: b"N" + put(1 << 31) + b"0" + get(1 << 31),
        "memo that is missing": lambda: get(BASE),
        "LONG4 of 2 GB": lambda: b"\x8b" + struct.pack("<i", (1 << 31) - 1),
        "LONG4 of a negative size": lambda: b"\x8b" + struct.pack("<i", -5),
        "BYTEARRAY8": lambda: b"\x96" + struct.pack("<Q", 1 << 62),
        "BINUNICODE8": lambda: b"\x8d" + struct.pack("<Q", 1 << 62),
        "BINBYTES of 4 GB": lambda: b"B\xff\xff\xff\xff",
        "frame of 2^63": lambda: b"\x95" + struct.pack("<Q", 1 << 63) + b"N",
        "cycle": lambda: b"]" + put(BASE) + get(BASE) + b"a",
        "cycle through a tuple": lambda: b"]" + put(BASE) + get(BASE) + b"\x85" + put(BASE + 1) + b"a",
    }  # fmt: skip


def floods() -> dict[str, Callable[[], bytes]]:
    """Values that break no rule, and take as much time and memory as a pickle can ask for."""
    return {
        "deep lists": lambda: b"]" * 200_000 + b"a" * 199_999,
        "deep tuples": lambda: b"N" + b"\x85" * 290_000,
        "deep marks": lambda: b"(" * MILLION,
        "million steps": lambda: b"N0" * MILLION + b"N",
        "million puts": lambda: b"N" + b"".join(put(BASE + i) for i in range(900_000)),
        "memo and sets": lambda: b"N" + b"".join(put(BASE + i) for i in range(600_000)) + b"0("
        + b"\x8f" * 200_000 + b"t",
        "names": lambda: b"ca\nb\n0" * 250_000 + b"N",
        "different names": lambda: b"".join(text(f"n{i}") + put(BASE + i) + b"0" for i in range(500))
        + b"".join(get(BASE + i) + get(BASE + j) + b"\x930" for i in range(500) for j in range(400)) + b"N",
        "long names": lambda: text("m" * 4_000_000) + put(BASE) + text("n" * 4_000_000) + put(BASE + 1)
        + b"00" + (get(BASE) + get(BASE + 1) + b"\x930") * 200_000 + b"N",
        "tensors": lambda: b"ctorch._utils\n_rebuild_tensor_v2\n" + put(BASE) + b"(" + storage("0", 432)
        + b"K\x00" + sizes((1,) * 8) + sizes((1,) * 8) + b"\x89}t" + put(BASE + 1) + b"00"
        + (get(BASE) + get(BASE + 1) + b"R0") * 200_000 + b"N",
        "storages": lambda: b"(" + text("storage") + b"ctorch\nHalfStorage\n" + text("0") + text("cpu")
        + number(432) + b"t" + put(BASE) + b"0" + (get(BASE) + b"Q0") * 250_000 + b"N",
        "keys of one hash": lambda: b"}(" + b"".join(
            number(a) + number(b) + b"\x86N" for a, b in tuples_of_one_hash(150_000)) + b"u",
        "elements of one hash": lambda: b"\x8f(" + b"".join(
            number(a) + number(b) + b"\x86" for a, b in tuples_of_one_hash(150_000)) + b"\x90",
        "ordered pairs of one hash": lambda: b"ccollections\nOrderedDict\n](" + b"".join(
            number(a) + number(b) + b"\x86N\x86" for a, b in tuples_of_one_hash(100_000)) + b"e\x85R",
        "one key many times": lambda: b"}(" + b"".join(
            number(a) + number(b) + b"\x86N" for a, b in tuples_of_one_hash(1000)) + b"u"
        + number(1) + number(tuples_of_one_hash(1)[0][1]) + b"\x86" + put(BASE) + b"0"
        + (get(BASE) + b"Ns") * 300_000,
        "lone surrogates": lambda: text(b"\xed\xa0\x80" * 4_000_000),
        "wide text": lambda: text("x" * 14_000_000 + "\U0001f600"),
        "wide text and sets": lambda: text("x" * 10_000_000 + "\U0001f600") + b"0("
        + b"\x8f" * 280_000 + b"t" + b"".join(put(BASE + i) for i in range(600_000)),
    }  # fmt: skip


# ------------------------------------------------------------ networks


def module(attributes: bytes) -> bytes:
    """A module of torch with these items of its attributes."""
    return b"ctorch.nn.modules.container\nSequential\n)\x81}(" + attributes + b"ub"


def root(network: bytes) -> bytes:
    """The pickle of a checkpoint with this network."""
    return b"\x80\x02}(" + text("model") + network + b"u."


def networks() -> dict[str, Callable[[], bytes]]:
    """Pickles of networks that are small and ask for much when they are walked through."""

    def children(items: bytes) -> bytes:
        return module(text("_modules") + b"}(" + items + b"u")

    def long_keys() -> bytes:
        key = text("k" * 8_000_000) + put(BASE) + b"0"
        leaf = children(get(BASE) + module(text("x") + b"N"))
        return b"\x80\x02" + key + root(children(b"".join(text(str(i)) + leaf for i in range(300))))[2:]

    def long_tensors() -> bytes:
        key = text("k" * 8_000_000) + put(BASE) + b"0"
        parameters = text("_parameters") + b"}(" + get(BASE) + tensor((1,), (1,), count=432) + b"u"
        return (
            b"\x80\x02"
            + key
            + root(children(b"".join(text(str(i)) + module(parameters) for i in range(300))))[2:]
        )

    def shared() -> bytes:
        one = tensor((1,), (1,), count=432) + put(BASE) + b"0"
        tensors = b"".join(text(f"t{i}") + get(BASE) for i in range(50_000))
        leaf = module(text("_parameters") + b"}(" + tensors + b"u") + put(BASE + 1) + b"0"
        inner = children(b"".join(text(str(i)) + get(BASE + 1) for i in range(10_000)))
        return b"\x80\x02" + one + leaf + root(inner)[2:]

    def exponential() -> bytes:
        opcodes = module(text("x") + b"N") + put(BASE) + b"0"
        for level in range(60):
            opcodes += children(text("a") + get(BASE + level) + text("b") + get(BASE + level))
            opcodes += put(BASE + level + 1) + b"0"
        return b"\x80\x02" + opcodes + root(get(BASE + 60))[2:]

    def own_child() -> bytes:
        return root(
            b"ctorch.nn.modules.container\nSequential\n)\x81" + put(BASE) + b"}(" + text("_modules") + b"}("
            + text("a") + get(BASE) + b"uub"
        )  # fmt: skip

    return {
        "long names of modules": long_keys,
        "long names of tensors": long_tensors,
        "shared modules": shared,
        "modules that double": exponential,
        "module in itself": own_child,
    }


# ------------------------------------------------------------ zips


def overlapping(entries: Mapping[str, bytes]) -> bytes:
    """All storages share the bytes of the first one."""
    locals_, centrals, count = b"", b"", 0
    first = 0
    for name, data in entries.items():
        is_storage = "/data/" in name
        local, central = zip_member(
            name,
            data,
            size=len(data),
            crc=zlib.crc32(data),
            offset=first if is_storage and first else len(locals_),
        )
        if not (is_storage and first):
            first = len(locals_) if is_storage else first
            locals_ += local
        centrals += central
        count += 1
    return zip_of(locals_, centrals, count)


def wrong_crc(data: bytes, entries: Mapping[str, bytes], which: str) -> bytes:
    """One bit of an entry is another."""
    name = next(name for name in entries if name.endswith(which))
    changed = bytearray(data)
    changed[data.index(entries[name]) + len(entries[name]) // 2] ^= 1
    return bytes(changed)


def zips(entries: Mapping[str, bytes]) -> dict[str, Callable[[], bytes]]:
    sound = written(entries)
    prefix = pickle_name(entries).removesuffix("/data.pkl")

    def renamed(name: str) -> bytes:
        return written({key.replace(prefix, name, 1): data for key, data in entries.items()})

    def twice() -> bytes:
        out = io.BytesIO(sound)
        with zipfile.ZipFile(out, "a") as file:
            file.writestr(pickle_name(entries), b"\x80\x02N.")
        return out.getvalue()

    def bomb() -> bytes:
        name = next(name for name in entries if "/data/" in name)
        return written({**entries, name: bytes(1 << 28)}, zipfile.ZIP_DEFLATED)

    return {
        "zip bomb": bomb,
        "overlapping entries": lambda: overlapping(entries),
        "wrong checksum of the pickle": lambda: wrong_crc(sound, entries, "/data.pkl"),
        "wrong checksum of a storage": lambda: wrong_crc(sound, entries, "/data/0"),
        "entries of one name": twice,
        "path": lambda: renamed(".."),
        "absolute path": lambda: renamed("/etc"),
        "many entries": lambda: written({**entries, **{f"{prefix}/x/{i}": b"" for i in range(60_000)}}),
        "compressed": lambda: written(entries, zipfile.ZIP_DEFLATED),
        "split": lambda: sound[:-22] + sound[-22:].replace(b"PK\x05\x06\x00\x00", b"PK\x05\x06\x01\x00"),
        "no pickle": lambda: written({"picture/data.txt": b"text"}),
        "two pickles": lambda: written({**entries, "other/data.pkl": b"\x80\x02N."}),
    }


# ------------------------------------------------------------ all of them


def hostile_checkpoints(folder: Path, *, flood: bool) -> dict[str, Callable[[], bytes]]:
    """How to make each: whole files by what is hostile in them. `folder` is for files on the way.

    With `flood` there are those, too, that take long to make.
    """
    tensors = save_training(folder / "base.pt")
    entries = entries_of((folder / "base.pt").read_bytes())
    (folder / "base.pt").unlink()
    plain = {n: v.float() if v.is_floating_point() else v for n, v in tensors.items()}
    made: dict[str, Callable[[], bytes]] = {}
    for name, value in objects().items():
        made[name] = lambda value=value: written(with_object(entries, value))
        made[f"{name}, protocol 4"] = lambda value=value: written(with_object(entries, value, 4))
    made["os.system in a state dict"] = lambda: saved({**plain, "x": Calls(os.system, TOUCH)})
    for name, build in (opcodes() | (floods() if flood else {})).items():
        made[name] = lambda build=build: written(spliced(entries, build()))
    storages = {name: data for name, data in entries.items() if not name.endswith("data.pkl")}
    for name, build in networks().items():
        made[name] = lambda build=build: written({pickle_name(entries): build(), **storages})
    made |= zips(entries)
    if not flood:
        for name in ("zip bomb", "many entries"):
            del made[name]

    def changed(name: str, value: torch.Tensor) -> Callable[[], bytes]:
        return lambda: saved({**plain, name: value})

    def protocol(number_: int) -> Callable[[], bytes]:
        return lambda: written({pickle_name(entries): pickle.dumps({"model": 1}, number_), **storages})

    first = "model.0.conv.weight"
    made |= {
        "protocol 0": protocol(0),
        "protocol 1": protocol(1),
        "protocol 5 of bytes": lambda: saved({**plain, "x": bytearray(100)}, pickle_protocol=5),
        "a class of somebody": lambda: saved({"model": OfSomebody(), "ema": None}),
        "legacy": lambda: saved(plain, _use_new_zipfile_serialization=False),
        "sparse": changed(first, plain[first].to_sparse()),
        "quantized weights": changed(first, torch.quantize_per_tensor(plain[first], 0.1, 0, torch.qint8)),
        "complex": changed(first, plain[first].to(torch.complex64)),
        "whole numbers": changed("model.0.bn.bias", plain["model.0.bn.bias"].long()),
        "counts that are no whole numbers": changed("model.0.bn.num_batches_tracked", torch.tensor(0.5)),
        "NaN": changed(first, plain[first] * float("nan")),
        "one NaN": changed("model.0.bn.bias", torch.tensor([0.0] * 15 + [float("nan")])),
        "beyond float32": lambda: saved({k: v.double() if v.is_floating_point() else v
                                         for k, v in plain.items()}
                                        | {"model.0.bn.bias": torch.full((16,), 1e300, dtype=torch.float64)}),
        "no classes": lambda: saved({k: v[:0] if ".cv3." in k and k.rsplit(".", 2)[1] == "2" else v
                                     for k, v in plain.items()}),
        "empty and enormous": changed("model.0.bn.bias", torch.empty(0).as_strided((0, 1 << 47), (1, 1))),
        "views of one storage": lambda: views(plain),
        "lone surrogates in class names": lambda: saved(
            {"model": plain, "names": {0: "a\udcff", 1: "b\ud800"}}),
        "class names of control characters": lambda: saved(
            {"model": plain, "names": {0: "\x1b[31m", 1: "a\nb"}}),
    }  # fmt: skip
    return made


def views(plain: Mapping[str, torch.Tensor]) -> bytes:
    """Small tensors that are parts of one large storage, which every one of them would read."""
    large = torch.zeros(1 << 24)
    at, found = 0, {}
    for name, value in plain.items():
        if value.is_floating_point() and value.numel() < 1000:
            large[at : at + value.numel()] = value.flatten()
            found[name] = large[at : at + value.numel()].view(value.shape)
            at += value.numel()
        else:
            found[name] = value
    return saved(found)
