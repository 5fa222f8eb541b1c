"""Checkpoints: whole or not there at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from yolofast.errors import CheckpointError
from yolofast.tensor_file import write_tensors
from yolofast.train import CheckpointManager, TrainingState
from yolofast.train.checkpoint import load_optimizer, optimizer_tensors


def state(epoch: int) -> TrainingState:
    tensors = {"model/w": torch.full((3,), float(epoch)), "ema/w": torch.full((3,), epoch + 0.5)}
    return TrainingState(tensors, {"epoch": epoch})


def test_last_and_best(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path / "weights", {"format": "test"})
    assert manager.load_latest() is None
    for epoch in (1, 2, 3):
        manager.save(state(epoch), is_best=epoch == 2, description={"epoch": str(epoch)})
    found = manager.load_latest()
    assert found is not None
    assert found.values == {"epoch": 3}
    assert found.group("model")["w"].tolist() == [3.0] * 3
    from safetensors import safe_open

    with safe_open(manager.best, framework="pt") as best:
        assert best.metadata().items() >= {"format": "test", "epoch": "2"}.items()
        assert best.get_tensor("w").tolist() == [2.5] * 3
    assert sorted(p.name for p in manager.directory.iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "previous.safetensors",
    ]


def test_what_is_saved_can_be_asked_without_loading_it(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path, {"format": "test"})
    assert (manager.latest_header(), manager.history()) == (None, [])
    rows = [{"epoch": 1.0}, {"epoch": 2.0}]
    for count in (1, 2):
        saved = TrainingState(state(count).tensors, {"history": rows[:count]})
        manager.save(saved, is_best=False)
    assert manager.history() == rows
    manager.last.write_bytes(b"cut")
    assert manager.history() == rows[:1], "of the one before"
    header = manager.latest_header()
    assert header is not None
    assert header["format"] == "test"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_checkpoint_is_never_loaded(
    tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    manager = CheckpointManager(tmp_path)
    manager.save(state(1), is_best=False)
    manager.save(state(2), is_best=False)
    whole = manager.last.read_bytes()
    manager.last.write_bytes(whole[: int(len(whole) * share)])
    found = manager.load_latest()
    assert found is not None
    assert found.values == {"epoch": 1}
    assert str(manager.last) in caplog.text


def test_damaged_tensors_are_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bad disk changes numbers without changing the file's form."""
    manager = CheckpointManager(tmp_path)
    manager.save(state(1), is_best=False)
    manager.save(state(2), is_best=False)
    whole = manager.last.read_bytes()
    manager.last.write_bytes(whole[:-4] + b"\xff\xff\xff\xff")
    found = manager.load_latest()
    assert found is not None
    assert found.values == {"epoch": 1}
    assert "the checksum of tensor model/w does not match" in caplog.text


@pytest.mark.parametrize("part", ["header", "tensors"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also for the questions that only the header answers."""
    manager = CheckpointManager(tmp_path)
    for epoch in (1, 2):
        rows = [{"epoch": float(n + 1)} for n in range(epoch)]
        manager.save(TrainingState(state(epoch).tensors, {"history": rows}), is_best=False)
    data = bytearray(manager.last.read_bytes())
    data[data.index(b"2.0}") if part == "header" else -1] ^= 1
    manager.last.write_bytes(data)
    found = manager.load_latest()
    assert found is not None
    assert found.path == tmp_path / "previous.safetensors"
    assert len(found.values["history"]) == 1
    assert len(manager.history()) == (1 if part == "header" else 2)
    assert "last.safetensors: damaged: the checksum of" in caplog.text


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"history": [1]}', '{"history": [{"a": "b"}]}'])
def test_a_state_that_makes_no_sense_is_no_traceback(tmp_path: Path, text: str) -> None:
    """In a file without checksums, or with the right ones."""
    manager = CheckpointManager(tmp_path)
    write_tensors(manager.last, state(1).tensors, {"yolofast_training": text})
    with pytest.raises(CheckpointError, match=r"last\.safetensors: damaged checkpoint: its training state"):
        manager.load_latest()
    assert (manager.latest_header(), manager.history()) == (None, [])


def test_what_is_not_finite_is_neither_saved_nor_resumed(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    manager.save(state(1), is_best=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    broken = TrainingState(state(2).tensors | {"ema/w": torch.tensor([0.0, torch.inf, 0.0])}, {"epoch": 2})
    with pytest.raises(CheckpointError, match=r"last\.safetensors: not written, because ema/w is infinite"):
        manager.save(broken, is_best=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    manager.last.rename(tmp_path / "previous.safetensors")
    write_tensors(manager.last, broken.tensors, {"yolofast_training": "{}"})  # as earlier versions did
    found = manager.load_latest()
    assert found is not None
    assert found.values == {"epoch": 1}


def test_all_damaged_is_an_error_that_names_the_files(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    manager.save(state(1), is_best=False)
    manager.last.write_bytes(b"\x10\x00")
    with pytest.raises(CheckpointError, match=r"last\.safetensors: cannot be read as safetensors"):
        manager.load_latest()


def test_a_killed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    """What a kill in the middle of writing leaves: a temporary file beside the old checkpoint."""
    manager = CheckpointManager(tmp_path)
    manager.save(state(1), is_best=False)
    leftover = tmp_path / ".last.safetensors.yolofast-1.tmp"
    leftover.write_bytes(manager.last.read_bytes()[:50])
    found = manager.load_latest()
    assert found is not None
    assert found.values == {"epoch": 1}
    manager.save(state(2), is_best=False)
    assert not leftover.exists()


def test_unwritable_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    manager = CheckpointManager(tmp_path / "file" / "weights")
    with pytest.raises(CheckpointError, match="cannot be written"):
        manager.save(state(1), is_best=False)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_optimizer_state_round_trip(kind: type[torch.optim.Optimizer]) -> None:
    def step(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        (weight**2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    weight = torch.nn.Parameter(torch.arange(4.0))
    optimizer = kind([weight], lr=0.1, **options)
    step(weight, optimizer)
    copied = torch.nn.Parameter(weight.detach().clone())
    again = kind([copied], lr=0.1, **options)
    load_optimizer(again, {k: v.clone() for k, v in optimizer_tensors(optimizer).items()})
    step(weight, optimizer)
    step(copied, again)
    torch.testing.assert_close(copied, weight, rtol=0, atol=0)


def test_optimizer_of_another_model_is_refused() -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
    with pytest.raises(CheckpointError, match="another model"):
        load_optimizer(optimizer, {"5/exp_avg": torch.zeros(2)})
    for name in ("-1/exp_avg", "x/exp_avg", "exp_avg"):
        with pytest.raises(CheckpointError, match="another model"):
            load_optimizer(optimizer, {name: torch.zeros(2)})
    with pytest.raises(CheckpointError, match="optimizer is no AdamW of this version"):
        load_optimizer(optimizer, {"0/momentum_buffer": torch.zeros(2)})
