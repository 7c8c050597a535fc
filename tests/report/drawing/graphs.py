"""Small networks written as text."""

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from mlcnn import graph

SHAPES = {"w": (4, 3, 3, 3), "v": (4, 4, 3, 3), "u": (4, 4, 3, 3), "p": (4, 4, 1, 1)}


def network(body: str, known: str = "", *, seed: int = 0, **values: float) -> ir.Model:
    """A network from ``x`` (N, 3, 8, 8) to ``y``.

    Args:
        body: its nodes, a line each, as ``[name] c = Conv <pads = [1, 1, 1, 1]> (x, w)``.
        known: sizes of which nothing is inferred, as ``m=4 y=2``: m is (N, 4, 4, 4).
        seed: of the weights, see ``SHAPES``.
        values: what to add to a weight, by its name.
    """
    sizes = dict(part.split("=") for part in known.split())
    last = sizes.pop("y", "")
    notes = ", ".join(f"float[N,4,{side},{side}] {name}" for name, side in sizes.items())
    text = f"g (float[N,3,8,8] x) => (float[N,M,H,W] y) <{notes}> {{\n{body}\n}}"
    generator = np.random.default_rng(seed)
    parsed = onnx.parser.parse_graph(text)
    arrays = {n: generator.standard_normal(s).astype(np.float32) for n, s in SHAPES.items()}
    read = {name for node in parsed.node for name in node.input}
    parsed.initializer.extend(
        numpy_helper.from_array(array + np.float32(values.get(name, 0.0)), name)
        for name, array in arrays.items()
        if name in read
    )
    opset = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("mlcnn", 1)]
    model = ir.from_proto(onnx.helper.make_model(parsed, opset_imports=opset, ir_version=10))
    if last:
        model.graph.outputs[0].shape = ir.Shape(("N", 4, int(last), int(last)))
    graph.infer_shapes(model)
    return model


CONV = "<pads = [1, 1, 1, 1]>"
POOL = "<kernel_shape = [2, 2], strides = [2, 2]>"
CHAIN = f"""
[first] c = Conv {CONV} (x, w)
[relu] r = Relu (c)
[pool] q = MaxPool {POOL} (r)
[second] d = Conv {CONV} (q, v)
[tail] y = Relu (d)
"""
BRANCHES = f"""
[first] c = Conv {CONV} (x, w)
[left] a = Conv {CONV} (c, v)
[right] b = Conv {CONV} (c, u)
[sum] s = Add (a, b)
[pool] y = AveragePool {POOL} (s)
"""
