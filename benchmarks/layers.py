"""A network layer by layer: each algorithm of engine native, and the other engines' profiles.

The algorithms are timed one by one with the caches as a network leaves them. ONNX Runtime and
OpenVINO profile themselves; what they fuse into a layer is in its time. One thread.
"""

import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime as ort
import openvino as ov

from benchmarks import fresh
from benchmarks.interleaved import core_figures
from benchmarks.results import arguments, show, write
from mlcnn import engines, graph, zoo
from mlcnn.engines.native import Native

__all__ = ["main"]

_RUNS = 20
_JOINED = frozenset({"Add", "BatchNormalization", "Clip", "Relu"})


def profile(network: str, batch: int) -> dict[str, Any]:
    """In a fresh process: a row for each layer that engine native computes as a convolution."""
    model = zoo.load(network)
    inputs = engines.random_inputs(model, batch)
    fixed = engines.fix_shapes(model, {name: array.shape for name, array in inputs.items()})
    session = Native().prepare(fixed)
    session.run(inputs)
    nodes = _layers_by_name(fixed)
    others = {
        "onnxruntime_ms": _onnxruntime(fixed, inputs, nodes),
        "openvino_ms": _openvino(fixed, inputs, nodes),
    }
    rows = [
        {**row.to_json(), **{name: times.get(row.layer) for name, times in others.items()}}
        for row in session.algorithms
    ]
    return {"rows": rows, **core_figures()}


def _layers_by_name(model: Any) -> dict[str, str]:
    """The layer of each node and value, a layer's norm and activation among them."""
    found: dict[str, str] = {}
    for node in model.graph:
        before = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        layer = graph.layer_name(node)
        if node.op_type in _JOINED and before is not None:
            layer = found.get(before.name or "", layer)
        found[node.name or ""] = layer
        found |= {value.name or "": layer for value in node.outputs}
    return found


def _onnxruntime(model: Any, inputs: engines.Arrays, nodes: dict[str, str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        graph.save(model, path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for _ in range(_RUNS):
            session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    spent: dict[str, list[float]] = {}
    for event in events:
        name = event["name"].removesuffix("_kernel_time")
        if event.get("cat") == "Node" and name != event["name"]:
            spent.setdefault(name, []).append(event["dur"] / 1e3)
    return _by_layer({name: median(values) for name, values in spent.items()}, nodes)


def _openvino(model: Any, inputs: engines.Arrays, nodes: dict[str, str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        graph.save(model, path)
        settings = {
            "PERF_COUNT": True, "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32",
        }  # fmt: skip
        compiled = ov.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()
    spent: dict[str, list[float]] = {}
    for _ in range(_RUNS):
        request.infer(list(inputs.values()))
        renamed = 0.0  # a convolution that took its norm in; what it took in next tells the layer
        for row in request.get_profiling_info():
            ms = row.real_time.total_seconds() * 1e3
            if row.node_name in nodes:
                spent.setdefault(row.node_name, []).append(ms + renamed)
                renamed = 0.0
            elif row.node_type == "Convolution":
                renamed = ms
    return _by_layer({name: median(values) for name, values in spent.items()}, nodes)


def _by_layer(spent: dict[str, float], nodes: dict[str, str]) -> dict[str, float]:
    """Times by layer; an engine calls a fused node after one of those that it consists of."""
    found: dict[str, float] = {}
    for name, ms in spent.items():
        plain = name.removesuffix("_nchwc").partition("/WithoutBiases")[0]
        layer = nodes.get(name) or nodes.get(plain)
        if layer is not None:
            found[layer] = found.get(layer, 0.0) + ms
    return found


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, "layers")
    parser.add_argument("network", help="name of the zoo")
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    found = fresh.call("benchmarks.layers:profile", network=options.network, batch=options.batch)
    rows = [
        [
            row["layer"], row["geometry"], row["algorithm"], f"{row['ms']:.3f}",
            *(_ms(row[name]) for name in ("onnxruntime_ms", "openvino_ms")),
            f"{100 * row['peak_share']:.0f} %", row["bound"], row["reason"],
        ]
        for row in found["rows"]
    ]  # fmt: skip
    title = f"{options.network}, batch {options.batch}: peak {found['peak_gflops']:.0f} GF/s"
    columns = [
        *("layer", "geometry", "algorithm", "ms", "ONNX Runtime", "OpenVINO"),
        *("of peak", "bound", "each algorithm"),
    ]
    show(title, columns, rows)
    write(options, found)
    print(f"results: {options.out}")


def _ms(value: float | None) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.3f}"


if __name__ == "__main__":
    main()
