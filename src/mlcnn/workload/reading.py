"""The convolutions and dense layers of a network as loop nests."""

import logging
import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from mlcnn.graph import infer_shapes, inline, is_standard, layer_name, windows_of
from mlcnn.workload.description import Layer
from mlcnn.workload.gates import Gate, branches, read_gate
from mlcnn.workload.grouping import described, measured, recorded
from mlcnn.workload.layer import ConvAxis, ConvLayer
from mlcnn.workload.record import Record
from mlcnn.workload.sizes import InputShape, images, known_sizes, with_sizes

__all__ = ["Uncounted", "Workload", "layers", "read"]

_LOGGER = logging.getLogger(__name__)

# What gives other values each time, or runs a body that may read any value.
_VARYING = frozenset(
    {"Bernoulli", "Dropout", "If", "Loop", "Multinomial", "RandomNormal", "RandomNormalLike"}
    | {"RandomUniform", "RandomUniformLike", "Scan", "SequenceMap"}
)
_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
# Operators that multiply, or may, and are no loop nest here; products of two inputs beside them.
_OTHERS = frozenset(
    {"Attention", "ConvInteger", "ConvTranspose", "DeformConv", "Einsum", "GRU", "LSTM"}
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
        layers: every convolution and dense layer, in order; of the branches of an ``If`` those of
            the one that multiplies most: what an image can cost at most.
        images: how many.
        uncounted: what multiplies beside them.
        least: the layers that run where each ``If`` takes the other branch.
        every: the layers of all branches.
        nodes: the nodes that compute each layer, in a network of standard operators.
        every_nodes: the same for ``every``.
        gates: what decides the branches.
    """

    layers: tuple[Layer, ...]
    images: int
    uncounted: tuple[Uncounted, ...]
    least: tuple[Layer, ...] = ()
    every: tuple[Layer, ...] = ()
    nodes: tuple[tuple[ir.Node, ...], ...] = field(default=(), repr=False, compare=False)
    every_nodes: tuple[tuple[ir.Node, ...], ...] = field(default=(), repr=False, compare=False)
    gates: tuple[Gate, ...] = ()

    @property
    def whole(self) -> "Workload":
        """The same with the layers of all branches."""
        return replace(self, layers=self.every, nodes=self.every_nodes)

    @property
    def is_conditional(self) -> bool:
        """Whether what runs depends on the image."""
        return any(layer.condition for layer in self.every)

    @property
    def is_dynamic(self) -> bool:
        """Whether what is computed depends on the image: branches, or masks."""
        return any(layer.condition or layer.positions for layer in self.every)


def layers(
    model: ir.Model, *, batch: int = 1, input_shape: InputShape | None = None
) -> tuple[ConvLayer, ...]:
    """The loop nests of the layers of ``read``."""
    workload = read(model, batch=batch, input_shape=input_shape)
    return tuple(layer.nest for layer in workload.layers)


def read(model: ir.Model, *, batch: int = 1, input_shape: InputShape | None = None) -> Workload:
    """Every convolution and dense layer of a network, in order.

    A ``Gemm`` or ``MatMul`` with a constant weight is a 1x1 convolution over as many positions
    as it multiplies rows; a 1-D convolution has height 1, a 3-D one a depth. What an operator of
    a method emitted is the layer that its record says. Functions are looked into, and the branches
    of an ``If``; bodies of ``Loop`` are not: how often they run is not known. What depends on the
    data has the most entries that it can have.

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
    return _Reader(sized.graph, frozenset()).read(images(model, sized))


class _Reader:
    """Reads a graph in which every size that can be known is a number."""

    def __init__(self, graph: ir.Graph, outside: frozenset[ir.Value], condition: str = "") -> None:
        self._graph, self._condition = graph, condition
        self._constants = _weights(graph, outside)
        self._layers: list[tuple[Layer, tuple[ir.Node, ...]]] = []
        self._least: list[Layer] = []
        self._every: list[tuple[Layer, tuple[ir.Node, ...]]] = []
        self._gates: list[Gate] = []
        self._uncounted: list[Uncounted] = []

    def read(self, images_: int) -> Workload:
        groups, done = recorded(self._graph), set[str]()
        for node in self._graph:
            record, members = groups.get(node, (None, ()))
            if record is None and node.op_type == "If" and is_standard(node):
                self._branches(node, images_)
            elif record is None:
                self._plain(node)
            elif record.site not in done:
                done.add(record.site)
                self._group(record, members)
        found = tuple(layer for layer, _ in self._layers)
        nodes = tuple(nodes for _, nodes in self._layers)
        return Workload(
            found, images_, tuple(self._uncounted), tuple(self._least),
            tuple(layer for layer, _ in self._every), nodes,
            tuple(nodes for _, nodes in self._every), tuple(self._gates),
        )  # fmt: skip

    def _add(self, layer: Layer, nodes: tuple[ir.Node, ...]) -> None:
        layer = replace(layer, condition=self._condition)
        self._layers.append((layer, nodes))
        self._least.append(layer)
        self._every.append((layer, nodes))

    def _branches(self, node: ir.Node, images_: int) -> None:
        """The layers of the branch that multiplies most; of the least layers, of the other one."""
        self._gates.append(read_gate(node, self._condition))
        found = [
            _Reader(graph, self._constants, name).read(images_) for name, graph in branches(node)
        ]
        most = max(found, key=lambda branch: _macs(branch.layers))
        least = min(found, key=lambda branch: _macs(branch.least))
        self._layers += zip(most.layers, most.nodes, strict=True)
        self._least += least.least
        for branch in found:
            self._every += zip(branch.every, branch.every_nodes, strict=True)
            self._gates += branch.gates
        self._uncounted += (item for branch in found for item in branch.uncounted)

    def _group(self, record: Record, nodes: tuple[ir.Node, ...]) -> None:
        """The layer of a record; its nodes as they are, where the record contradicts them."""
        layer = described(record, nodes, self._constants)
        if isinstance(layer, str):
            for node in nodes:
                self._plain(node)
            _LOGGER.warning(
                "%s: its record says %s and is ignored: %s; its operators are read as they are",
                layer_name(nodes[0]), record.form, layer,
            )  # fmt: skip
            return
        if record.positions:  # how much of it is computed the data say; at most, all of it
            self._add(replace(layer, parts=(layer.nest,)), nodes)
            return
        # What makes weights of weights runs once, when the network is loaded.
        running = [node for node in nodes if self._constants.isdisjoint(node.outputs)]
        parts = [nest for node in running if (nest := self._nest(node)) is not None]
        self._add(replace(layer, parts=tuple(parts)), nodes)

    def _plain(self, node: ir.Node) -> None:
        nest = self._nest(node)
        if nest is not None:
            layer = Layer(nest, node.op_type, parts=(nest,))
            self._add(measured(layer, (node,), self._constants), (node,))
        elif (operator := _other(node)) is not None:
            self._uncounted.append(Uncounted(layer_name(node), operator))

    def _nest(self, node: ir.Node) -> ConvLayer | None:
        return _read(node, self._constants) if is_standard(node) else None


def _other(node: ir.Node) -> str | None:
    if not is_standard(node):
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


def _macs(layers_: Sequence[Layer]) -> int:
    return sum(part.macs for layer in layers_ for part in layer.parts or (layer.nest,))


def _weights(graph: ir.Graph, outside: frozenset[ir.Value]) -> frozenset[ir.Value]:
    """All constant values: what is computed from constants alone is one, whatever its size.

    Large ones stay computed: quantised, expanded, generated or laid out in another order.
    """
    found = {*outside, *graph.initializers.values()}
    for node in graph:
        sources = [value for value in node.inputs if value is not None]
        varies = node.op_type in _VARYING or (not is_standard(node) and not sources)
        if not varies and all(v in found or v.const_value is not None for v in sources):
            found.update(node.outputs)
    return frozenset(found)


def _shape(node: ir.Node, index: int, what: str) -> tuple[int, ...]:
    return known_sizes(node.inputs[index], f"{layer_name(node)} ({node.op_type})", what)


def _convolution(node: ir.Node) -> ConvLayer | None:
    """None where it is over more than three dimensions."""
    shape, weight = _shape(node, 0, "input"), _shape(node, 1, "weight")
    rank = len(shape) - 2
    if not 1 <= rank <= 3 or len(weight) != len(shape):
        return None
    kernel, sizes = weight[2:], shape[2:]
    windows = windows_of(node, kernel)
    pads = zip(*windows.pads(sizes), strict=True)
    axes = [
        ConvAxis(*axis)
        for axis in zip(sizes, kernel, windows.strides, windows.dilations, pads, strict=True)
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
