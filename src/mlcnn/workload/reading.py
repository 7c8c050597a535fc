"""The convolutions and dense layers of a network as loop nests."""

import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import infer_shapes, inline, layer_name, same_pads
from mlcnn.workload.layer import ConvAxis, ConvLayer
from mlcnn.workload.sizes import InputShape, images, with_sizes

__all__ = ["Uncounted", "Workload", "layers", "read"]

# What gives other values each time, or runs a body that may read any value.
_VARYING = frozenset(
    {"Bernoulli", "Dropout", "If", "Loop", "Multinomial", "RandomNormal", "RandomNormalLike"}
    | {"RandomUniform", "RandomUniformLike", "Scan", "SequenceMap"}
)
_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
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
    as it multiplies rows; a 1-D convolution has height 1, a 3-D one a depth. Functions are looked into;
    bodies of ``If`` and ``Loop`` are not: how often they run is not known.

    Args:
        model: the network, shapes inferred.
        batch: images, where the network's batch is dynamic; a static batch stays as it is.
        input_shape: sizes for dynamic heights and widths, batch included: one shape, or one by
            name of input.

    Raises:
        InputError: ``input_shape`` does not fit the network.
        UnsupportedError: a layer's sizes are not known.
    """
    if model.functions:
        model = inline(model, foreign=True)
        infer_shapes(model)
    sized = with_sizes(model, batch=batch, input_shape=input_shape)
    found: list[ConvLayer] = []
    operators: list[str] = []
    uncounted: list[Uncounted] = []
    weights = _weights(sized.graph)
    for node in sized.graph:
        layer = _read(node, weights) if node.domain in _STANDARD else None
        if layer is not None:
            found.append(layer)
            operators.append(node.op_type)
        elif (operator := _other(node)) is not None:
            uncounted.append(Uncounted(layer_name(node), operator))
    return Workload(tuple(found), tuple(operators), images(model, sized), tuple(uncounted))


def _other(node: ir.Node) -> str | None:
    if node.domain not in _STANDARD:
        return f"{node.domain}.{node.op_type}"
    return node.op_type if node.op_type in _OTHERS | _LAYERS else None


def _read(node: ir.Node, weights: Container[ir.Value | None]) -> ConvLayer | None:
    match node.op_type:
        case "Conv":
            return _convolution(node)
        case "Gemm" if node.inputs[1] in weights:
            return _gemm(node, from_left=False)
        case "Gemm" if node.inputs[0] in weights:
            return _gemm(node, from_left=True)
        case "MatMul" if node.inputs[1] in weights:
            return _matmul(node, from_left=False)
        case "MatMul" if node.inputs[0] in weights:
            return _matmul(node, from_left=True)
        case _:
            return None


def _weights(graph: ir.Graph) -> frozenset[ir.Value]:
    """All constant values: what is computed from constants alone is one, whatever its size.

    Large ones stay computed: quantised, expanded, generated or laid out in another order.
    """
    found = set(graph.initializers.values())
    for node in graph:
        sources = [value for value in node.inputs if value is not None]
        varies = node.op_type in _VARYING or (node.domain not in _STANDARD and not sources)
        if not varies and all(v in found or v.const_value is not None for v in sources):
            found.update(node.outputs)
    return frozenset(found)


def _shape(node: ir.Node, index: int, what: str) -> tuple[int, ...]:
    value = node.inputs[index]
    shape = None if value is None else value.shape
    dims = None if shape is None else shape.dims
    if dims is None and value is not None and value.const_value is not None:
        dims = tuple(value.const_value.shape)
    sizes = tuple(dim for dim in dims or () if isinstance(dim, int))
    if dims is None or len(sizes) != len(dims) or min(sizes, default=1) < 1:
        shown = "unknown" if dims is None else f"({', '.join(str(dim) for dim in dims)})"
        raise UnsupportedError(
            f"{layer_name(node)} ({node.op_type}): the shape of its {what} is {shown} and its "
            "operations cannot be counted; give the network's input a shape in numbers, height "
            "and width included (input_shape, on the command line --input-shape 1x3x224x224)"
        )
    return sizes


def _integers(node: ir.Node, name: str, default: Sequence[int]) -> tuple[int, ...]:
    attribute = node.attributes.get(name)
    return tuple(default) if attribute is None else tuple(attribute.as_ints())


def _convolution(node: ir.Node) -> ConvLayer | None:
    """None where it is over more than three dimensions."""
    shape, weight = _shape(node, 0, "input"), _shape(node, 1, "weight")
    rank = len(shape) - 2
    if not 1 <= rank <= 3 or len(weight) != len(shape):
        return None
    kernel, sizes = weight[2:], shape[2:]
    strides = _integers(node, "strides", (1,) * rank)
    dilations = _integers(node, "dilations", (1,) * rank)
    pads = _pads(node, sizes, kernel, strides, dilations)
    axes = [
        ConvAxis(*axis[:4], pads=axis[4:])
        for axis in zip(sizes, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True)
    ]
    height, width = axes[-2] if rank > 1 else ConvAxis(1, 1), axes[-1]
    group = node.attributes.get("group")
    return ConvLayer(
        name=layer_name(node),
        N=shape[0],
        K=weight[0],
        C=shape[1],
        H=height.size,
        W=width.size,
        R=height.kernel,
        S=width.kernel,
        G=1 if group is None else group.as_int(),
        strides=(height.stride, width.stride),
        dilations=(height.dilation, width.dilation),
        pads=(height.pads[0], width.pads[0], height.pads[1], width.pads[1]),
        depth=axes[0] if rank == 3 else None,
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
    pads = [
        same_pads(size, (taps - 1) * dilation + 1, stride, mode)
        for size, taps, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    return (*(before for before, _ in pads), *(after for _, after in pads))


def _gemm(node: ir.Node, *, from_left: bool) -> ConvLayer:
    first, second = (
        _shape(node, index, "weight" if from_left is (index == 0) else "input") for index in (0, 1)
    )
    rows, inputs = first[::-1] if _flag(node, "transA") else first
    columns = second[0] if _flag(node, "transB") else second[1]
    positions, outputs = (columns, rows) if from_left else (rows, columns)
    return ConvLayer(layer_name(node), N=positions, K=outputs, C=inputs, H=1, W=1, R=1, S=1)


def _flag(node: ir.Node, name: str) -> bool:
    attribute = node.attributes.get(name)
    return attribute is not None and bool(attribute.as_int())


def _matmul(node: ir.Node, *, from_left: bool) -> ConvLayer | None:
    """(..., C) x (C, K), or a weight (K, C) from the left; None for one weight per image."""
    weight = _shape(node, 0 if from_left else 1, "weight")
    if len(weight) < 2 or math.prod(weight[:-2]) != 1:
        return None
    inputs, outputs = weight[:-3:-1] if from_left else weight[-2:]
    shape = _shape(node, 1 if from_left else 0, "input")
    leading = shape[:-2] if from_left else shape[:-1]
    batch = leading[0] if leading else 1
    positions = math.prod(shape) // inputs // batch
    return ConvLayer(layer_name(node), N=batch, K=outputs, C=inputs, H=positions, W=1, R=1, S=1)
