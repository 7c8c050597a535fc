"""What the nodes of a quantised network say of themselves: grids of codes, windows of pools."""

import numpy as np
import onnx_ir as ir

from mlcnn.errors import UnsupportedError
from mlcnn.graph import constant, layer_name, windows_of
from mlcnn.rtl.host import PoolWindows
from mlcnn.rtl.network import CodeGrid

__all__ = ["axis_of", "code_grid", "pool_windows", "whole_image"]


def code_grid(node: ir.Node) -> CodeGrid:
    """What the codes that a node gives, or reads, stand for."""
    scale, zero = (constant(value) for value in [*node.inputs, None][1:3])
    if scale is None or scale.size != 1 or (zero is not None and zero.size != 1):
        raise UnsupportedError(
            f"{layer_name(node)}: {node.op_type} with a scale for each channel, or a computed "
            "one; activations need one constant scale and one zero point"
        )
    low, high = (0, 255)
    if zero is not None and zero.dtype != np.uint8:
        if zero.dtype != np.int8:
            raise UnsupportedError(
                f"{layer_name(node)}: codes of {zero.dtype}; the hardware takes int8 and uint8"
            )
        low, high = -128, 127
    return CodeGrid(float(scale.reshape(())), 0 if zero is None else int(zero.item()), low, high)


def pool_windows(node: ir.Node, shape: tuple[int, ...]) -> PoolWindows:
    """The windows of a pool over images of a shape (C, H, W)."""
    if len(shape) != 3:
        raise UnsupportedError(
            f"{layer_name(node)}: a pool of {len(shape) - 1} dimensions; the host runs those of two"
        )
    if node.op_type.startswith("Global"):
        return whole_image(shape)
    rows, columns = shape[1:]
    windows = windows_of(node)
    before, after = windows.pads((rows, columns))
    parts = (windows.kernel, windows.strides, windows.dilations, before, after)
    counts = windows.counts((rows, columns))
    return PoolWindows(*((each[0], each[1]) for each in (*parts, counts)))


def whole_image(shape: tuple[int, ...]) -> PoolWindows:
    """One window over all positions."""
    return PoolWindows((shape[1], shape[2]), (1, 1), (1, 1), (0, 0), (0, 0), (1, 1))


def axis_of(node: ir.Node, default: int) -> int:
    """The axis that a node works on."""
    found = node.attributes.get("axis")
    return default if found is None else found.as_int()
