"""Files of torch.save are read without executing anything; damaged and hostile ones are refused at once."""

from __future__ import annotations

import collections
import contextlib
import io
import pickle
import random
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.chaos import python
from support.torch_files import hostile_pickles, save_training, tensor_pickle, torch_zip

from yolofast.errors import CheckpointError
from yolofast.torch_file import Name, Record, StoredTensor, TorchFile, is_torch_file
from yolofast.torch_file.machine import Machine
from yolofast.torch_file.records import PickleError


def saved(folder: Path, value: Any, **options: Any) -> TorchFile:
    path = folder / "file.pt"
    torch.save(value, path, **options)
    return TorchFile(path)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "file.pt"
    path.write_bytes(data)
    return path


def without_persistent_ids(identity: Any) -> Any:
    raise PickleError("no storage is expected")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_are_read_as_they_were_saved(tmp_path: Path, protocol: int) -> None:
    value = {
        "numbers": [0, -1, 255, 65536, -(1 << 31), 1 << 62, 10**30, 0.5, float("inf")],
        "text": ("", "name", "naïve \u2028 \U0001f600", "x" * 300),
        "flags": (True, False, None),
        "nested": {1: {2: {3: [(), (4,), (5, 6), (7, 8, 9), (10, 11, 12, 13)]}}},
        "bytes": b"\x00\xff" * 200,
        "set": {1, 2, "three"},
        "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
    }
    assert saved(tmp_path, value, pickle_protocol=protocol).root == value


def test_numbers_of_numpy_are_plain_numbers(tmp_path: Path) -> None:
    root = saved(tmp_path, [np.float64(0.25), np.float32(0.5), np.int64(-3), np.bool_(True)]).root
    assert root == [0.25, 0.5, -3, True]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(24.0).reshape(2, 3, 4),
        torch.arange(24.0).reshape(2, 3, 4).transpose(0, 2),
        torch.arange(24.0)[3:9:2],
        torch.arange(6, dtype=torch.int64),
        torch.tensor(7, dtype=torch.uint8),
        torch.tensor([1.5, -2.0], dtype=torch.float16),
        torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        torch.tensor([True, False]),
        torch.empty(0, 3),
        torch.nn.Parameter(torch.ones(2, 2)),
    ],
)
def test_tensors_have_the_numbers_that_were_saved(tmp_path: Path, tensor: torch.Tensor) -> None:
    file = saved(tmp_path, {"tensor": tensor})
    read = file.read(file.root["tensor"])
    assert read.dtype == tensor.dtype
    assert read.is_contiguous()
    assert torch.equal(read, tensor.detach())


def test_big_endian_numbers_are_swapped(tmp_path: Path) -> None:
    big = torch_zip(tensor_pickle((2,), (1,), 0, 2), {"0": np.array([1, 2], ">f4").tobytes()}, order="big")
    file = TorchFile(written(tmp_path, big))
    assert torch.equal(file.read(file.root), torch.tensor([1.0, 2.0]))


def test_objects_of_unknown_classes_are_records(tmp_path: Path) -> None:
    save_training(tmp_path / "file.pt")
    root = TorchFile(tmp_path / "file.pt").root
    network = root["ema"]
    assert isinstance(network, Record)
    assert network.kind == Name("ultralytics.nn.tasks", "DetectionModel")
    layers = network.attributes["_modules"]["model"].attributes["_modules"]
    stem = layers["0"].attributes["_modules"]["conv"].attributes["_parameters"]["weight"]
    assert isinstance(stem, StoredTensor)
    assert stem.shape == (16, 3, 3, 3)
    assert stem.dtype == torch.float16


def test_a_value_may_contain_itself(tmp_path: Path) -> None:
    cyclic: list[Any] = [1]
    cyclic.append(cyclic)
    root = saved(tmp_path, cyclic).root
    assert root[0] == 1
    assert root[1] is root


@pytest.mark.parametrize("name", sorted(hostile_pickles()))
def test_hostile_pickles_are_refused_at_once(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, torch_zip(hostile_pickles()[name], {"0": b"\0" * 16}))
    begun = time.process_time()
    with pytest.raises(CheckpointError, match=r"file\.pt: "):
        TorchFile(path)
    assert time.process_time() - begun < 3  # about 0.5 s on an idle machine


def test_the_dangerous_call_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, torch_zip(hostile_pickles()["os.system"]))
    with pytest.raises(CheckpointError, match=r"asks for posix\.system, which can run programs"):
        TorchFile(path)


