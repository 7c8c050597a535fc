"""Layers of which some channels are computed, in ONNX Runtime: gathered weights over dense ones.

3x3 convolutions, one image, one thread, processor time, interleaved; masks are inputs, so that the
lists of channels are made inside of what is timed:

    python -m benchmarks.selected_layers
"""

import argparse
import time

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


def _gathered(model: ir.Model) -> ir.Model:
    """The same layer, of which masks that are inputs choose channels."""
    copied = clone(model)
    (node,) = copied.graph
    layer = read_convolution(node)
    form = SELECTED.form(_FORM)
    assert isinstance(layer, Convolution)
    assert form is not None
    masks = [
        ir.Value(name=name, shape=ir.Shape([1, count]), type=ir.TensorType(ir.DataType.BOOL))
        for name, count in (("outs", layer.filters), ("ins", layer.channels))
    ]
    copied.graph.inputs.extend(masks)
    emitter = emitter_for(copied, layer)
    select(emitter, layer, *masks)
    selected = SELECTED.read(emitter.nodes.pop()) if SELECTED.read else None
    assert isinstance(selected, Convolution)
    install(copied, emitter, node.outputs[0], form.emit(emitter, selected, None), anchor=node)
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
    engine, rng = get("onnxruntime"), np.random.default_rng(1)
    for channels, size in _LAYERS:
        model = _dense(channels, size)
        images = rng.normal(size=(1, channels, size, size)).astype(np.float32)
        dense, gathered = (engine.prepare(m, threads=1) for m in (model, _gathered(model)))
        runners = {"dense": dense.runner({"x": images})}
        for share in _SHARES:
            masks = {name: _kept(rng, channels, share) for name in ("outs", "ins")}
            runners[f"{share:.0%}"] = gathered.runner({"x": images, **masks})
        times = interleave(runners, budget_s=given.seconds, clock=time.process_time_ns)
        found = {key: ratio(times["dense"], time) for key, time in times.items() if key != "dense"}
        shown = ", ".join(
            f"{k} {r.value:.2f} ({r.low:.2f} to {r.high:.2f})" for k, r in found.items()
        )
        print(f"{channels}@{size}: dense {times['dense'].median_ms:.3f} ms; {shown}", flush=True)


if __name__ == "__main__":
    main()
