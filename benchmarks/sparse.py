"""Layers of mostly zero weights in engine native, over dense ones in the faster other engine.

    python -m benchmarks.sparse            # everything
    python -m benchmarks.sparse 64@32      # layers by name: channels, at rows and columns

3x3 kernels, one thread, batch 1, masks at random: plain weights at a density, or coefficients of
five kernels that all filters share. The dense layers of ONNX Runtime, OpenVINO and native run in
turn with it in one process, over several fresh processes; the time of native holds the way between
the caller's arrays and its own layout.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks import fresh
from benchmarks.interleaved import OTHERS, faster, largest_error, medians, prepare, samples
from benchmarks.results import Row, Rows, repeated, show
from benchmarks.targets import spread
from mlcnn import engines
from mlcnn.engines.native import Native
from mlcnn.graph import from_proto

__all__ = ["CASES", "LAYERS", "Case", "main", "time_layer"]

_SPARSE, _DENSE = "sparse", "native dense"
_TOLERANCE = 1e-5
_BASES = 5

LAYERS = {
    "64@32": (64, 32), "64@56": (64, 56), "128@28": (128, 28), "256@14": (256, 14),
    "512@7": (512, 7), "16@32": (16, 32), "32@16": (32, 16), "64@8": (64, 8),
}  # fmt: skip
_WIDE = ("64@32", "64@56", "128@28", "256@14")
_NARROW = ("16@32", "32@16", "64@8")


@dataclass(frozen=True, slots=True)
class Case:
    """Weights, and how many times as fast as the faster dense layer they have to be.

    Attributes:
        bases: kernels that filters share; 0 where each has its own.
        density: share of the weights, or coefficients, that are not zero.
        targets: layer to the least ratio; none is set for those left out.
    """

    bases: int
    density: float
    targets: Mapping[str, float]

    @property
    def label(self) -> str:
        """What stands in its rows."""
        what = f"{self.bases} shared kernels" if self.bases else "plain"
        return f"{what}, density {self.density:g}"


CASES = (
    Case(_BASES, 0.1, dict.fromkeys(_WIDE, 3.2) | {"512@7": 2.4} | dict.fromkeys(_NARROW, 1.5)),
    Case(_BASES, 0.05, dict.fromkeys(_WIDE, 4.0)),
    Case(0, 0.15, dict.fromkeys(_WIDE, 2.6) | {"512@7": 1.3}),
    Case(0, 0.05, {}),
)


def _network(
    nodes: Sequence[Any], arrays: Mapping[str, NDArray[Any]], channels: int, size: int
) -> ir.Model:
    shape = ["N", channels, size, size]
    graph = helper.make_graph(
        nodes, "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )  # fmt: skip
    opset = helper.make_opsetid("", 20)
    return from_proto(helper.make_model(graph, opset_imports=[opset], ir_version=10))


def dense_layer(channels: int, size: int) -> ir.Model:
    """A layer of 3x3 kernels, its weights random and none of them zero."""
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((channels, channels, 3, 3)) / np.sqrt(9 * channels)
    arrays = {"w": weight, "b": generator.standard_normal(channels)}
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], name="layer", pads=[1] * 4)
    return _network([node], arrays, channels, size)


def sparse_layer(channels: int, size: int, bases: int, density: float) -> ir.Model:
    """The same with random zeros; with ``bases`` shared kernels, as two convolutions."""
    generator = np.random.default_rng(1)
    per_kernel = (bases,) if bases else (3, 3)
    shape = (channels, channels, *per_kernel)
    weight = generator.standard_normal(shape) * (generator.random(shape) < density)
    weight /= np.sqrt(9 * channels * density)
    bias = generator.standard_normal(channels)
    if not bases:
        node = helper.make_node("Conv", ["x", "w", "b"], ["y"], name="layer", pads=[1] * 4)
        return _network([node], {"w": weight, "b": bias}, channels, size)
    arrays = {
        "basis": np.tile(generator.standard_normal((bases, 1, 3, 3)), (channels, 1, 1, 1)),
        "w": weight.reshape(channels, -1, 1, 1),
        "b": bias,
    }
    nodes = [
        helper.make_node("Conv", ["x", "basis"], ["t"], name="b", pads=[1] * 4, group=channels),
        helper.make_node("Conv", ["t", "w", "b"], ["y"], name="layer"),
    ]
    return _network(nodes, arrays, channels, size)


def _runners(layer: str, case: Case) -> dict[str, Callable[[], object]]:
    """Dense layers, and the one with zeros, whose results are checked."""
    channels, size = LAYERS[layer]
    dense = dense_layer(channels, size)
    inputs = engines.random_inputs(dense, 1)
    shapes = {name: array.shape for name, array in inputs.items()}
    fixed = engines.fix_shapes(dense, shapes)
    found = {name: prepare(name, fixed).runner(inputs) for name in OTHERS}
    found[_DENSE] = Native().prepare(fixed).runner(inputs)
    thin = engines.fix_shapes(sparse_layer(channels, size, case.bases, case.density), shapes)
    session = Native(algorithm="sparse").prepare(thin)
    (told,) = session.run(inputs).values()
    (expected,) = prepare("onnxruntime", thin).run(inputs).values()
    error = largest_error(np.asarray(told), np.asarray(expected))
    if not error <= _TOLERANCE:
        raise RuntimeError(f"{layer}, {case.label}: output differs by {error:.1e}")
    found[_SPARSE] = session.runner(inputs)
    return found


def time_layer(layer: str, case: int, budget_s: float, processor_time: bool) -> dict[str, Any]:
    """In a fresh process: samples of a layer in every engine, in ms."""
    runners = _runners(layer, CASES[case])
    return samples(runners, budget_s, processor_time=processor_time)["samples"]


def row_of(layer: str, case: Case, parts: Sequence[Mapping[str, Sequence[float]]]) -> Row:
    """The figures of several processes."""
    ratios = [faster(part, _SPARSE, OTHERS) for part in parts]
    return {
        "case": case.label, "layer": layer, "target": case.targets.get(layer),
        "processes": len(parts), "ratio": median(ratios), "ratios": ratios,
        "over_native_dense": median(faster(part, _SPARSE, (_DENSE,)) for part in parts),
        "ms": {name: median(medians(part)[name] for part in parts) for name in parts[0]},
    }  # fmt: skip


def _wanted(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    for index in range(len(CASES)):
        for layer in LAYERS:
            if not names or layer in names:
                yield layer, index


def _line(row: Row) -> list[str]:
    target = row["target"]
    verdict = "" if target is None else "reached" if row["ratio"] >= target else "missed"
    return [
        row["case"], row["layer"],
        *(f"{row['ms'][name]:.3f}" for name in (*OTHERS, _DENSE, _SPARSE)),
        f"{row['ratio']:.2f}", spread(row["ratios"]),
        "" if target is None else f"{target:g}", verdict, f"{row['over_native_dense']:.2f}",
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    options = repeated(__doc__, "sparse", seconds=0.5, processes=3).parse_args()
    rows = Rows(options, ("case", "layer"))
    for layer, index in _wanted(options.networks):
        if rows.done(options.processes, case=CASES[index].label, layer=layer):
            continue
        parts = [
            fresh.call(
                "benchmarks.sparse:time_layer", layer=layer, case=index, budget_s=options.seconds,
                processor_time=options.processor_time,
            )
            for _ in range(options.processes)
        ]  # fmt: skip
        rows.put(row_of(layer, CASES[index], parts))
    columns = ["", "layer", *(f"{name} ms" for name in (*OTHERS, _DENSE, _SPARSE))]
    columns += ["ratio", "least to most", "target", "", "over native dense"]
    show("zeros skipped, over the faster dense engine", columns, [_line(r) for r in rows.rows])
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
