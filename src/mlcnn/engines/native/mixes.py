"""A convolution in groups between two small matrices over channels, as one operation.

    reshape (N, k, q H W) -> product k -> r -> reshape -> convolution in r groups of q -> p
    -> reshape -> product r -> l -> reshape (N, l p, P, Q)

The products add up parts of the channels, q at a time, so that each is a sum of blocks as they lie
in memory; matrices that are compiled in take few additions. Where q and p fill half blocks, two
groups take the lanes of a vector in turn. A batch is computed some images at a time: what is
between the matrices stays in the cache.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.elementwise import norm_of
from mlcnn.engines.native.layers import ONE, bias_of, fields_of
from mlcnn.engines.native.library import Op
from mlcnn.engines.native.packing import Group
from mlcnn.engines.native.program import Constant, Floats, Operation, Part, Value, standard_lanes
from mlcnn.engines.native.reading import Shape, constant_of, padded, sizes_of, weights_of
from mlcnn.graph import is_standard
from mlcnn.graph.operators import conv_windows
from mlcnn.nn.site import Site

__all__ = ["take"]

_CACHE_BYTES = 1 << 20  # of what is between the matrices
_SAME = 1e-6  # largest difference of a matrix from the one that is compiled in


@dataclass(frozen=True, slots=True)
class _Layer:
    """Nodes that become one operation.

    Attributes:
        nodes: all of them.
        conv: the convolution.
        forth: matrix (r, k).
        weight: (r p, q, rows, columns).
        back: matrix (l, r).
        source: what is read, and its shape (N, k q, H, W).
        result: what the last node gives.
    """

    nodes: tuple[ir.Node, ...]
    conv: Site
    forth: Floats
    weight: Floats
    back: Floats
    source: ir.Value
    shape: Shape
    result: ir.Value

    @property
    def bins(self) -> int:
        """r: groups of the convolution."""
        return len(self.forth)

    @property
    def inner(self) -> int:
        """q: channels of a group."""
        return self.weight.shape[1]

    @property
    def outer(self) -> int:
        """p: filters of a group."""
        return len(self.weight) // self.bins


def take(build: Builder, site: Site) -> bool:
    """Lower a node, and those behind it, if it begins such a convolution."""
    layer = _layer_at(build, site)
    if layer is None or max(*layer.forth.shape, *layer.back.shape) > build.library.most_parts:
        return False
    _Parts.of(build, layer).lower(build, layer)
    return True


# -- what the nodes say


def _product(site: Site) -> tuple[Floats, ir.Value] | None:
    """A matrix, and the (N, k, ...) that it multiplies along the second axis."""
    if site.node.op_type == "MatMul":
        matrix, value, rank = constant_of(site.value(0)), site.value(1), 3
    elif site.node.op_type == "Conv" and site.spec.integer("group", 1) == 1:
        kernel, value, rank = constant_of(site.value(1)), site.value(0), 4
        if kernel is None or kernel.ndim != 4 or site.spec.has_input(2):
            return None
        if conv_windows(site.spec, kernel.shape[2:]) != ONE:
            return None
        matrix = kernel[:, :, 0, 0]
    else:
        return None
    if matrix is None or value is None or matrix.ndim != 2 or len(value.shape or ()) != rank:
        return None
    return matrix, value


def _reshaped(build: Builder, value: ir.Value) -> Site | None:
    """The only reader of a value behind a reshape that nothing else reads either."""
    first = build.only_reader(value)
    if first is None or first.op_type != "Reshape" or not is_standard(first):
        return None
    second = build.only_reader(first.outputs[0])
    return build.site(second) if second is not None and is_standard(second) else None


def _layer_at(build: Builder, site: Site) -> _Layer | None:
    forth = _product(site)
    conv = None if forth is None else _reshaped(build, site.node.outputs[0])
    if forth is None or conv is None or conv.node.op_type != "Conv":
        return None
    second = _reshaped(build, conv.node.outputs[0])
    back = None if second is None else _product(second)
    last = None if second is None else build.only_reader(second.node.outputs[0])
    if back is None or last is None or last.op_type != "Reshape":
        return None
    nodes = (site.node, *_chain(site.node, last))
    read = padded(sizes_of(conv.node.inputs[0], conv.spec.where))
    weight = weights_of(conv, 1)
    shape = (read[0], forth[0].shape[1] * weight.shape[1], *read[2:])
    layer = _Layer(nodes, conv, forth[0], weight, back[0], forth[1], shape, last.outputs[0])
    return layer if _fits(layer, read) else None


def _fits(layer: _Layer, read: Shape) -> bool:
    """Whether the reshapes divide channels into parts, and groups are what matrices make."""
    where, groups = layer.conv.spec.where, layer.conv.spec.integer("group", 1)
    if layer.weight.ndim != 4 or groups < 2 or not groups == layer.bins == layer.back.shape[1]:
        return False
    images, channels = read[0], layer.outer * len(layer.back)
    given, written = sizes_of(layer.source, where), sizes_of(layer.result, where)
    return (
        given[:2] == (images, layer.forth.shape[1])
        and read[1] == layer.bins * layer.inner
        and written[:2] == (images, channels)
    )


def _chain(first: ir.Node, last: ir.Node) -> list[ir.Node]:
    """Nodes from one that has a single reader to another."""
    found, node = list[ir.Node](), first
    while node is not last:
        (node,) = node.outputs[0].consumers()
        found.append(node)
    return found


# -- the operation


@dataclass(frozen=True, slots=True)
class _Parts:
    """How parts of channels lie in blocks.

    Attributes:
        block: channels of a block.
        paired: whether parts fill half blocks, and two groups take the lanes in turn.
        inputs: (half) blocks of a part of the input.
        outputs: likewise of the result.
    """

    block: int
    paired: bool
    inputs: int
    outputs: int

    @classmethod
    def of(cls, build: Builder, layer: _Layer) -> "_Parts":
        """Halves where they are full and whole blocks would not be."""
        block, half = build.block, build.block // 2
        sizes = layer.inner, layer.outer
        paired = all(size % half == 0 for size in sizes) and any(size % block for size in sizes)
        width = half if paired else block
        return cls(block, paired, *(-(-size // width) for size in sizes))

    @property
    def together(self) -> int:
        """Groups of a vector."""
        return 1 + self.paired

    def lanes(self, parts: int, size: int) -> tuple[int, ...]:
        """Of a value of so many parts."""
        if self.paired:
            return standard_lanes(parts * size, self.block)
        return standard_lanes(size, self.block) * parts

    def lower(self, build: Builder, layer: _Layer) -> None:
        """Add the operation."""
        source = build.shaped(build.value_of(layer.source, layer.conv.spec.where), layer.shape)
        lanes = self.lanes(layer.forth.shape[1], layer.inner)
        if source.lanes != lanes:
            source = build.rearranged(source, layer.shape, lanes)
        groups = -(-layer.bins // self.together)
        shape = padded(sizes_of(layer.result, layer.conv.spec.where))
        images = _at_once(layer.shape, shape, groups * self.inputs, groups * self.outputs, build)
        block = (build.block,)
        read = Value(images, block * (groups * self.inputs), *layer.shape[2:])
        written = Value(images, block * (groups * self.outputs), *shape[2:])
        made = build.new(shape, self.lanes(len(layer.back), layer.outer))
        forth = self._mix(build, layer.forth, source, read, self.inputs, back=False)
        forth.fields |= {"images": source.images, "bunch": images}
        back = self._mix(build, layer.back, written, made, self.outputs, back=True)
        back.inner = forth, self._convolution(build, layer, read, written, groups)
        build.done.update(layer.nodes)
        result = _normed(build, back, layer.result, made)
        build.end(layer.conv, back, result, made)

    def _mix(
        self, build: Builder, matrix: Floats, source: Value, made: Value, blocks: int, *, back: bool
    ) -> Operation:
        """A product with a matrix."""
        compiled = build.library.mixes
        half = len(compiled) // 2
        kinds = range(half, 2 * half) if back else range(half)
        same = (k for k in kinds if compiled[k].shape == matrix.shape)
        kind = next((k for k in same if np.abs(compiled[k] - matrix).max() < _SAME), None)
        constants = dict[str, Constant]()
        if kind is None:
            kind = len(compiled) + back
            constants["weights"] = np.pad(matrix, ((0, -len(matrix) % 4), (0, 0)))
        return Operation(Op.MIX, Part(source), Part(made), None, {
            "mode": kind, "images": source.images, "blocks": blocks, "rows": made.rows,
            "columns": made.columns, "kernel_rows": matrix.shape[0],
            "kernel_columns": matrix.shape[1], "together": self.together, "scales": -1,
        }, constants)  # fmt: skip

    def _convolution(
        self, build: Builder, layer: _Layer, read: Value, written: Value, groups: int
    ) -> Operation:
        windows = conv_windows(layer.conv.spec, layer.weight.shape[2:])
        x, fields = fields_of(layer.conv, read, windows)
        weight = self._in_turn(layer.weight, layer.bins)
        bias = self._in_turn(bias_of(layer.conv, len(layer.weight)), layer.bins)
        biases = [build.packing.per_lane(some) for some in np.split(bias, groups)]
        operation = Operation(Op.CONV, x, Part(written), None, {
            **fields, "blocks": self.inputs, "filters": self.outputs, "groups": groups,
            "together": self.together,
        }, {"biases": np.concatenate(biases)})  # fmt: skip
        width = self.block // self.together
        lanes = standard_lanes(layer.inner, width)
        build.convolution(layer.conv, operation, Group(0, lanes, 0, weight))
        return operation

    def _in_turn(self, array: Floats, bins: int) -> Floats:
        """Filters of all groups; those of a pair one by one in turn, with zeros in a half one."""
        if not self.paired:
            return array
        split = array.reshape(bins, -1, *array.shape[1:])
        even = np.pad(split, [(0, bins % 2), *[(0, 0)] * array.ndim])
        pairs = even.reshape(-1, 2, *even.shape[1:])
        return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(-1, *array.shape[1:])


def _at_once(source: Shape, made: Shape, inputs: int, outputs: int, build: Builder) -> int:
    """Images that are computed together: of blocks between the matrices so many."""
    floats = build.block * (inputs * prod(source[2:]) + outputs * prod(made[2:]))
    most = max(1, _CACHE_BYTES // (4 * floats))
    return -(-source[0] // -(-source[0] // most))


def _normed(build: Builder, operation: Operation, result: ir.Value, made: Value) -> ir.Value:
    """Let an operation do the batch norm behind it, if nothing else is done with its result."""
    reader = build.only_reader(result)
    if reader is None or reader.op_type != "BatchNormalization" or not is_standard(reader):
        return result
    factor, shift = norm_of(build.site(reader))
    del operation.fields["scales"]
    operation.constants["scales"] = build.packing.per_lane(factor, made.lanes)
    operation.constants["biases"] = build.packing.per_lane(shift, made.lanes)
    build.done.add(reader)
    return reader.outputs[0]
