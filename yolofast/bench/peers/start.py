"""The script that every participant's process runs: `python start.py MODULE JOB`.

It imports this folder as a package of its own, so that the modules here find one another without yolofast
and without hiding other packages from the interpreter that runs them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

PACKAGE = "yolofast_bench_peers"

if __name__ == "__main__":
    package = ModuleType(PACKAGE)
    package.__path__ = [__file__.rpartition("/")[0] or "."]
    sys.modules[PACKAGE] = package
    import_module(f"{PACKAGE}.serve").main(PACKAGE)
