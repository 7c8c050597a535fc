"""Quantised networks put together node by node, and those that are refused."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from mlcnn.graph import from_proto

__all__ = ["BAD", "Quantised", "summed"]


class Quantised:
    """A network put together node by node, with quantisers around its layers.

    Attributes:
        nodes: so far.
        arrays: constants by name.
    """

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        self.nodes, self.arrays = [], {}
        self._sizes = (channels, *size)

    def constant(self, array: object) -> str:
        name = f"c{len(self.arrays)}"
        self.arrays[name] = np.asarray(array)
        return name

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, inputs, [name], name=f"{kind}-{name}", **attributes)
        )
        return name

    def rounded(self, value: str, step: float, zero: int, dtype: type = np.uint8) -> str:
        scale, point = self.constant(np.float32(step)), self.constant(np.array(zero, dtype))
        codes = self.op("QuantizeLinear", value, scale, point)
        return self.op("DequantizeLinear", codes, scale, point)

    def weight(self, codes: np.ndarray, steps: np.ndarray, axis: int = 0) -> str:
        parts = codes, steps, np.zeros(steps.shape, codes.dtype)
        return self.op("DequantizeLinear", *map(self.constant, parts), axis=axis)

    def model(self, *results: str) -> ir.Model:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *self._sizes])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results],
            [numpy_helper.from_array(array, name) for name, array in self.arrays.items()],
        )
        imports = [helper.make_opsetid("", 21)]  # the first one with codes of 4 bits
        return from_proto(helper.make_model(graph, opset_imports=imports, ir_version=10))


def layer(
    scale: object = 0.1, zero: object = None, weight: np.ndarray | None = None,
    weight_zero: np.ndarray | None = None, *, channels: int = 4,
) -> ir.Model:  # fmt: skip
    """A quantised convolution of which one part is given."""
    net = Quantised(channels, (3, 3))
    point = np.uint8(3) if zero is None else zero
    step, point = net.constant(np.asarray(scale, np.float32)), net.constant(point)
    source = net.op("DequantizeLinear", net.op("QuantizeLinear", "x", step, point), step, point)
    codes = np.ones((2, channels, 1, 1), np.int8) if weight is None else weight
    steps = net.constant(np.full(2, 0.1, np.float32))
    zeros = net.constant(np.zeros(2, codes.dtype) if weight_zero is None else weight_zero)
    given = net.op("DequantizeLinear", net.constant(codes), steps, zeros, axis=0)
    return net.model(net.rounded(net.op("Conv", source, given), 0.1, 3))


def calculated() -> ir.Model:
    net = Quantised(4, (3, 3))
    step = net.op("GlobalMaxPool", "x")
    point = net.constant(np.uint8(0))
    return net.model(
        net.op("DequantizeLinear", net.op("QuantizeLinear", "x", step, point), step, point)
    )


def summed(channels: int) -> ir.Model:
    """Sums of four codes, as a fused average pool leaves them, that a 3x3 convolution reads."""
    net = Quantised(channels, (6, 6))
    pooled = net.op("AveragePool", net.rounded("x", 0.1, 0), kernel_shape=[2, 2])
    weight = net.weight(np.full((1, channels, 3, 3), 127, np.int8), np.full(1, 0.1, np.float32))
    return net.model(net.rounded(net.op("Conv", pooled, weight, strides=[2, 2]), 9, 3))


BAD: dict[str, tuple[Callable[[], ir.Model], str]] = {
    "32 bits": (
        lambda: layer(0.1, np.int32(0)), "activations in int32 codes; 16 bits at most are supported"
    ),
    "float zero point": (
        lambda: layer(0.1, np.float32(0.5)),
        "its codes, or zero points, are float32; whole numbers are supported; write odd codes",
    ),
    "float zero point of weights": (
        lambda: layer(weight_zero=np.full(2, 0.5, np.float32)),
        "its codes, or zero points, are float32; whole numbers are supported; write odd codes",
    ),
    "zero": (lambda: layer(0.0), "its scale is 0.0; finite scales above 0 are required; quantise"),
    "infinite": (lambda: layer(np.inf), "its scale is inf; finite scales above 0 are required"),
    "NaN": (lambda: layer(np.nan), "its scale is nan; finite scales above 0 are required"),
    "computed": (calculated, "its scale is not constant; quantise statically"),
    "overflow": (
        lambda: layer(weight=np.full((2, 70000, 1, 1), 127, np.int8), channels=70000),
        "sums of 70000 products may pass 32 bits; use engine 'onnxruntime', or exclude",
    ),
    "overflow of fused sums": (
        lambda: summed(1842),
        "sums of 16578 products may pass 32 bits; use engine 'onnxruntime', or exclude",
    ),
}  # fmt: skip
