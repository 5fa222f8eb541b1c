"""The protocol: alternating rounds, peers that are left out, and what a result file holds."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from yolofast.bench.figures import compared_times, labelled, ratio, short_number, write_result
from yolofast.bench.jpeg import JpegComparison, compare_jpeg
from yolofast.bench.kernels import CASES
from yolofast.bench.protocol import Participants, calls_per_round, compare_calls, interleave
from yolofast.errors import ConfigError, DataError


def recorder(calls: list[str], name: str, failing_from: int = 1000) -> Callable[[], int]:
    def run() -> int:
        calls.append(name)
        if (count := calls.count(name)) >= failing_from:
            raise DataError("it ended")
        return count

    return run


def test_rounds_alternate_and_the_first_ones_warm_up() -> None:
    calls: list[str] = []
    results = interleave({name: recorder(calls, name) for name in "AB"}, 2, warm_up=1)
    assert "".join(calls) == "ABABAB"
    assert results == {"A": [2, 3], "B": [2, 3]}


def test_one_round_is_measured_however_short_the_time() -> None:
    calls: list[str] = []
    assert interleave({"A": recorder(calls, "A")}, 5, warm_up=1, limit_s=0) == {"A": [2]}


def test_a_peer_that_fails_is_left_out_and_ours_may_not_fail() -> None:
    calls: list[str] = []
    left_out = {"absent": "not installed"}
    runs = {name: recorder(calls, name, 2) for name in ("peer", "absent")}
    results = interleave({"yolofast": recorder(calls, "yolofast"), **runs}, 3, left_out=left_out)
    assert results == {"yolofast": [1, 2, 3], "peer": [1], "absent": []}
    assert left_out == {"absent": "not installed", "peer": "it ended"}
    assert calls.count("peer") == 2
    with pytest.raises(DataError, match="it ended"):
        interleave(runs, 3)
    with pytest.raises(DataError, match="yolofast failed: it ended"):
        interleave({"yolofast": recorder([], "yolofast", 2)}, 3, left_out={})


def test_a_round_has_as_many_calls_as_its_length_takes() -> None:
    assert calls_per_round(lambda count: 0.1 * count, 1.05) == 10
    assert calls_per_round(lambda count: 5.0 * count, 1.0) == 1


def test_ratios_are_formed_within_rounds() -> None:
    assert ratio([2.0, 40.0, 6.0, 9.0], [1.0, 10.0, 3.0])["median"] == 2.0
    compared = compared_times({"yolofast": [1.0, 2.0], "peer": [3.0, 6.0]})
    assert compared["ms"]["yolofast"]["median"] == 1.5
    assert compared["ratio"] == {"peer": {"median": 3.0, "p20": 3.0, "p80": 3.0}}


def test_labels_and_numbers() -> None:
    assert labelled("dali", {"nvidia-dali-cuda130": "2.4"}) == "dali 2.4"
    assert labelled("yolofast, 2 threads", {"yolofast": "1"}) == "yolofast, 2 threads"
    assert [short_number(value) for value in (0.01234, 12.34, 1234.5)] == ["0.0123", "12.3", "1,234"]


def test_a_result_file_says_what_it_was_measured_on(tmp_path: Path) -> None:
    path = write_result(tmp_path / "new" / "x.json", {"case": {"ms": 1}}, ("numpy",), {"peer": "2.0"})
    document = json.loads(path.read_text(encoding="utf-8"))
    assert list(document) == ["machine", "versions", "commit", "date", "entries"]
    assert document["versions"].keys() == {"numpy", "peer"}
    assert document["entries"] == {"case": {"ms": 1}}


def test_an_interpreter_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="nowhere/python: no such file"):
        Participants(Path("nowhere/python"))


def test_an_interpreter_may_be_named_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    with Participants(Path("bin/python")) as participants:
        participants.start("opencv", ".jpeg", {"decoder": "none of them"})
        assert "KeyError" in participants.left_out["opencv"]  # so it was started


@pytest.mark.parametrize("name", CASES)
def test_kernels_and_their_peers_agree(name: str) -> None:
    CASES[name]().check()


def test_a_kernel_is_compared_with_its_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yolofast.bench.protocol.ROUND_SECONDS", 1e-4)
    case = CASES["labels"]()
    figures = compare_calls(case.ours, case.peers, rounds=2)
    assert figures["rounds"] == 2
    assert figures["ms"].keys() == {"yolofast", "python+numpy"}
    assert figures["ratio"]["python+numpy"]["median"] > 0


def test_jpeg_decoders_are_compared_on_equal_pixels(shared_data: Path) -> None:
    paths = sorted((shared_data / "bccd_voc" / "JPEGImages").glob("*.jpg"))[:2]
    lines: list[str] = []
    figures = compare_jpeg(JpegComparison({"few": paths}, rounds=1), lines.append)
    assert list(figures["entries"]) == ["few_planes", "few_rgb", "few_rewritten", "few_region"]
    assert len(lines) == 4
    planes = figures["entries"]["few_planes"]
    assert planes["files"] == 2
    assert planes["fastest_peer"] in planes["ratio"]
    assert any(name.startswith("libjpeg-turbo ") for name in planes["ms"])
    assert "opencv" in figures["entries"]["few_rgb"]["ratio"]
    assert "opencv" in figures["versions"]
