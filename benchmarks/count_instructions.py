"""Instructions per rendered sample, counted by callgrind: exact, whatever else the machine does.

Writes results/instructions.json. Needs valgrind. A count is the difference between two runs that render
one and nine times the same samples, so start-up cancels out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from folders import RESULTS

from yolofast import kernels
from yolofast.bench.figures import write_result
from yolofast.bench.kernels import GENERAL, SAMPLES, planes, training_plan
from yolofast.config import AugmentConfig

CASES = {"render": AugmentConfig(), "render_general": GENERAL}
REPEATS = (1, 9)


def collected(name: str, repeats: int) -> int:
    """Instructions of a process that renders the samples of a case `repeats` times."""
    with tempfile.TemporaryDirectory() as folder:
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={Path(folder) / 'out'}"]
        done = subprocess.run(
            [*tool, sys.executable, __file__, name, str(repeats)],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
        )
    return int(re.findall(r"Collected : (\d+)", done.stderr)[0])


def main() -> None:
    if len(sys.argv) > 1:
        plan = training_plan(CASES[sys.argv[1]])
        for _ in range(int(sys.argv[2])):
            kernels.render(plan, planes())
        return
    entries = {}
    for name in CASES:
        few, many = (collected(name, repeats) for repeats in REPEATS)
        count = (many - few) / ((REPEATS[1] - REPEATS[0]) * SAMPLES)
        entries[name] = {"instructions_a_sample": round(count), "a_pixel": round(count / 640**2, 2)}
        print(name, entries[name])
    print(write_result(RESULTS / "instructions.json", entries, ("numpy", "yolofast")))


if __name__ == "__main__":
    main()
