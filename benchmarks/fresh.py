"""Functions called in fresh Python processes, each pinned to one core.

A fresh process has its own memory layout, caches and library state, so that a figure over several
processes does not hang on the luck of one. The core is the last that this process may use: system
work gathers on the first. A pinned process is not moved between cold caches.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["call", "core"]

_ROOT = Path(__file__).resolve().parents[1]


def core() -> int | None:
    """The core that the processes are pinned to; None where the system has no such thing."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return max(os.sched_getaffinity(0))


def call(function: str, **arguments: Any) -> Any:
    """Call a function in a fresh process.

    Args:
        function: ``package.module:name``.
        arguments: what JSON can carry.

    Returns:
        The result, as JSON carries it.

    Raises:
        RuntimeError: the process failed; the message has the end of its standard error.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with tempfile.NamedTemporaryFile("r", suffix=".json", encoding="utf-8") as file:
        work = {"function": function, "arguments": arguments, "core": core(), "result": file.name}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.fresh"],
            input=json.dumps(work),
            cwd=_ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{function} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return json.load(file)


def _work() -> None:
    work = json.load(sys.stdin)
    if work["core"] is not None:
        os.sched_setaffinity(0, {work["core"]})
    module, _, name = work["function"].partition(":")
    result = getattr(importlib.import_module(module), name)(**work["arguments"])
    Path(work["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    _work()
