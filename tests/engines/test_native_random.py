"""Random networks of every operator that the native engine takes, against ONNX Runtime.

Node by node ONNX Runtime computes what is expected. What it cannot run, or what would amplify
rounding (divisions by almost nothing, squares of squares), is drawn anew.
"""

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from engines.processors import MARCHES
from engines.random_nodes import BUILDERS, random_network

from mlcnn.engines.compilers import c_compiler
from mlcnn.engines.native import Native, lowering
from mlcnn.errors import UnsupportedError
from mlcnn.graph import from_proto

PLACE = re.compile(r"node 'n\d+' \(\w+\)|(input|output) '[xv]\d+'")


def run(
    model: ir.Model, given: dict[str, np.ndarray], march: str, threads: int
) -> tuple[dict[str, np.ndarray] | None, str]:
    """What the engine computes, or how it refuses."""
    try:
        session = Native(march).prepare(model, threads=threads)
        session.run({name: np.full_like(array, np.nan) for name, array in given.items()})
        return session.run(given), ""  # in memory full of what is no number
    except UnsupportedError as error:
        return None, str(error)


def check(seed: int, march: str = "native") -> str:
    """Compare one network; what the engine refused, or nothing."""
    net = random_network(seed)
    outputs = net.outputs()
    model = from_proto(net.proto(outputs))
    given = {name: net.values[name] for name in net.inputs}
    found, refusal = run(model, given, march, net.integer(1, 2))
    assert found is not None or PLACE.search(refusal), f"seed {seed}: {refusal}"
    if found is None:
        return refusal
    for name in outputs:
        expected = net.values[name]
        atol = 1e-4 * max(1, np.abs(expected).max())
        np.testing.assert_allclose(
            found[name], expected, rtol=0, atol=atol, err_msg=f"seed {seed}, output {name}"
        )
    return ""


def test_every_operator_has_its_turn() -> None:
    """But those of codes, and of what decides what runs, which have tests of their own."""
    of_codes = {"DequantizeLinear", "QuantizeLinear"}
    deciding = {
        *("And", "Cast", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"),
        *("ReduceMax", "ReduceMin", "ReduceSum", "Softmax", "Where"),
    }
    assert set(BUILDERS) == lowering.OPERATORS - of_codes - deciding


def assert_right(seeds: Iterable[int], march: str = "native") -> None:
    """Right or refused by name, and not refused too often to tell."""
    refusals: list[str] = []
    for seed in seeds:
        try:
            refusals.append(check(seed, march))
        except Exception as error:
            error.add_note(f"random network of seed {seed}")
            raise
    ran = sum(not refusal for refusal in refusals)
    assert ran > 0.6 * len(refusals), Counter(filter(None, refusals)).most_common(5)


def test_random_networks() -> None:
    assert_right(range(40))


@pytest.mark.long
@pytest.mark.parametrize("march", MARCHES)
def test_many_random_networks(march: str) -> None:
    assert_right(range(1000, 1500), march)


SANITIZED = "-g -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all"
WATCHED = """
import sys
sys.path.insert(0, sys.argv[1])
from mlcnn.engines.native import library, program
library._SECONDS = 3000  # so many checks take minutes to compile
program._SLACK = 0  # what is read or written behind the last value is seen
from engines import test_native_random
test_native_random.assert_right(range(2000, 2200), sys.argv[2])
"""


@pytest.mark.long
@pytest.mark.parametrize("march", MARCHES)
def test_sanitizers_are_silent(tmp_path: Path, march: str) -> None:
    """The kernels on random networks, with every address and every sum of integers watched."""
    compiler = c_compiler()
    assert compiler is not None
    runtimes = [
        subprocess.run(
            [*compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    if not all(Path(path).is_absolute() for path in runtimes):
        pytest.skip("the C compiler has no sanitizers")
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(Path(__file__).parents[1]), march],
        env={
            **os.environ,
            "CC": f"{shlex.join(compiler)} {SANITIZED}",
            "XDG_CACHE_HOME": str(tmp_path),
            "LD_PRELOAD": ":".join(runtimes),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python's are none of ours
            "UBSAN_OPTIONS": "print_stacktrace=1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Sanitizer" not in done.stderr
    assert "runtime error" not in done.stderr
