"""Layers of which some channels are computed, over dense ones: gathered weights, lists in native.

3x3 convolutions, one image, one thread, processor time, interleaved; masks are inputs, so that the
lists of channels are made inside of what is timed:

    python -m benchmarks.selected_layers
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from mlcnn.engines import get, interleave, ratio
from mlcnn.graph import clone, infer_shapes
from mlcnn.ops.geometry import Convolution, read_convolution
from mlcnn.ops.selected import SELECTED, select
from mlcnn.passes.rewriting import emitter_for, install

__all__ = ["main"]

_LAYERS = ((64, 8), (128, 28), (256, 14))
_SHARES = (1.0, 0.75, 0.5)
_FORM = "select-gather"
_ENGINES = ("onnxruntime", "openvino", "native")


def _dense(channels: int, size: int) -> ir.Model:
    """A network of one convolution of as many output channels."""
    rng = np.random.default_rng(0)
    kind, shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([1, channels, size, size])
    x = ir.Value(name="x", shape=shape, type=kind)
    arrays = {"w": rng.normal(size=(channels, channels, 3, 3)), "b": rng.normal(size=channels)}
    stored = [
        ir.Value(name=name, shape=ir.Shape(array.shape), type=kind,
                 const_value=ir.Tensor(array.astype(np.float32), name=name))
        for name, array in arrays.items()
    ]  # fmt: skip
    attributes = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
    node = ir.node("Conv", [x, *stored], attributes, name="conv")
    (y,) = node.outputs
    y.name, y.type, y.shape = "y", kind, shape
    graph = ir.Graph([x], [y], nodes=[node], initializers=stored, opset_imports={"": 20}, name="g")
    return ir.Model(graph, ir_version=9)


def _selected(model: ir.Model, form: str | None) -> ir.Model:
    """The same layer, of which masks that are inputs choose channels, in a form or as operator."""
    copied = clone(model)
    (node,) = copied.graph
    layer = read_convolution(node)
    assert isinstance(layer, Convolution)
    masks = [
        ir.Value(name=name, shape=ir.Shape([1, count]), type=ir.TensorType(ir.DataType.BOOL))
        for name, count in (("outs", layer.filters), ("ins", layer.channels))
    ]
    copied.graph.inputs.extend(masks)
    emitter = emitter_for(copied, layer)
    result = select(emitter, layer, *masks)
    if form is not None:
        selected = SELECTED.read(emitter.nodes.pop()) if SELECTED.read else None
        assert isinstance(selected, Convolution)
        found = SELECTED.form(form)
        assert found is not None
        result = found.emit(emitter, selected, None)
    install(copied, emitter, node.outputs[0], result, anchor=node)
    infer_shapes(copied)
    return copied


def _kept(rng: np.random.Generator, channels: int, share: float) -> np.ndarray:
    mask = np.zeros((1, channels), bool)
    mask[0, rng.permutation(channels)[: round(share * channels)]] = True
    return mask


def main() -> None:
    """Print how many times as fast as the dense layer each share of the channels is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="for each layer")
    given = parser.parse_args()
    rng = np.random.default_rng(1)
    for channels, size in _LAYERS:
        model = _dense(channels, size)
        images = rng.normal(size=(1, channels, size, size)).astype(np.float32)
        dense = {
            name: get(name).prepare(model, threads=1).runner({"x": images}) for name in _ENGINES
        }
        ways = {
            _FORM: get("onnxruntime").prepare(_selected(model, _FORM), threads=1),
            "native": get("native").prepare(_selected(model, None), threads=1),
        }
        chosen = dict[str, Callable[[], object]]()
        for share in _SHARES:
            masks = {name: _kept(rng, channels, share) for name in ("outs", "ins")}
            for name, session in ways.items():
                chosen[f"{name} {share:.0%}"] = session.runner({"x": images, **masks})
        times = interleave(dense | chosen, budget_s=given.seconds, clock=time.process_time_ns)
        others = [times[name] for name in _ENGINES if name != "native"]
        best = min(others, key=lambda timing: timing.median_ms)
        told = ", ".join(f"{name} {times[name].median_ms:.3f} ms" for name in dense)
        print(f"{channels}@{size}: dense {told}")
        for name in chosen:
            over, own = ratio(best, times[name]), ratio(times["native"], times[name])
            print(
                f"  {name}: {over.value:.2f} ({over.low:.2f} to {over.high:.2f}), over native's "
                f"dense {own.value:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
