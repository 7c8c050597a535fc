"""Quantised networks in ONNX Runtime, and what becomes of one site of them."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from benchmarks.quantising import images, quantised
from mlcnn.graph import extract, inline, to_proto
from mlcnn.passes import Change

__all__ = ["images", "one_step", "quantised", "run", "site_results"]


def run(model: ir.Model, feeds: dict[str, np.ndarray], *inner: str) -> dict[str, np.ndarray]:
    """Values of a network in ONNX Runtime, as it is: inner ones are outputs beside the others."""
    proto = to_proto(inline(model))
    known = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner if name not in known)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def site_results(
    before: ir.Model, after: ir.Model, change: Change, values: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The rounded output of one site in both networks, for the same input."""
    pooled = next(v for n in before.graph for v in n.outputs if v.name == change.outputs[0])
    codes = pooled.consumers()[0].outputs[0]
    output = codes.consumers()[0].outputs[0].name
    feeds = {name: values[name] for name in change.inputs}
    found = [run(extract(m, change.inputs, [output]), feeds)[output] for m in (before, after)]
    return found[0], found[1]


def one_step(before: ir.Model, change: Change) -> float:
    """A step of the coarser one of the two quantisers of a site: the convolution's and the pool's.

    Rounded by the one, averaged and rounded by the other, against rounded by the other alone: half
    a step of the one, and what that makes of a rounding.
    """
    pool = next(n for n in before.graph if n.outputs[0].name == change.outputs[0])
    pairs = (pool.inputs[0].producer(), pool.outputs[0].consumers()[0])
    return max(float(node.inputs[1].const_value.numpy()) for node in pairs)
