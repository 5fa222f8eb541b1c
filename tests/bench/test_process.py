"""Participants: their protocol, their cores, and the reasons they are left out for."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yolofast import __version__
from yolofast.bench.peers.serve import versions
from yolofast.bench.process import Participant, cores, launch
from yolofast.errors import ConfigError, DataError
from yolofast.process_memory import peak_resident_mib

FAKE = """
import json, os, sys
behaviour = sys.argv[1]
print("a library talks", file=sys.stderr)
if behaviour == "refuses":
    print(json.dumps({"left_out": "no such job"}), flush=True)
    sys.exit()
print(json.dumps({"cores": sorted(os.sched_getaffinity(0)),
                  "threads": os.environ["OMP_NUM_THREADS"]}), flush=True)
for line in sys.stdin:
    if behaviour == "crashes":
        sys.exit("out of luck")
    print(json.dumps({"samples": json.loads(line)["count"], "seconds": 0.5}), flush=True)
"""


def fake(tmp_path: Path, behaviour: str) -> Participant:
    script = tmp_path / "fake.py"
    script.write_text(FAKE, encoding="utf-8")
    return Participant("fake", [sys.executable, str(script), behaviour], tmp_path)


def test_a_participant_answers_on_its_own_core_and_we_keep_ours(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    with fake(tmp_path, "works") as participant:
        assert participant.hello["cores"] == cores(1)
        assert participant.hello["threads"] == "1"
        assert [participant.ask("run", count=n)["samples"] for n in (3, 5)] == [3, 5]
        process = participant._process
    assert process.returncode == 0
    assert os.sched_getaffinity(0) == before


def test_a_participant_says_why_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such job"):
        fake(tmp_path, "refuses")
    with fake(tmp_path, "crashes") as participant, pytest.raises(DataError, match="exit code 1: out of luck"):
        participant.ask("run", count=1)
    with pytest.raises(DataError, match="cannot be started"):
        Participant("fake", [str(tmp_path / "nothing")], tmp_path)


def test_a_silent_participant_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("START_SECONDS", "STOP_SECONDS"):
        monkeypatch.setattr(f"yolofast.bench.process.{limit}", 0.2)
    with pytest.raises(DataError, match="no answer"):
        Participant("silent", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)


def test_more_threads_than_cores_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="only"):
        cores(len(os.sched_getaffinity(0)) + 1)


def test_versions_are_those_of_installed_packages() -> None:
    assert versions(("numpy", "no-such-package-at-all")) == {"numpy": np.__version__}
    assert versions(("yolofast",)) == {"yolofast": __version__}


@pytest.mark.parametrize(
    ("module", "job"), [(".jpeg", {"decoder": "opencv"}), (".nms", {"participant": "yolofast"})]
)
def test_peers_run_without_yolofast(module: str, job: dict[str, str], tmp_path: Path) -> None:
    """As in an environment of the peers: only our own participants import yolofast."""
    (tmp_path / "yolofast.py").write_text("raise ImportError('there is no yolofast here')", encoding="utf-8")
    options: dict[str, Any] = {"python": Path(sys.executable), "variables": {"PYTHONPATH": str(tmp_path)}}
    if "decoder" in job:
        with launch("opencv", module, job, tmp_path, **options) as participant:
            assert participant.hello["versions"]["opencv"]
    else:
        with pytest.raises(DataError, match="there is no yolofast here"):
            launch("ours", module, job, tmp_path, **options)


def test_peak_memory_is_that_of_the_process(tmp_path: Path) -> None:
    with fake(tmp_path, "works") as participant:
        assert 1 < peak_resident_mib(participant.pid) < 100
    data = np.ones(2**27, np.uint8)
    assert peak_resident_mib() == peak_resident_mib(os.getpid()) > data.nbytes / 2**20
