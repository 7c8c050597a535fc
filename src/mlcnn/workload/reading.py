"""The convolutions and dense layers of a network as loop nests."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import infer_shapes, inline, layer_name
from mlcnn.workload.layer import ConvLayer
from mlcnn.workload.sizes import InputShape, images, with_sizes

__all__ = ["Uncounted", "Workload", "layers", "read"]

# A weight behind these is still a weight: quantised, cast or laid out in another order.
_WEIGHT_OPERATORS = frozenset({"DequantizeLinear", "Cast", "Transpose", "Identity"})
_STANDARD = frozenset({"", "ai.onnx"})
# Operators that multiply, or may, and are no loop nest here; products of two inputs beside them.
_OTHERS = frozenset(
    {"Attention", "ConvInteger", "ConvTranspose", "DeformConv", "Einsum", "GRU", "If", "LSTM"}
    | {"Loop", "MatMulInteger", "QLinearConv", "QLinearMatMul", "RNN", "Scan"}
)


@dataclass(frozen=True, slots=True)
class Uncounted:
    """An operator that multiplies, or may, and is not among the layers.

    Attributes:
        name: the layer's name.
        operator: what it is, as ``ConvTranspose``; with its domain where that is not ONNX's.
    """

    name: str
    operator: str


@dataclass(frozen=True, slots=True)
class Workload:
    """What a network computes for a number of images.

    Attributes:
        layers: every convolution and dense layer of the main graph, in order.
        operators: what each is: ``Conv``, ``Gemm`` or ``MatMul``.
        images: how many.
        uncounted: what multiplies beside them.
    """

    layers: tuple[ConvLayer, ...]
    operators: tuple[str, ...]
    images: int
    uncounted: tuple[Uncounted, ...]

    def match(self, fused: Iterable[ConvLayer]) -> tuple[int | None, ...]:
        """Which of the fused layers each layer is; None for one that is not fused.

        Args:
            fused: layers with their pools, as the changes of ``fuse`` have them, in any order and
                for any batch.

        Raises:
            InputError: one is none of the layers.
        """
        pending = dict(enumerate(fused))
        found: list[int | None] = []
        for layer in self.layers:
            same = (i for i, one in pending.items() if replace(one, pool=None, N=layer.N) == layer)
            index = next(same, None)
            found.append(index)
            if index is not None:
                del pending[index]
        if pending:
            missing = replace(next(iter(pending.values())), pool=None)
            raise InputError(
                f"fused layer {missing.name} is none of the network's {len(self.layers)} layers "
                f"(sought {missing}): give the network that the passes were applied to"
            )
        return tuple(found)


def layers(
    model: ir.Model, *, batch: int = 1, input_shape: InputShape | None = None
) -> tuple[ConvLayer, ...]:
    """The layers of ``read``."""
    return read(model, batch=batch, input_shape=input_shape).layers


def read(model: ir.Model, *, batch: int = 1, input_shape: InputShape | None = None) -> Workload:
    """Every convolution and dense layer of a network's main graph, in order.

    A ``Gemm`` or ``MatMul`` with a constant weight is a 1x1 convolution over as many positions
    as it multiplies rows; a one-dimensional convolution has height 1. Functions are looked into;
    bodies of ``If`` and ``Loop`` are not: how often they run is not known.

    Args:
        model: the network, shapes inferred.
        batch: images, where the network's batch is dynamic; a static batch stays as it is.
        input_shape: sizes for dynamic heights and widths, batch included: one shape, or one by
            name of input.

    Raises:
        InputError: ``input_shape`` does not fit the network.
        UnsupportedError: a layer's sizes are not known, or it is not one- or two-dimensional.
    """
    if model.functions:
        model = inline(model, foreign=True)
        infer_shapes(model)
    sized = with_sizes(model, batch=batch, input_shape=input_shape)
    found: list[ConvLayer] = []
    operators: list[str] = []
    uncounted: list[Uncounted] = []
    for node in sized.graph:
        layer = _read(node) if node.domain in _STANDARD else None
        if layer is not None:
            found.append(layer)
            operators.append(node.op_type)
        elif (operator := _other(node)) is not None:
            uncounted.append(Uncounted(layer_name(node), operator))
    return Workload(tuple(found), tuple(operators), images(model, sized), tuple(uncounted))


def _other(node: ir.Node) -> str | None:
    if node.domain not in _STANDARD:
        return f"{node.domain}.{node.op_type}"
    return node.op_type if node.op_type in _OTHERS | {"Gemm", "MatMul"} else None


def _read(node: ir.Node) -> ConvLayer | None:
    match node.op_type:
        case "Conv":
            return _convolution(node)
        case "Gemm" if _is_weight(node.inputs[1]):
            return _gemm(node)
        case "MatMul":
            return _matmul(node)
        case _:
            return None


def _is_weight(value: ir.Value | None) -> bool:
    if value is None:
        return False
    if value.const_value is not None or value.is_initializer():
        return True
    node = value.producer()
    if node is None:
        return False
    if node.op_type == "Constant":
        return True
    return node.op_type in _WEIGHT_OPERATORS and _is_weight(node.inputs[0])


def _shape(node: ir.Node, index: int, what: str) -> tuple[int, ...]:
    value = node.inputs[index]
    shape = None if value is None else value.shape
    dims = None if shape is None else shape.dims
    if dims is None and value is not None and value.const_value is not None:
        dims = tuple(value.const_value.shape)
    sizes = tuple(dim for dim in dims or () if isinstance(dim, int))
    if dims is None or len(sizes) != len(dims) or min(sizes, default=1) < 1:
        shown = "unknown" if dims is None else f"({', '.join(str(dim) for dim in dims)})"
        if 0 in sizes:
            raise UnsupportedError(
                f"{layer_name(node)} ({node.op_type}): the shape of its {what} is {shown}: with a "
                "size of 0 there is nothing to count; export the network for one image or more, or "
                "with a dynamic batch"
            )
        raise UnsupportedError(
            f"{layer_name(node)} ({node.op_type}): the shape of its {what} is {shown} and its "
            "operations cannot be counted; give the network's input a shape in numbers, height "
            "and width included (input_shape, on the command line --input-shape 1x3x224x224)"
        )
    return sizes


def _integers(node: ir.Node, name: str, default: Sequence[int]) -> tuple[int, ...]:
    attribute = node.attributes.get(name)
    return tuple(default) if attribute is None else tuple(attribute.as_ints())


def _convolution(node: ir.Node) -> ConvLayer:
    shape, weight = _shape(node, 0, "input"), _shape(node, 1, "weight")
    rank = len(shape) - 2
    if rank not in {1, 2} or len(weight) != len(shape):
        raise UnsupportedError(
            f"{layer_name(node)} (Conv): a convolution over {rank} dimensions cannot be counted, "
            f"only over 1 or 2 (its input is {shape}, its weight {weight}): give the part of the "
            "network without it"
        )
    kernel, sizes = weight[2:], shape[2:]
    strides = _integers(node, "strides", (1,) * rank)
    dilations = _integers(node, "dilations", (1,) * rank)
    pads = _pads(node, sizes, kernel, strides, dilations)
    group = node.attributes.get("group")
    flat = rank == 1
    return ConvLayer(
        name=layer_name(node),
        N=shape[0],
        K=weight[0],
        C=shape[1],
        H=1 if flat else sizes[0],
        W=sizes[-1],
        R=1 if flat else kernel[0],
        S=kernel[-1],
        G=1 if group is None else group.as_int(),
        strides=(1 if flat else strides[0], strides[-1]),
        dilations=(1 if flat else dilations[0], dilations[-1]),
        pads=(0, pads[0], 0, pads[1]) if flat else (pads[0], pads[1], pads[2], pads[3]),
    )


def _pads(
    node: ir.Node,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[int, ...]:
    """Pads in ONNX order: all beginnings, then all ends."""
    attribute = node.attributes.get("auto_pad")
    mode = "NOTSET" if attribute is None else attribute.as_string()
    if mode == "NOTSET":
        return _integers(node, "pads", (0,) * (2 * len(sizes)))
    if mode == "VALID":
        return (0,) * (2 * len(sizes))
    less: list[int] = []
    more: list[int] = []
    for size, taps, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + (taps - 1) * dilation + 1 - size, 0)
        less.append(total // 2)
        more.append(total - total // 2)
    return (*less, *more) if mode == "SAME_UPPER" else (*more, *less)


def _gemm(node: ir.Node) -> ConvLayer:
    rows, columns = _shape(node, 0, "input"), _shape(node, 1, "weight")
    transposed = [_flag(node, name) for name in ("transA", "transB")]
    if transposed[0]:
        rows = rows[::-1]
    if transposed[1]:
        columns = columns[::-1]
    return ConvLayer(layer_name(node), N=rows[0], K=columns[1], C=columns[0], H=1, W=1, R=1, S=1)


def _flag(node: ir.Node, name: str) -> bool:
    attribute = node.attributes.get(name)
    return attribute is not None and bool(attribute.as_int())


def _matmul(node: ir.Node) -> ConvLayer | None:
    """(..., C) x (C, K), or a weight (K, C) from the left; None if neither side is a weight."""
    right = _is_weight(node.inputs[1])
    if not right and not _is_weight(node.inputs[0]):
        return None
    weight = _shape(node, 1 if right else 0, "weight")
    if len(weight) != 2:
        return None
    inputs, outputs = weight if right else weight[::-1]
    shape = _shape(node, 0 if right else 1, "input")
    leading = shape[:-1] if right else shape[:-2]
    batch = leading[0] if leading else 1
    positions = math.prod(shape) // inputs // batch
    return ConvLayer(layer_name(node), N=batch, K=outputs, C=inputs, H=positions, W=1, R=1, S=1)
