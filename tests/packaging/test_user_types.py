"""What a type checker sees in code of users: no `Any` where a result is read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import yolofast

pytestmark = pytest.mark.deep

USER = """
from yolofast import YOLO
from yolofast.callbacks import TrainEvent

def stop(event: TrainEvent) -> None:
    reveal_type(event.metrics)  # Mapping[str, float]
    reveal_type(event.losses["box"])  # float
    event.stop()

model = YOLO("n")
reveal_type(model)  # YOLO
model.add_callback("on_fit_epoch_end", stop)
model.add_callback("on_val_end", lambda event: print(event.epoch + 1))
result = model.train(data="data.yaml", epochs=3, device=0)
reveal_type(result)  # RunResult
reveal_type(result.box.map)  # float
reveal_type(result.results_dict)  # dict[str, float]
reveal_type(result.training_history)  # list[dict[str, float]]
found = model.val()
reveal_type(found)  # Evaluation
reveal_type(found.box.maps)  # ndarray[tuple[Any, ...], dtype[float64]]
reveal_type(found.speed)  # dict[str, float]
reveal_type(model.predict("a.jpg", device="cpu"))  # list[Result]
reveal_type(model("a.jpg", stream=True))  # Iterator[Result]
reveal_type(model("a.jpg")[0].boxes.xyxy)  # ndarray[tuple[Any, ...], dtype[floating[_32Bit]]]
reveal_type(model.export().path)  # Path
reveal_type(model.info().parameters)  # int
reveal_type(model.names)  # tuple[str, ...]
reveal_type(model.device)  # device
reveal_type(model.task)  # Literal['detect']
"""


def test_results_have_types(tmp_path: Path) -> None:
    code = tmp_path / "user.py"
    code.write_text(USER)
    settings = ["--strict", "--no-error-summary", "--config-file", str(tmp_path / "none.ini")]
    (tmp_path / "none.ini").write_text("[mypy]\nfollow_imports = silent\n")
    command = [sys.executable, "-m", "mypy", *settings, str(code)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(yolofast.__file__).parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
    shown = re.findall(r"user.py:(\d+): note: Revealed type is \"(.*)\"", done.stdout)
    without_modules = {int(line): re.sub(r"\b(\w+\.)+(?=\w)", "", kind) for line, kind in shown}
    lines = enumerate(USER.splitlines(), 1)
    wanted = {number: line.split("# ")[1] for number, line in lines if "reveal_type" in line}
    assert without_modules == wanted
