"""Which values of a network are rounded, so that engines compute between them in integers.

Convolutions and dense layers read codes. So that no value is rounded that need not be, each is
rounded once, where it is made: behind the ReLU of its layer; a sum, a mean or a concatenation
between quantised layers has a rounding of its own, and reads codes.

With fewer than 8 bits, which no engine computes in integers, nothing but the inputs of layers is
rounded, and sums read what is not: so DoReFa has it, and it costs least.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import MOVING, code_bits, constant, is_standard, layer_name
from mlcnn.ops import method_of
from mlcnn.workload import Record, read_record

__all__ = [
    "Layer",
    "Means",
    "Placement",
    "fused_means",
    "is_fused_mean",
    "layers_of",
    "norm_behind",
    "norms_in_front",
    "place",
]

_BOUNDS = frozenset({"Clip", "Relu"})
# Their results are on the grid of what they read, as those of ``MOVING``, but engines want to be
# told.
_SHARING = frozenset({"Concat", "GlobalMaxPool", "Pad"})
_JOINING = frozenset({"Add", "AveragePool", "GlobalAveragePool"})
# What is compared, and what takes it from images.
_COMPARING = frozenset({"Greater"})
_CUTTING = frozenset({"Concat", "Gather", "Pad", "Slice"})


class Means(StrEnum):
    """What becomes of the means that a fused layer convolves.

    ``ROUNDED``: codes again, with a step of their own, which every engine takes. ``EXACT``: not
    rounded; engine ``native`` keeps them as sums of codes in 16 bits, others compute in floats.
    """

    ROUNDED = "rounded"
    EXACT = "exact"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer whose weights become codes.

    Attributes:
        node: the convolution or dense layer.
        axis: of the weight's filters.
        index: which input of the node is the weight; the bias is the next one.
    """

    node: ir.Node
    axis: int
    index: int = 1

    @property
    def name(self) -> str:
        """As the user knows it."""
        return layer_name(self.node)

    @property
    def adds_chosen(self) -> bool:
        """Whether bits, which what it reads is compared to, choose the weights that it adds.

        Its sums are in steps of the weights alone, whatever the step of what is compared.
        """
        value = self.node.inputs[0]
        return self.index > 1 or _compared(value) is not value

    @property
    def weight(self) -> NDArray[np.float32]:
        """In floats, as the network stores it."""
        found = constant(self.node.inputs[self.index])
        if found is None:
            raise ValueError(f"{self.name}: its weight is not constant")
        return found.astype(np.float32)

    @property
    def bias(self) -> NDArray[np.float32] | None:
        """In floats, shape (filters,); None where there is none, or none that is constant."""
        given, at = self.node.inputs, self.index + 1
        found = constant(given[at]) if len(given) > at else None
        return None if found is None else found.astype(np.float32)


@dataclass(slots=True)
class Placement:
    """What is rounded.

    Attributes:
        layers: whose weights become codes, in the order of the network.
        values: the activations that are rounded, by name.
        leaders: for each value, the one whose grid it shares; itself, mostly.
        means: what becomes of the means of fused layers.
        joined: whether sums and all others between layers read codes too; else only layers do.
    """

    layers: tuple[Layer, ...]
    values: dict[str, ir.Value] = field(default_factory=dict[str, ir.Value])
    leaders: dict[str, str] = field(default_factory=dict[str, str])
    means: Means = Means.ROUNDED
    joined: bool = True

    def leader(self, name: str) -> str:
        """The value whose grid a value has."""
        while self.leaders.get(name, name) != name:
            name = self.leaders[name]
        return name

    def add(self, value: ir.Value) -> bool:
        """Round a value; False if it is already."""
        name = value.name or ""
        if name in self.values:
            return False
        self.values[name] = value
        return True

    def join(self, first: str, second: str) -> None:
        """Give two values one grid."""
        self.leaders[self.leader(second)] = self.leader(first)


def layers_of(model: ir.Model, floating: frozenset[str] = frozenset()) -> Iterator[Layer]:
    """The layers of constant weights that become codes.

    Args:
        model: the network.
        floating: names of layers that stay as they are.
    """
    for node in model.graph:
        method = method_of(node)
        if method is not None and method.coded is not None and layer_name(node) not in floating:
            yield Layer(node, 0, method.coded)
        if not is_standard(node) or node.op_type not in {"Conv", "Gemm", "MatMul"}:
            continue
        weight = constant(node.inputs[1])
        if weight is None or layer_name(node) in floating or constant(node.inputs[0]) is not None:
            continue
        if node.op_type == "Conv":
            yield Layer(node, 0)
        elif weight.ndim == 2:
            transposed = node.op_type == "Gemm" and "transB" in node.attributes
            transposed = transposed and bool(node.attributes["transB"].as_int())
            yield Layer(node, 0 if transposed else 1)


