"""Codes of activations in the engine `native` against those in ONNX Runtime.

ONNX Runtime rounds biases that are stored as floats to its accumulator's grid where it computes in
integers (`WeightBiasQuantization`): it runs with that transformation and without. A number halfway
between two codes is a tie, and which of them it gets hangs on the last bit of a sum; ties are
counted in float64, within a hundred-thousandth of a code. What one layer changes, the next ones
read.

python -m benchmarks.same_codes FILE.onnx ... --data FOLDER_OF_CIFAR10_BINARY
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from benchmarks.bias_rounding import WITHOUT_ROUNDING, codes_of
from benchmarks.results import show
from mlcnn import engines, training, zoo
from mlcnn.graph import (
    DEQUANTIZE,
    QUANTIZE,
    clone,
    constant,
    is_quantiser,
    load_file,
)
from mlcnn.nn import to_module

__all__ = ["main"]

_COLUMNS = (
    "network", "activations", "same, %", "least of a layer, %", "same with rounded biases, %",
    "ties", "ties of those that differ",
)  # fmt: skip
_TIE = 1e-5

Codes = dict[str, NDArray[np.uint8]]


def _rounded(model: ir.Model) -> list[ir.Node]:
    """The nodes that round activations."""
    return [
        node
        for node in model.graph
        if is_quantiser(node, QUANTIZE) and constant(node.inputs[0]) is None
    ]


def _with_outputs(model: ir.Model, names: list[str]) -> ir.Model:
    copied = clone(model)
    values = {value.name: value for value in copied.graph.inputs}
    values |= {value.name: value for node in copied.graph for value in node.outputs}
    copied.graph.outputs[:] = [values[name] for name in names]
    return copied


def _codes_in_native(model: ir.Model, feeds: Mapping[str, NDArray[np.float32]]) -> Codes:
    """Read off the numbers behind: engine `native` hands out no codes."""
    leaves: dict[str, ir.Node] = {}
    for enter in _rounded(model):
        readers = (use.node for use in enter.outputs[0].uses())
        leave = next(node for node in readers if is_quantiser(node, DEQUANTIZE))
        leaves[enter.outputs[0].name or ""] = leave
    wanted = [leave.outputs[0].name or "" for leave in leaves.values()]
    found = engines.get("native").prepare(_with_outputs(model, wanted)).run(dict(feeds))
    codes: Codes = {}
    for name, leave in leaves.items():
        step, zero = (float(constant(value)) for value in leave.inputs[1:3])
        exact = found[leave.outputs[0].name or ""].astype(np.float64) / step + zero
        codes[name] = np.rint(exact).astype(np.uint8)
        if np.abs(exact - codes[name]).max(initial=0) > 1e-3:
            raise AssertionError(f"{name}: numbers that are no codes")
    return codes


def _ties(model: ir.Model, images: NDArray[np.float32]) -> dict[str, NDArray[np.bool_]]:
    """Where what is rounded lies halfway between two codes of its grid, in float64."""
    nodes = _rounded(model)
    read = list(dict.fromkeys(node.inputs[0].name or "" for node in nodes))
    inner = [name for name in read if name != model.graph.inputs[0].name]
    with torch.no_grad():
        given = torch.from_numpy(images).double()
        found = to_module(_with_outputs(model, inner)).double()(given)
    numbers = dict(zip(inner, found if isinstance(found, tuple) else (found,), strict=True))
    numbers[model.graph.inputs[0].name or ""] = given
    ties: dict[str, NDArray[np.bool_]] = {}
    for node in nodes:
        steps = numbers[node.inputs[0].name or ""].numpy() / float(constant(node.inputs[1]))
        ties[node.outputs[0].name or ""] = np.abs(np.abs(steps % 1) - 0.5) < _TIE
    return ties


def _row(path: Path, images: NDArray[np.float32], batch: int) -> list[str]:
    model = load_file(path)
    names = [node.outputs[0].name or "" for node in _rounded(model)]
    total = dict.fromkeys(names, 0)
    apart = dict.fromkeys(names, 0)
    of_rounding, halfway, explained = 0, 0, 0
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        native = _codes_in_native(model, {model.graph.inputs[0].name or "": part})
        plain, rounding = (
            dict(zip(names, codes_of(path, names, part, off), strict=True))
            for off in (WITHOUT_ROUNDING, [])
        )
        ties = _ties(model, part)
        for name in names:
            differ = native[name] != plain[name]
            total[name] += differ.size
            apart[name] += int(differ.sum())
            of_rounding += int((native[name] != rounding[name]).sum())
            halfway += int(ties[name].sum())
            explained += int((differ & ties[name]).sum())
    count = sum(total.values())
    least = min(1 - apart[name] / total[name] for name in names)
    return [
        path.stem, f"{count}", f"{100 * (1 - sum(apart.values()) / count):.4f}",
        f"{100 * least:.4f}", f"{100 * (1 - of_rounding / count):.4f}", f"{halfway}",
        f"{explained} of {sum(apart.values())}",
    ]  # fmt: skip


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", type=Path, nargs="+", metavar="FILE.onnx")
    parser.add_argument("--data", required=True)
    parser.add_argument("--like", default="resnet20", help="zoo network that takes such images")
    parser.add_argument("--images", type=int, default=1000, help="test images")
    parser.add_argument("--batch", type=int, default=100)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = training.open_data(given.data)
    normal, _ = training.normal_for(data.training, zoo.describe(given.like))
    tests = normal.apply(data.test.first(given.images).images)
    rows = [_row(path, tests, given.batch) for path in given.networks]
    show(f"codes in native and in ONNX Runtime, {len(tests)} images", _COLUMNS, rows)


if __name__ == "__main__":
    main()
