"""INT8: the engines on one quantised file, plain and with fused average pools, one thread.

The file has static u8 activations and s8 weights per channel. In fresh processes pinned to one core
the engines run in turn: the network as it is, in INT8 and in float32; then with activations behind
average pools, unfused and fused (form ``box``; in native as exact sums, and with rounded means).
Outputs are compared first. A ``layer-CxR`` is one 3x3 convolution of C channels and R rows with a
2x2 average pool behind it, and a cheap layer in front that writes its codes.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmarks import fresh
from benchmarks.interleaved import OTHERS, faster, medians, prepare, samples
from benchmarks.networks import reorder
from benchmarks.quantising import quantised
from benchmarks.results import Row, Rows, repeated, show
from benchmarks.targets import Figure, Found, targets_of
from mlcnn import engines, zoo
from mlcnn.engines.native import Native
from mlcnn.graph import from_proto, load_file, save
from mlcnn.passes import FoldBatchNorm, pipeline

__all__ = ["ENGINES", "RATIOS", "ROUNDED", "found", "main"]

ENGINES = (*OTHERS, "native")
ROUNDED = "native, rounded means"
_FIGURES = (Figure.INT8, Figure.INT8_FUSED_EXACT, Figure.LAYER_EXACT)
_GIVEN = 4  # channels of a single layer's input
_MOST_CODES = 3.0  # that outputs may differ in the mean

Samples = Mapping[str, Sequence[float]]


def _layer(name: str) -> ir.Model:
    """A convolution with an average pool behind it; see the top of this file."""
    channels, size = map(int, name.removeprefix("layer-").split("x"))
    generator = np.random.default_rng(0)
    weights = {
        "v": generator.standard_normal((channels, _GIVEN, 1, 1)),
        "w": generator.standard_normal((channels, channels, 3, 3)) / np.sqrt(9 * channels),
    }
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["b"]),
        helper.make_node("Relu", ["b"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["c"], pads=[1] * 4),
        helper.make_node("AveragePool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Relu", ["p"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", _GIVEN, size, size])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "layer", [given], [made], constants)
    imports = [helper.make_opsetid("", 20)]
    return from_proto(helper.make_model(graph, opset_imports=imports, ir_version=10))


def write_files(network: str, folder: str) -> dict[str, str]:
    """In a fresh process: path by variant; ``fused`` is there only where something was fused."""
    model = _layer(network) if network.startswith("layer-") else zoo.load(network)
    original, reordered = (FoldBatchNorm().apply(m).model for m in (model, reorder(model)))
    found = {"float32": original, "int8": quantised(original), "reordered": quantised(reordered)}
    fused = pipeline.run(found["reordered"], pipeline.parse("fuse{form=box}"))
    if fused.changes:
        found["fused"] = fused.model
    else:
        del found["reordered"]
    paths = {name: Path(folder) / f"{name}.onnx" for name in found}
    for name, path in paths.items():
        save(found[name], path)
    return {name: str(path) for name, path in paths.items()}


def time_files(
    files: dict[str, str], batch: int, budget_s: float, processor_time: bool
) -> dict[str, Any]:
    """In a fresh process: samples of every engine on every one of the files, in ms.

    And by run how the outputs differ from ONNX Runtime's on the same file: the share of equal
    codes, and the mean and the largest difference in codes.
    """
    torch.set_num_threads(1)
    models = {name: load_file(Path(path)) for name, path in files.items()}
    inputs = engines.random_inputs(next(iter(models.values())), batch)
    runners: dict[str, Callable[[], object]] = {}
    agreement: dict[str, dict[str, float]] = {}
    for variant, model in models.items():
        fixed = engines.fix_shapes(model, {name: array.shape for name, array in inputs.items()})
        sessions = {engine: prepare(engine, fixed) for engine in ENGINES}
        if variant == "fused":
            sessions[ROUNDED] = Native(rounded_means=True).prepare(fixed)
        results = {name: session.run(inputs) for name, session in sessions.items()}
        if variant != "float32":
            agreement |= _agreement(variant, fixed, results)
        runners |= {f"{name} {variant}": s.runner(inputs) for name, s in sessions.items()}
    found = samples(runners, budget_s, processor_time=processor_time)
    return {**found, "agreement": agreement}


def _agreement(
    variant: str, model: ir.Model, results: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """How the codes of the first output differ from ONNX Runtime's.

    Raises:
        RuntimeError: by too much to be the same network.
    """
    output = model.graph.outputs[0]
    node = output.producer()
    if node is None or node.op_type != "DequantizeLinear" or node.inputs[1] is None:
        raise RuntimeError(f"{variant}: output {output.name!r} is not dequantised")
    step = float(ir.convenience.get_const_tensor(node.inputs[1]).numpy())
    codes = {name: np.rint(values[output.name] / step) for name, values in results.items()}
    found: dict[str, dict[str, float]] = {}
    for name, mine in codes.items():
        apart = np.abs(mine - codes[OTHERS[0]])
        if not apart.mean() <= _MOST_CODES:
            raise RuntimeError(f"{name}, {variant}: outputs differ by {apart.mean():.1f} codes")
        figures = {"equal": (apart == 0).mean(), "mean": apart.mean(), "largest": apart.max()}
        found[f"{name} {variant}"] = {key: float(value) for key, value in figures.items()}
    return found


def _over(samples_ms: Samples, slow: str, fast: str) -> float | None:
    return faster(samples_ms, fast, [slow]) if {slow, fast} <= samples_ms.keys() else None


RATIOS: Mapping[str, Callable[[Samples], float | None]] = {
    Figure.INT8: lambda s: faster(s, "native int8", [f"{name} int8" for name in OTHERS]),
    Figure.INT8_FUSED_EXACT: lambda s: _over(s, "openvino fused", "native fused"),
    Figure.INT8_FUSED_ROUNDED: lambda s: _over(s, "openvino fused", f"{ROUNDED} fused"),
    **{
        f"{name}: INT8 over float32": lambda s, name=name: _over(
            s, f"{name} float32", f"{name} int8"
        )
        for name in ENGINES
    },
    **{
        f"{name}: fused over reordered": lambda s, name=name: _over(
            s, f"{name} reordered", f"{name} fused"
        )
        for name in ENGINES
    },
    f"{ROUNDED}: fused over reordered": lambda s: _over(s, "native reordered", f"{ROUNDED} fused"),
}
"""Ratios of one process by name; None where nothing was fused."""

_LAYER = {
    "native: fused over reordered": Figure.LAYER_EXACT,
    f"{ROUNDED}: fused over reordered": Figure.LAYER_ROUNDED,
}
"""The same ratios of a network that is one layer have a target of their own."""


def row_of(network: str, batch: int, parts: Sequence[dict[str, Any]]) -> Row:
    """What the fresh processes of one setting say together."""
    by_name = {name: [of(one["samples"]) for one in parts] for name, of in RATIOS.items()}
    ratios = {name: values for name, values in by_name.items() if None not in values}
    times = [medians(one["samples"]) for one in parts]
    return {
        "network": network, "batch": batch, "processes": len(parts), "ratios": ratios,
        "ms": {name: median(one[name] for one in times) for name in times[0]},
        "agreement": parts[0]["agreement"],
        **{key: median(one[key] for one in parts) for key in ("peak_gflops", "bandwidth_gbs")},
    }  # fmt: skip


def found(rows: Sequence[Row]) -> list[Found]:
    """The figures of these rows; those without a target are called as in ``RATIOS``."""
    known = {str(figure): figure for figure in Figure}
    figures: list[Found] = []
    for row in rows:
        names = known | (_LAYER if row["network"].startswith("layer-") else {})
        figures += [
            Found(names.get(name, name), row["network"], row["batch"], ratios)
            for name, ratios in row["ratios"].items()
        ]
    return figures


def _agreeing(row: Row) -> list[list[str]]:
    return [
        [f"{row['network']}, batch {row['batch']}: {name}", f"{100 * told['equal']:.1f} %",
         f"{told['mean']:.3f}", f"{told['largest']:.0f}", f"{row['ms'][name]:.3f}"]
        for name, told in row["agreement"].items()
    ]  # fmt: skip


def _show(rows: Sequence[Row]) -> None:
    columns = ("against ONNX Runtime", "equal codes", "mean apart", "largest", "ms")
    show("outputs in codes", columns, [line for row in rows for line in _agreeing(row)])
    lines = [[f"{f.network}, batch {f.batch}: {f.figure}", *f.cells()] for f in found(rows)]
    columns = ("one thread", "times as fast", "least to most", "target", "")
    show("INT8", columns, lines)


def main() -> None:
    """Measure and print."""
    parser = repeated(__doc__, "quantised", seconds=8)
    options = parser.parse_args()
    rows = Rows(options, ("network", "batch"))
    settings: list[tuple[str, int]] = []
    for network in options.networks or dict(targets_of(*_FIGURES)):
        batches = options.batch or ((8,) if network.startswith("layer-") else (1, 8))
        settings += [(network, batch) for batch in batches]
    pending = [
        (network, batch)
        for network, batch in settings
        if not rows.done(options.processes, network=network, batch=batch)
    ]
    for network in dict(pending):
        with tempfile.TemporaryDirectory() as folder:
            files = fresh.call("benchmarks.quantised:write_files", network=network, folder=folder)
            for batch in (batch for name, batch in pending if name == network):
                parts = [
                    fresh.call(
                        "benchmarks.quantised:time_files", files=files, batch=batch,
                        budget_s=options.seconds, processor_time=options.processor_time,
                    )
                    for _ in range(options.processes)
                ]  # fmt: skip
                rows.put(row_of(network, batch, parts))
                print(f"{network}, batch {batch}: measured", flush=True)
    _show([row for row in rows.rows if (row["network"], row["batch"]) in settings])
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
