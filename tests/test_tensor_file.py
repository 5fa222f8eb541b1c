"""Files of tensors: read by others, read from others, one form for equal content, and damage is noticed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from support.property_tests import examples
from support.tensor_files import container, header_of

from yolofast import limits
from yolofast.errors import CheckpointError
from yolofast.tensor_file import RESERVED, non_finite, open_tensors, write_tensors

TENSORS = {
    "b": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "a": torch.tensor([True, False, True]),
    "half": torch.tensor([0.5, -1.0], dtype=torch.bfloat16),
    "ü/scalar": torch.tensor(7, dtype=torch.int64),
    "empty": torch.zeros(0, 4),
    "nhwc": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
}
TEXT = {"model": "p", "class_names": '["é", "\\ud83d"]', "other": "line\nend\x1b"}


def read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    with open_tensors(path) as file:
        return file.metadata, {name: file.read(name) for name in file.stored}


def assert_same(got: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert got.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor), name


def test_what_is_written_is_read_here_and_by_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_tensors(path, TENSORS, TEXT)
    metadata, tensors = read(path)
    assert metadata == TEXT
    assert_same(tensors, TENSORS)
    with safe_open(path, framework="pt") as file:
        assert file.metadata().items() >= TEXT.items()
        assert_same({name: file.get_tensor(name) for name in file.keys()}, TENSORS)  # noqa: SIM118
    header = header_of(path)
    assert (path.stat().st_size - sum(t.nbytes for t in TENSORS.values())) % 8 == 0
    for name, tensor in TENSORS.items():
        assert header[name]["data_offsets"][0] % tensor.element_size() == 0, "aligned, to be mapped"


def test_files_of_safetensors_are_read_and_have_no_checksums(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "w.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in TENSORS.items()}
    save_file(tensors, path, {"model": "p"})
    with caplog.at_level(logging.INFO):
        metadata, found = read(path)
    assert metadata == {"model": "p"}
    assert_same(found, TENSORS)
    assert f"{path} has no checksums" in caplog.text


def test_equal_content_makes_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_tensors(first, TENSORS, TEXT)
    write_tensors(second, dict(reversed(TENSORS.items())), dict(reversed(TEXT.items())))
    assert first.read_bytes() == second.read_bytes()


def test_a_change_of_any_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_tensors(path, {"w": TENSORS["half"]}, {"model": "p"})
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match=r"damaged|cannot be read as safetensors") as caught:
            read(path)
        assert str(path) in str(caught.value)
    for cut in (whole[:-1], whole[:50], whole[:7], b"", whole + b"\0"):
        path.write_bytes(cut)
        with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
            read(path)


def test_a_seal_in_a_name_is_only_a_name(tmp_path: Path) -> None:
    path, name = tmp_path / "w.safetensors", "yolofast-crc32-00000000"
    write_tensors(path, {name: torch.ones(2)}, {"class_names": name, name: name})
    metadata, tensors = read(path)
    assert metadata == {"class_names": name, name: name}
    assert list(tensors) == [name]


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b"[" + b"[]," * 300_000 + b"1]", "more than 250000 objects and lists"),
        (b'{"a":1,"a":2}', "a name occurs twice"),
        (b'{"a":' + b"1" * 5000 + b"}", "cannot be read as safetensors"),
        (b"\xff\xfe", "cannot be read as safetensors"),
        ([], "not a JSON object"),
        ({"__metadata__": {"a": 1}}, "its metadata is not text"),
        ({"a": ENTRY | {"dtype": "C64"}}, "does not describe tensor a"),
        ({"a": ENTRY | {"shape": [-2]}}, "does not describe tensor a"),
        ({"a": ENTRY | {"shape": [True, 2]}}, "does not describe tensor a"),
        ({"a": ENTRY | {"shape": [2**40, 2**40]}}, "does not describe tensor a"),
        ({"a": ENTRY | {"shape": [1] * 9 + [2]}}, "does not describe tensor a"),
        ({"a": ENTRY | {"shape": [10**9], "data_offsets": [0, 4 * 10**9]}}, "its header says 4000000000"),
        ({"a": ENTRY | {"data_offsets": [8, 16]}}, "does not begin where"),
        ({"a": ENTRY, "b": ENTRY}, "tensor b does not begin where"),
        ({"\x1b[31m\n": 1}, r"tensor \\x1b\[31m\\n"),
        ({"a": ENTRY, "__metadata__": {"tensor_checksums": "0" * 8}}, "damaged"),
        ({"a": ENTRY, "__metadata__": {"checksum": "yolofast-crc32-00000000"}}, "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_headers_are_one_line(tmp_path: Path, header: Any, message: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(container(header, bytes(8)))
    with pytest.raises(CheckpointError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_types_that_only_other_programs_write_are_read(tmp_path: Path) -> None:
    kinds = (torch.uint16, torch.uint32, torch.uint64, torch.float16, torch.int64)
    tensors = {str(kind): torch.ones(2, 3, dtype=kind) for kind in kinds}
    save_file(tensors, tmp_path / "w.safetensors")
    assert_same(read(tmp_path / "w.safetensors")[1], tensors)


def test_a_program_that_kept_the_checksums_of_other_tensors_is_told(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_tensors(path, TENSORS, TEXT)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({"a": torch.zeros(3)}, path, metadata)
    with pytest.raises(
        CheckpointError, match="has to leave out checksum and tensor_checksums of its metadata"
    ):
        read(path)
    save_file({"a": torch.zeros(3)}, path, {key: metadata[key] for key in metadata if key not in RESERVED})
    assert read(path)[0] == TEXT


@pytest.mark.parametrize(
    "text", ["x" * limits.MAX_TENSOR_HEADER_BYTES, "[" * limits.MAX_TENSOR_HEADER_VALUES]
)
def test_a_header_that_could_not_be_read_again_is_not_written(text: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(CheckpointError, match="not written, because its header has"):
        write_tensors(path, TENSORS, {"text": text})
    assert not path.exists()


def test_a_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with path.open("wb") as file:
        file.write((4 * 2**30).to_bytes(8, "little"))
        file.truncate(5 * 2**30)  # of holes
    with pytest.raises(CheckpointError, match=f"the limit is {limits.MAX_TENSOR_HEADER_BYTES}"):
        read(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
COUNT = st.integers(-2, 20) | st.integers()
NAMES = st.sampled_from(["a", "b", "__metadata__", *RESERVED]) | st.text(max_size=4)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "BF16", "X"]) | JSON,
        "shape": st.lists(COUNT, max_size=3) | JSON,
        "data_offsets": st.lists(COUNT, max_size=3) | JSON,
    }
)
HEADERS = st.dictionaries(NAMES, ENTRIES | st.dictionaries(NAMES, st.text(max_size=9)) | JSON, max_size=4)


@examples(200)
@given(header=HEADERS | st.binary(max_size=40), data=st.binary(max_size=24))
def test_any_header_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, header: Any, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(container(header, data))
    try:
        _, tensors = read(path)
    except CheckpointError:
        return
    assert sum(tensor.nbytes for tensor in tensors.values()) == len(data)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_tensor_that_is_not_finite_is_named(value: float) -> None:
    tensors = {
        "a": torch.tensor([3e38, 3e38]),
        "n": torch.tensor([1]),
        "b": torch.ones(3),
        "e": torch.ones(0),
    }
    assert non_finite(tensors) is None, "though the sum of the first is infinite"
    tensors["b"][1] = value
    assert non_finite(tensors) == "b"
    assert non_finite({"h": torch.tensor([65504.0, 65504.0]).half()}) is None


def test_a_type_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tensor c is torch\.complex64, which cannot be saved"):
        write_tensors(tmp_path / "w", {"c": torch.zeros(1, dtype=torch.complex64)}, {})


def test_containers_of_the_tests_are_what_safetensors_reads(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(container({"a": ENTRY}, bytes(8)))
    assert json.loads(json.dumps(header_of(path))) == {"a": ENTRY}
    assert_same(read(path)[1], {"a": torch.zeros(2)})