def norms_in_front(layers: Iterable[Layer]) -> Iterator[ir.Node]:
    """Batch norms whose results are compared: they are gone when others become parts of layers."""
    for layer in layers:
        value = layer.node.inputs[0] if layer.index > 1 else None
        maker = None if value is None else value.producer()
        if maker is not None and maker.op_type == "BatchNormalization":
            yield maker


def norm_behind(node: ir.Node) -> ir.Node | None:
    """The batch norm that becomes part of a layer: it alone reads it; None where there is none."""
    readers = {use.node for use in node.outputs[0].uses()}
    reader = next(iter(readers)) if len(readers) == 1 else None
    normalises = reader is not None and reader.op_type == "BatchNormalization"
    return reader if normalises and not node.outputs[0].is_graph_output() else None


def fused_means(model: ir.Model) -> bool:
    """Whether a network has means that fused layers convolve."""
    return any(map(is_fused_mean, model.graph))


def is_fused_mean(node: ir.Node) -> bool:
    """Whether a node gives the means that a fused layer convolves."""
    return node.op_type == "AveragePool" and isinstance(read_record(node), Record)


def place(
    model: ir.Model,
    floating: frozenset[str] = frozenset(),
    means: Means = Means.ROUNDED,
    *,
    joined: bool = True,
) -> Placement:
    """Where a network is rounded.

    Args:
        model: the network, batch norms folded.
        floating: names of layers that stay as they are.
        means: what becomes of the means of fused layers.
        joined: see ``Placement``.
    """
    placement = Placement(tuple(layers_of(model, floating)), means=means, joined=joined)
    if not joined:
        for layer in placement.layers:
            value = _compared(layer.node.inputs[0])
            if value is not None:
                placement.add(value)
        return placement
    nodes = [*(layer.node for layer in placement.layers), *_coded(model, floating)]
    pending = [_compared(node.inputs[0]) for node in nodes]
    outputs = set(model.graph.outputs)
    pending += [_bounded(node.outputs[0]) for node in nodes if node.op_type == "Conv"]
    while pending:
        value = pending.pop()
        if value is None or value in outputs or constant(value) is not None:
            continue
        pending += _reach(placement, value)
    return placement


def _coded(model: ir.Model, floating: frozenset[str]) -> Iterator[ir.Node]:
    """Convolutions whose weights are codes already: what they read becomes codes, too."""
    for node in model.graph:
        if node.op_type != "Conv" or not is_standard(node) or layer_name(node) in floating:
            continue
        if code_bits(node.inputs[1]) is not None:
            yield node


def _compared(value: ir.Value | None) -> ir.Value | None:
    """What a layer reads: of bits, which are codes already, what is compared to give them."""
    bits = None if value is None else value.producer()
    greater = None if bits is None or bits.op_type != "Cast" else bits.inputs[0]
    node = None if greater is None else greater.producer()
    if node is None or node.op_type not in _COMPARING or not is_standard(node):
        return value
    while node is not None and is_standard(node) and node.op_type in _COMPARING | _CUTTING:
        value = node.inputs[0]
        node = None if value is None else value.producer()
    return value


def _bounded(value: ir.Value) -> ir.Value:
    """A value behind the ReLU that alone reads it."""
    readers = {use.node for use in value.uses()}
    reader = next(iter(readers)) if len(readers) == 1 else None
    if reader is None or reader.op_type not in _BOUNDS or reader.inputs[0] is not value:
        return value
    return reader.outputs[0]


def _reach(placement: Placement, value: ir.Value) -> list[ir.Value | None]:
    """Round a value, or what it is made of; further values that have to be rounded for it."""
    node = value.producer()
    source = None if node is None else node.inputs[0]
    if node is None or source is None or not is_standard(node):
        placement.add(value)
        return []
    if node.op_type in MOVING or (placement.means is Means.EXACT and is_fused_mean(node)):
        return [source]
    maker = node
    if node.op_type in _BOUNDS and _bounded(source) is value and source.producer() is not None:
        maker = source.producer() or node
    if not placement.add(value):
        return []
    if not is_standard(maker) or maker.op_type not in _SHARING | _JOINING:
        return []
    inputs = maker.inputs if maker.op_type in {"Add", "Concat"} else maker.inputs[:1]
    read = [item for item in inputs if item is not None and constant(item) is None]
    if len(read) < len(inputs):
        return []
    if maker.op_type in _SHARING and maker is node and not _pads_numbers(maker):
        for item in read:
            placement.join(value.name or "", _made(item).name or "")
    return [*read]


def _pads_numbers(node: ir.Node) -> bool:
    """Whether a node pads with other numbers than 0, which need not be on the grid."""
    given = node.inputs[2] if node.op_type == "Pad" and len(node.inputs) > 2 else None
    number = constant(given)
    return given is not None and (number is None or bool(number.any()))


def _made(value: ir.Value) -> ir.Value:
    """Where the numbers of a value are made: through what only moves them."""
    node = value.producer()
    while node is not None and node.op_type in MOVING and is_standard(node):
        source = node.inputs[0]
        if source is None:
            break
        value, node = source, source.producer()
    return value
