"""Whether ONNX Runtime keeps weights twice that both branches of an If read.

Memory that a process alone has, of a session with 16 MiB of weights in the graph around the If,
each in a process of its own:

    python -m benchmarks.branch_memory
"""

import argparse
import subprocess
import sys

import numpy as np
import onnx.parser
import psutil
from onnx import numpy_helper

from mlcnn import engines
from mlcnn.graph import from_proto

__all__ = ["main"]

_SHAPES = {"Conv": (512, 512, 4, 4), "MatMul": (2048, 2048)}
_INPUTS = {"Conv": (1, 512, 8, 8), "MatMul": (1, 2048)}
_NETWORK = """<ir_version: 10, opset_import: ["" : 20]>
net (float{x} x, bool[1] go) => (float[N] y) {{
    y = If (go) <
        then_branch = one () => (a) {{ b = {operator} (x, w) a = Relu (b) }},
        else_branch = other () => (c) {{ {other} }}
    >
}}"""


def _session_bytes(operator: str, readers: int) -> int:
    """What a session takes that has run both branches."""
    other = f"d = {operator} (x, w) c = Neg (d)" if readers == 2 else "c = Neg (x)"
    shape = list(_INPUTS[operator])
    proto = onnx.parser.parse_model(_NETWORK.format(x=shape, operator=operator, other=other))
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    weight = np.random.default_rng(0).normal(size=_SHAPES[operator]).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    model = from_proto(proto)
    x, process = np.zeros(shape, np.float32), psutil.Process()
    before = process.memory_full_info().uss
    session = engines.get("onnxruntime").prepare(model, threads=1)
    for go in (True, False):
        session.run({"x": x, "go": np.array([go])})
    return process.memory_full_info().uss - before


def main() -> None:
    """Print what sessions take whose weights one branch reads, or both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs=2, metavar=("OPERATOR", "READERS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(_session_bytes(given.only[0], int(given.only[1])))
        return
    for operator in _SHAPES:
        found = [
            int(subprocess.check_output(  # noqa: S603 - this module itself
                [sys.executable, "-m", "benchmarks.branch_memory", "--only", operator, str(readers)]
            ))
            for readers in (1, 2)
        ]  # fmt: skip
        one, both = (size / 2**20 for size in found)
        print(f"{operator}: one branch reads it {one:.1f} MiB, both {both:.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
