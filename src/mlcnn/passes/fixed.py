"""What a pointwise operator makes of channels that are one number each."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from mlcnn.errors import MlcnnError
from mlcnn.graph import constant, evaluate

__all__ = ["pointwise_numbers"]

Floats = NDArray[np.float64]


def pointwise_numbers(
    model: ir.Model, node: ir.Node, operands: Sequence[Floats | None], channels: int
) -> Floats:
    """The number of each channel behind a node, NaN where it varies.

    Args:
        model: the network, for its opset.
        node: a pointwise operator.
        operands: what is known of each input: shape (channels,) or (1,), NaN where it varies; None
            for a constant or a missing one.
        channels: of the result.
    """
    known = [np.broadcast_to(array, channels) for array in operands if array is not None]
    varies = np.isnan(np.array(known).reshape(-1, channels)).any(0)
    zeroed = np.zeros(channels, bool)
    if node.op_type == "Mul":
        zeroed = np.array([array == 0 for array in known]).reshape(-1, channels).any(0)
        zeroed |= _zero_factor(node, channels)
    result = np.full(channels, np.nan)
    if not varies.all():
        found = _computed(model, node, operands)
        # A constant that differs from pixel to pixel leaves no channel one number.
        if found is not None and found.size == channels:
            result = np.where(varies, np.nan, found.reshape(-1))
    return np.where(zeroed, 0.0, result)


def _zero_factor(node: ir.Node, channels: int) -> NDArray[np.bool_]:
    """Where a constant factor is zero for a whole channel."""
    for value in node.inputs:
        stored = constant(value)
        rank = 0 if node.outputs[0].shape is None else node.outputs[0].shape.rank()
        if stored is None or not rank or stored.ndim > rank:
            continue
        wide = stored.reshape((1,) * (rank - stored.ndim) + stored.shape)
        if wide.shape[0] == 1:
            zero = ~np.moveaxis(wide, 1, 0).reshape(wide.shape[1], -1).any(1)
            return np.broadcast_to(zero, channels)
    return np.zeros(channels, bool)


def _computed(model: ir.Model, node: ir.Node, operands: Sequence[Floats | None]) -> Floats | None:
    """What the node gives for an image of one pixel; None where it cannot be run by itself."""
    shape = node.outputs[0].shape
    if shape is None:
        return None
    inputs: list[ir.Value | None] = []
    fed: dict[str, torch.Tensor] = {}
    stored: list[ir.Value] = []
    for index, (value, numbers) in enumerate(zip(node.inputs, operands, strict=True)):
        copy = None if value is None else ir.Value(name=f"input{index}")
        inputs.append(copy)
        if copy is None:
            continue
        if numbers is None:
            array = constant(value)
            if array is None:
                return None
            copy.const_value = ir.Tensor(np.array(array), name=copy.name)
            stored.append(copy)
        else:
            pixel = np.nan_to_num(numbers).reshape(1, -1, *[1] * (shape.rank() - 2))
            copy.type, copy.shape = ir.TensorType(ir.DataType.DOUBLE), ir.Shape(pixel.shape)
            fed[copy.name or ""] = torch.from_numpy(np.array(pixel))
    single = ir.Node("", node.op_type, inputs, list(node.attributes.values()))
    single.outputs[0].name = "output"
    graph = ir.Graph(
        [value for value in inputs if value is not None and value.name in fed],
        single.outputs, nodes=[single], initializers=stored, name="one pixel",
        opset_imports=model.graph.opset_imports,
    )  # fmt: skip
    try:
        found = evaluate(ir.Model(graph, ir_version=model.ir_version), fed)["output"]
    except MlcnnError:
        return None
    return found.numpy().astype(np.float64)
