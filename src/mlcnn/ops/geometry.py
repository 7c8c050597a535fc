"""Reading convolutions and pools from nodes: one place where attributes become geometry."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from mlcnn.graph import (
    Windows,
    code_bits,
    constant,
    conv_outputs,
    is_constant,
    layer_name,
    stored_values,
    tensor_bytes,
    windows_of,
)
from mlcnn.ops.emitter import Emitter
from mlcnn.workload import DENSE, Arithmetic, ConvLayer, Pool, Weights, density_of

__all__ = [
    "POOL_OPERATORS",
    "Convolution",
    "Pooling",
    "average_pool_node",
    "is_spatial_mean",
    "read_convolution",
    "read_pooling",
    "spatial_size",
]

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
Size = tuple[int | None, int | None]
Inner = Callable[[Emitter, "Convolution", ir.Value, Pair, Pads], ir.Value]

POOL_OPERATORS = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean", "MaxPool"})


@dataclass(frozen=True, slots=True)
class Convolution:
    """A 2-D convolution node with a constant weight.

    Attributes:
        node: the node.
        weight: the weight, shape (filters, channels / groups, R, S).
        bias: the bias, shape (filters,), or None.
        size: (height, width) of the input; None where dynamic.
        weights: the structure of the weights.
        bits: of the codes that the weights are dequantised from; None where they are floats.
        emitter: emits the layer with another input, strides and pads, for weights that have a
            structure; None for a dense convolution.
        arithmetic: how weight and input meet.
    """

    node: ir.Node
    weight: ir.Value
    bias: ir.Value | None
    filters: int
    channels: int
    kernel: Pair
    strides: Pair
    dilations: Pair
    pads: Pads
    groups: int
    size: Size
    weights: Weights = DENSE
    bits: int | None = None
    emitter: Inner | None = None
    arithmetic: Arithmetic = Arithmetic.MULTIPLY

    @property
    def name(self) -> str:
        """The layer's name."""
        return layer_name(self.node)

    def output_size(self, axis: int) -> int | None:
        """Output height (axis 0) or width (axis 1); None where dynamic."""
        size = self.size[axis]
        if size is None:
            return None
        extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        before, after = self.pads[axis], self.pads[axis + 2]
        return conv_outputs(size, extent, self.strides[axis], before, after)

    def emit(self, emitter: Emitter, source: ir.Value, strides: Pair, pads: Pads) -> ir.Value:
        """The layer by itself, through its own form, on another input.

        Args:
            emitter: what builds the nodes.
            source: the input, shape (N, C, height, width).
            strides: (height, width).
            pads: (top, left, bottom, right).
        """
        if self.emitter is not None:
            return self.emitter(emitter, self, source, strides, pads)
        return emitter.op(
            "Conv",
            [source, self.weight, self.bias],
            strides=strides,
            pads=pads,
            dilations=self.dilations,
            group=self.groups,
        )

    @property
    def rigid(self) -> str | None:
        """Why no other weights can be computed from its own; None if they can."""
        if self.weights != DENSE:
            return f"the weights are {self.weights}: this form needs every one by itself"
        if self.bits is not None:
            return (
                f"the weights are {self.bits}-bit codes: this form needs sums of them, which take "
                "more bits"
            )
        return None

    @property
    def nonlinear(self) -> str | None:
        """Why means of its inputs do not give means of its outputs; None where they do."""
        if self.arithmetic is Arithmetic.COMPARE:
            return "it compares its inputs: means of them would compare otherwise"
        return None

    @property
    def parameters(self) -> int:
        """Numbers that the node keeps, biases included."""
        shapes = (value.shape for value in self._kept)
        return sum(math.prod(shape.numpy()) for shape in shapes if shape is not None)

    @property
    def weight_bytes(self) -> int:
        """Bytes of them."""
        return sum(tensor_bytes(v.const_value) for v in self._kept if v.const_value is not None)

    @property
    def density(self) -> float:
        """Share of the numbers of the largest of them that are not zero."""
        sizes = {v: math.prod(v.shape.numpy()) for v in self._kept if v.shape is not None}
        return density_of(max(sizes, key=lambda value: sizes[value], default=None))

    @property
    def _kept(self) -> list[ir.Value]:
        given = [v for v in self.node.inputs[1:] if v is None or v.dtype != ir.DataType.INT64]
        values = [kept for value in given for kept in stored_values(value)]
        return [v for v in values if v.shape is not None and v.shape.is_static()]

    @property
    def nest(self) -> ConvLayer:
        """The loop nest; batch, and height and width where they are dynamic, are 1."""
        return ConvLayer(
            name=self.name,
            N=1,
            K=self.filters,
            C=self.channels,
            H=self.size[0] or 1,
            W=self.size[1] or 1,
            R=self.kernel[0],
            S=self.kernel[1],
            G=self.groups,
            strides=self.strides,
            dilations=self.dilations,
            pads=self.pads,
        )

    def layer(self, pool: Pool | None) -> ConvLayer | None:
        """The loop nest at batch 1; None where height or width are dynamic."""
        return None if None in self.size else replace(self.nest, pool=pool)


@dataclass(frozen=True, slots=True)
class Pooling:
    """A pool over height and width.

    Attributes:
        node: the node.
        pool: its geometry; None for a global pool over dynamic sizes.
        is_global: one window covers the whole input.
        keepdims: whether height and width stay as dimensions of size 1.
        size: (height, width) of the input; None where dynamic.
    """

    node: ir.Node
    pool: Pool | None
    is_global: bool
    keepdims: bool
    size: Size

    @property
    def counts_padding(self) -> bool:
        """Whether zeros around the input weigh in the average (then shifts do not commute)."""
        pool = self.pool
        if pool is None or not pool.count_include_pad or not any(pool.pads):
            return False
        if None in self.size:
            return True
        return any(
            window.padded != window.length
            for axis in (0, 1)
            for window in pool.windows(self.size[axis] or 0, axis)
        )