def test_nothing_is_executed_imported_or_opened_for_writing(tmp_path: Path) -> None:
    """Python's own audit events say so, in a process that reads every hostile file and a sound one."""
    for number, data in enumerate(hostile_pickles().values()):
        (tmp_path / f"{number}.pt").write_bytes(torch_zip(data, {"0": b"\0" * 16}))
    save_training(tmp_path / "sound.pt")
    code = f"""
import resource, sys
from pathlib import Path
from yolofast.errors import CheckpointError
from yolofast.models import read_checkpoint
paths = sorted(Path({str(tmp_path)!r}).glob("*.pt"))
read_checkpoint({str(tmp_path / "sound.pt")!r})
"".encode("cp437")  # the codec of names in a zip, which Python imports at its first use
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
events = []
def hook(event, arguments):
    watched = event in ("exec", "compile", "import", "marshal.loads", "pickle.find_class", "code.__new__")
    started = event.startswith(("os.", "subprocess.", "socket.", "ctypes.", "shutil.", "urllib."))
    if watched or started or (event == "open" and arguments[1] not in ("rb", "r")):
        events.append((event, str(arguments)[:100]))
sys.addaudithook(hook)
refused = 0
for path in paths:
    try:
        read_checkpoint(path)
    except CheckpointError:
        refused += 1
seen = list(events)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(refused, len(paths), seen, grown < 200 * 1024)
"""
    ran = python(code)
    count = len(hostile_pickles())
    assert ran.out.strip() == f"{count} {count + 1} [] True", ran.out + ran.err


@pytest.mark.parametrize(
    ("shape", "stride", "offset", "count", "message"),
    [
        ((5,), (1,), 0, 4, "goes beyond its storage"),
        ((2,), (1,), 3, 4, "goes beyond its storage"),
        ((2, 2), (2, 2), 0, 4, "overlap"),
        ((1 << 40,), (0,), 0, 4, "overlap"),
        ((2,), (-1,), 1, 4, "whole numbers from 0"),
        ((-1,), (1,), 0, 4, "whole numbers from 0"),
        ((2,), (1,), -1, 4, "whole numbers from 0"),
        ((2, 2), (1,), 0, 4, "do not belong together"),
        ((1,) * 9, (1,) * 9, 0, 4, "9 dimensions"),
        ((4,), (1,), 0, 8, "claims 32 bytes and has 16"),
        ((1 << 100,), (1,), 0, 4, "whole numbers from 0"),
    ],
)
def test_tensors_must_lie_inside_their_storage(
    tmp_path: Path, shape: tuple[int, ...], stride: tuple[int, ...], offset: int, count: int, message: str
) -> None:
    path = written(tmp_path, torch_zip(tensor_pickle(shape, stride, offset, count), {"0": b"\0" * 16}))
    with pytest.raises(CheckpointError, match=message):
        TorchFile(path)


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    bomb = torch_zip(
        tensor_pickle((1 << 22,), (1,), 0, 1 << 22), {"0": b"\0" * (1 << 24)}, method=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(CheckpointError, match="compressed or encrypted entry"):
        TorchFile(written(tmp_path, bomb))


def test_entries_of_the_same_name_are_refused(tmp_path: Path) -> None:
    out = io.BytesIO(torch_zip(b"\x80\x02N."))
    with zipfile.ZipFile(out, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("archive/data.pkl", b"\x80\x02K\x01.")
    with pytest.raises(CheckpointError, match=r"has two entries 'archive/data\.pkl'"):
        TorchFile(written(tmp_path, out.getvalue()))


def test_files_of_old_versions_and_programs_are_named(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save({"model": 1}, path, _use_new_zipfile_serialization=False)
    assert is_torch_file(path)
    with pytest.raises(CheckpointError, match=r"before 1\.6"):
        TorchFile(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("picture/data.txt", "text")
    with pytest.raises(CheckpointError, match="zip with 0"):
        TorchFile(path)


def test_damaged_numbers_are_noticed(tmp_path: Path) -> None:
    data = bytearray(torch_zip(tensor_pickle((4,), (1,), 0, 4), {"0": b"numbersofweights"}))
    data[data.index(b"numbersofweights")] ^= 1
    file = TorchFile(written(tmp_path, bytes(data)))
    with pytest.raises(CheckpointError, match="wrong checksum"):
        file.read(file.root)


def test_truncated_and_changed_files_are_refused_or_read_the_same(tmp_path: Path) -> None:
    whole = torch_zip(tensor_pickle((4,), (1,), 0, 4), {"0": b"numbersofweights"})
    draw = random.Random(0)
    for at in range(0, len(whole), max(1, len(whole) // 200)):
        with pytest.raises(CheckpointError):
            TorchFile(written(tmp_path, whole[:at]))
    for _ in range(400):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        try:
            file = TorchFile(written(tmp_path, bytes(data)))
            values = file.read(file.root)
        except CheckpointError:
            continue
        assert values.numpy().tobytes() == b"numbersofweights"


@given(st.binary(max_size=200), st.integers(2, 5))
def test_any_bytes_end_in_a_value_or_an_error(data: bytes, protocol: int) -> None:
    machine = Machine(bytes([0x80, protocol]) + data + b".", without_persistent_ids)
    with contextlib.suppress(PickleError):
        machine.run()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(-99, 99), inner)
    ),
)


@given(VALUES, st.integers(3, 5), st.data())
def test_pickles_of_python_are_read_alike_and_changed_ones_do_no_harm(
    value: Any, protocol: int, data: st.DataObject
) -> None:
    pickled = pickle.dumps(value, protocol)
    assert Machine(pickled, without_persistent_ids).run() == value
    changed = bytearray(pickled)
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PickleError):
        Machine(bytes(changed), without_persistent_ids).run()