def spatial_size(value: ir.Value) -> Size | None:
    """(height, width) of an (N, C, H, W) value, None for a dynamic one; None if not 4-D."""
    shape = value.shape
    if shape is None or len(shape) != 4:
        return None
    height, width = (dim if isinstance(dim, int) else None for dim in (shape[2], shape[3]))
    return height, width


def _ints(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    attribute = node.attributes.get(name)
    return default if attribute is None else tuple(attribute.as_ints())


def _pair(values: tuple[int, ...]) -> Pair:
    return values[0], values[1]


def _pads(windows: Windows, size: Size) -> Pads | str:
    if windows.same and None in size:
        return f"auto_pad {windows.auto_pad} with dynamic height or width"
    (top, left), (bottom, right) = windows.pads((size[0] or 0, size[1] or 0))
    return top, left, bottom, right


def read_convolution(node: ir.Node, *, at: int = 1) -> Convolution | str:
    """The geometry of a Conv node, or the reason why it is not a 2-D one that can be fused.

    Args:
        node: the node, or one of an operator with the same attributes.
        at: which input is the weight; the bias is the next one.
    """
    weight = node.inputs[at]
    if node.inputs[0] is None or weight is None or weight.shape is None:
        return "the convolution's shapes are unknown"
    size = spatial_size(node.inputs[0])
    if len(weight.shape) != 4 or size is None:
        return f"a convolution over {len(weight.shape) - 2} dimensions: only 2-D ones are fused"
    if not is_constant(weight):
        return "the weight is not a constant"
    bias = node.inputs[at + 1] if len(node.inputs) > at + 1 else None
    if bias is not None and not is_constant(bias):
        return "the bias is not a constant"
    filters, per_group, r, s = (int(dim) for dim in weight.shape)  # pyright: ignore[reportArgumentType]
    groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
    windows = windows_of(node, (r, s))
    pads = _pads(windows, size)
    if isinstance(pads, str):
        return pads
    if min(pads) < 0:
        return "negative padding"
    return Convolution(
        node=node,
        weight=weight,
        bias=bias,
        filters=filters,
        channels=per_group * groups,
        kernel=(r, s),
        strides=_pair(windows.strides),
        dilations=_pair(windows.dilations),
        pads=pads,
        groups=groups,
        size=size,
        bits=code_bits(weight),
    )


def _global_pool(node: ir.Node, size: Size, *, keepdims: bool) -> Pooling:
    height, width = size
    pool = None
    if height is not None and width is not None:
        pool = Pool(kernel=(height, width), strides=(1, 1))
    return Pooling(node, pool, is_global=True, keepdims=keepdims, size=size)


def is_spatial_mean(node: ir.Node) -> bool:
    """Whether a ReduceMean is over height and width of an (N, C, H, W) value alone."""
    axes: tuple[int, ...] | None = None
    if "axes" in node.attributes:
        axes = _ints(node, "axes", ())
    elif len(node.inputs) > 1:
        values = constant(node.inputs[1])
        axes = None if values is None else tuple(int(axis) for axis in np.ravel(values))
    return axes is not None and sorted(axis % 4 for axis in axes) == [2, 3]


def _read_mean(node: ir.Node, size: Size) -> Pooling | str:
    if not is_spatial_mean(node):
        return "the mean is not over height and width alone"
    keepdims = node.attributes.get("keepdims")
    return _global_pool(node, size, keepdims=keepdims is None or bool(keepdims.as_int()))


def read_pooling(node: ir.Node) -> Pooling | str:
    """The geometry of an average or max pool node, or the reason why it is not a 2-D one."""
    value = node.inputs[0]
    size = None if value is None else spatial_size(value)
    if size is None:
        return "the pool's input is not a 4-D tensor of known rank"
    if node.op_type == "GlobalAveragePool":
        return _global_pool(node, size, keepdims=True)
    if node.op_type == "ReduceMean":
        return _read_mean(node, size)
    windows = windows_of(node)
    if windows.dilations != (1, 1):
        return "the pool is dilated"
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return "the pool's indices are used"
    pads, kernel = _pads(windows, size), _pair(windows.kernel)
    if isinstance(pads, str):
        return pads
    if min(pads) < 0:
        return "the pool leaves out the first positions of its input (auto_pad, strides that leap)"
    included = node.attributes.get("count_include_pad")
    pool = Pool(
        kernel,
        _pair(windows.strides),
        pads,
        windows.ceil_mode,
        count_include_pad=included is not None and bool(included.as_int()),
    )
    if None not in size and 0 in (
        pool.output_size(size[0] or 0, 0),
        pool.output_size(size[1] or 0, 1),
    ):
        return "the pool's window is larger than its input"
    is_global = not any(pads) and None not in size and kernel == size
    return Pooling(node, pool, is_global=is_global, keepdims=True, size=size)


def average_pool_node(pooling: Pooling, value: ir.Value) -> ir.Node:
    """A new average pool of ``pooling``'s geometry over ``value``, height and width kept."""
    if pooling.pool is None or (pooling.is_global and pooling.node.op_type != "AveragePool"):
        return ir.node("GlobalAveragePool", [value])
    pool = pooling.pool
    attributes: dict[str, tuple[int, ...] | int] = {
        "kernel_shape": pool.kernel,
        "strides": pool.strides,
    }
    if any(pool.pads):
        attributes["pads"] = pool.pads
    attributes |= {name: 1 for name in ("ceil_mode", "count_include_pad") if getattr(pool, name)}
    return ir.node("AveragePool", [value], attributes=attributes)
