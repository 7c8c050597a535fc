"""Which channels of a network are the same ones, which never change, and which layers need them.

A *class* is a channel that several values have: a convolution or dense layer makes new ones,
pointwise operators, norms and pools keep them, additions make those of their operands one,
concatenation puts them side by side, padding of channels adds classes that are zero. What is not
known to keep channels apart needs all that it reads.

A channel is *fixed* where it is one number for all inputs and all pixels: a filter whose weights
are zero gives its bias, which a batch norm and an activation turn into another number.
"""

from collections.abc import Callable
from math import prod

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant, is_standard, layer_name
from mlcnn.ops import Convolution, method_of
from mlcnn.passes.channel_edits import Edit, Follower, Groups, Padding, Settled, Target
from mlcnn.passes.channel_lanes import Classes, Floats, Lanes, Mix, Shared
from mlcnn.passes.channel_operands import (
    POOLS,
    REDUCTIONS,
    channel_axis,
    dense_bias,
    has,
    integer,
    integers,
    is_padded,
    pads_zeros,
)
from mlcnn.passes.fixed import pointwise_numbers
from mlcnn.passes.pointwise import BINARY, TRANSPARENT, UNARY
from mlcnn.workload import RECORD_KEY

__all__ = ["Flow"]


class Flow:
    """The channels of a network's main graph.

    Attributes:
        lanes: of each value that is known.
        mixes: the layers, in order.
        shared: what is shared inside of some.
        edits: what else has to follow where channels go, in order.
        needs: what needs a class whatever its weights are, by class.
        added: classes of sums of several values: residual streams.
    """

    def __init__(self, model: ir.Model) -> None:
        self.lanes: dict[ir.Value, Lanes] = {}
        self.mixes: list[Mix] = []
        self.shared: list[Shared] = []
        self.edits: list[Edit] = []
        self.needs: dict[int, str] = {}
        self.added: set[int] = set()
        self._parents: list[int] = []
        self._model = model
        for node in model.graph:
            self._visit(node)
        for value in self.lanes:
            outside = [use for use in value.uses() if use.node.graph is not model.graph]
            if value.is_graph_output() or outside:
                self._need(self.lanes[value], "they are the network's output")
        self.needs = {self.root(item): why for item, why in self.needs.items()}
        self.added = {self.root(item) for item in self.added}

    def root(self, item: int) -> int:
        """The one number of a class that was joined with others."""
        while (parent := self._parents[item]) != item:
            self._parents[item] = item = self._parents[parent]
        return item

    def roots(self, classes: Classes) -> Classes:
        """The same of many."""
        return np.array([self.root(int(item)) for item in classes], np.int64)

    def _visit(self, node: ir.Node) -> None:
        # A standard node with a record is a part of a layer, which a pass made: what else the
        # record says of its channels is not known here.
        plain = is_standard(node) and RECORD_KEY not in node.metadata_props
        rule = _RULES.get(node.op_type) if plain else Flow.structured
        sole = not any(output.uses() for output in node.outputs[1:])
        if rule is None or not sole or not rule(self, node):
            for value in node.inputs:
                if value in self.lanes:
                    self._need(self.lanes[value], f"{node.op_type} {layer_name(node)} reads them")

    def _need(self, lanes: Lanes, why: str) -> None:
        for item in lanes.classes:
            self.needs.setdefault(int(item), why)

    def _new(self, count: int) -> Classes:
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count, dtype=np.int64)

    def _join(self, first: Classes, second: Classes) -> None:
        for one, other in zip(first, second, strict=True):
            self._parents[self.root(int(other))] = self.root(int(one))

    def _read(self, value: ir.Value | None) -> Lanes | None:
        """The channels of what a node reads: all needed where nothing is known of them."""
        if value is None or value in self.lanes or value.shape is None or len(value.shape) < 2:
            return None if value is None else self.lanes.get(value)
        channels = value.shape[1]
        if not isinstance(channels, int):
            return None
        lanes = Lanes(self._new(channels), np.full(channels, np.nan))
        self._need(lanes, f"they are those of {value.name}")
        self.lanes[value] = lanes
        return lanes

    def _keep(self, node: ir.Node, lanes: Lanes) -> bool:
        self.lanes[node.outputs[0]] = lanes
        return True

    def _mix(
        self,
        node: ir.Node,
        weight: Floats,
        bias: Floats,
        *,
        padded: bool,
        folds: bool = True,
        bias_input: int = 2,
    ) -> Mix | None:
        """A layer with new classes behind it.

        Args:
            node: of it.
            weight: shape (outputs, inputs, taps).
            bias: shape (outputs,).
            padded: whether it reads zeros beside its input.
            folds: whether it can have a bias.
            bias_input: of the node.
        """
        source = self._read(node.inputs[0])
        if source is None or source.size != weight.shape[1]:
            return None
        # Behind a padded border a number that is not zero ends: no bias stands for that.
        takes = (source.fixed == 0) | (np.isfinite(source.fixed) & (not padded) & folds)
        depends = (weight != 0).any(2) & ~takes
        folded = weight.sum(2) * np.where(takes, source.fixed, 0.0)
        fixed = np.where(depends.any(1), np.nan, bias + folded.sum(1))
        result = Lanes(self._new(len(bias)), fixed)
        mix = Mix(node, source, result, depends, folded, padded, bias_input)
        self.mixes.append(mix)
        self._keep(node, result)
        return mix

    def convolution(self, node: ir.Node) -> bool:
        """New classes behind an ordinary one; a depthwise one keeps its input's."""
        weight, groups = constant(node.inputs[1]), integer(node, "group", 1)
        bias = constant(node.inputs[2]) if has(node, 2) else None
        if weight is None or (has(node, 2) and bias is None):
            return False
        filters = len(weight)
        taps = weight.astype(np.float64).reshape(filters, weight.shape[1], -1)
        shift = np.zeros(filters) if bias is None else bias.astype(np.float64)
        if groups > 1:
            return self._depthwise(node, taps, shift, groups)
        mix = self._mix(node, taps, shift, padded=is_padded(node))
        if mix is None:
            return False
        self.edits.append(Follower(node, 1, 1, mix.source.classes))
        self.edits += [Follower(node, index, 0, mix.result.classes) for index in (1, 2)]
        return True

    def _depthwise(self, node: ir.Node, taps: Floats, shift: Floats, groups: int) -> bool:
        source = self._read(node.inputs[0])
        if source is None or not groups == source.size == len(taps):
            return False
        sums, zero = taps.sum((1, 2)), ~taps.any((1, 2))
        read = source.zeros_only() if is_padded(node) else source
        fixed = np.where(zero, shift, sums * read.fixed + shift)
        self.edits += [Follower(node, index, 0, source.classes) for index in (1, 2)]
        self.edits.append(Groups(node, source.classes))
        return self._keep(node, Lanes(source.classes, fixed))

    def structured(self, node: ir.Node) -> bool:
        """A method's operator: new classes behind it, and inside for what its channels share."""
        method = method_of(node)
        layer = None if method is None or method.read is None else method.read(node)
        if method is None or not isinstance(layer, Convolution) or layer.groups > 1:
            return False
        axes = method.channels
        if axes is None:
            return False
        bias = constant(layer.bias)
        shift = np.zeros(layer.filters) if bias is None else bias.astype(np.float64)
        mix = self._mix(node, axes.dense(node), shift, padded=any(layer.pads), bias_input=axes.bias)
        if mix is None:
            return False
        reads = axes.inner(node) != 0
        kernels = node.inputs[axes.shared[-1][0]]
        inside = Lanes(self._new(reads.shape[2]), np.full(reads.shape[2], np.nan))
        if kernels is None or kernels in self.lanes:
            self._need(inside, "two layers share them")
        else:
            self.lanes[kernels] = inside
        self.shared.append(Shared(mix, inside, reads))
        self.edits += [Follower(node, *at, mix.result.classes) for at in axes.outputs]
        self.edits += [Follower(node, *at, mix.source.classes) for at in axes.inputs]
        self.edits += [Follower(node, *at, inside.classes) for at in axes.shared]
        self.edits.append(Settled(node, axes.settle))
        return True

    def dense(self, node: ir.Node) -> bool:
        """New classes behind a dense layer over features."""
        source, weight = node.inputs[0], constant(node.inputs[1])
        if source is None or source.shape is None or source.shape.rank() != 2:
            return False
        if weight is None or weight.ndim != 2 or integer(node, "transA", 0):
            return False
        outputs = 0 if integer(node, "transB", 0) else 1
        wide = np.moveaxis(weight, outputs, 0).astype(np.float64)
        scales = [node.attributes[n].as_float() for n in ("alpha", "beta") if n in node.attributes]
        shift = dense_bias(node, len(wide))
        if shift is None or any(scale != 1 for scale in scales):
            return False
        folds = node.op_type == "Gemm"
        mix = self._mix(node, wide[..., None], shift, padded=False, folds=folds)
        if mix is None:
            return False
        self.edits.append(Follower(node, 1, 1 - outputs, mix.source.classes))
        self.edits += [Follower(node, 1, outputs, mix.result.classes)]
        addend = constant(node.inputs[2]) if has(node, 2) else None
        if addend is not None:
            self.edits.append(Follower(node, 2, addend.ndim - 1, mix.result.classes))
        return True

    def norm(self, node: ir.Node) -> bool:
        """A batch norm: a number becomes another one."""
        source = self._read(node.inputs[0])
        numbers = [constant(value) for value in node.inputs[1:5]]
        if source is None or integer(node, "training_mode", 0):
            return False
        wide = [array.astype(np.float64) for array in numbers if array is not None]
        if len(wide) < 4 or any(array.shape != (source.size,) for array in wide):
            return False
        gamma, beta, mean, variance = wide
        epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
        scaled = (source.fixed - mean) * gamma / np.sqrt(variance + epsilon)
        self.edits += [Follower(node, index, 0, source.classes) for index in range(1, 5)]
        fixed = np.where(gamma == 0, 0.0, scaled) + beta
        return self._keep(node, Lanes(source.classes, fixed))

    def pointwise(self, node: ir.Node) -> bool:
        """Operands of the same channels, constants that follow."""
        values = [value for value in node.inputs if value is not None]
        moving = [value for value in values if constant(value) is None]
        ranks = {None if value.shape is None else value.shape.rank() for value in moving}
        rank = next(iter(ranks), None)
        read = {value: self._read(value) for value in moving}
        known = [lanes for lanes in read.values() if lanes is not None]
        if len(ranks) != 1 or rank is None or len(known) < len(read):
            return False
        size = max(lanes.size for lanes in known)
        # An operand of one channel is the same for all channels of the other.
        if any(lanes.size not in {1, size} for lanes in known):
            return False
        axes = [channel_axis(value, rank, size) for value in values if value not in read]
        if any(axis is False for axis in axes):
            return False
        wide = [lanes for lanes in known if lanes.size == size]
        for lanes in known:
            if lanes.size < size:
                self._need(lanes, f"{node.op_type} {layer_name(node)} reads them for all channels")
        for lanes in wide[1:]:
            self._join(wide[0].classes, lanes.classes)
        if len(wide) > 1 and node.op_type in {"Add", "Sub"}:
            self.added.update(wide[0].classes.tolist())
        for index, value in enumerate(node.inputs):
            axis = None if value is None or value in read else channel_axis(value, rank, size)
            if isinstance(axis, int) and not isinstance(axis, bool):
                self.edits.append(Follower(node, index, axis, wide[0].classes))
        fixed = pointwise_numbers(self._model, node, [
            None if value is None else lanes.fixed if (lanes := read.get(value)) else None
            for value in node.inputs
        ], size)  # fmt: skip
        return self._keep(node, Lanes(wide[0].classes, fixed))

    def concat(self, node: ir.Node) -> bool:
        """Channels side by side."""
        shape = node.outputs[0].shape
        if shape is None or integer(node, "axis", 1) % shape.rank() != 1:
            return False
        parts: list[Lanes] = []
        followers: list[Edit] = []
        for index, value in enumerate(node.inputs):
            stored = constant(value)
            lanes = self._read(value) if stored is None else self._stored(stored)
            if lanes is None:
                return False
            if stored is not None:
                followers.append(Follower(node, index, 1, lanes.classes))
            parts.append(lanes)
        self.edits += followers
        classes = np.concatenate([lanes.classes for lanes in parts])
        fixed = np.concatenate([lanes.fixed for lanes in parts])
        return self._keep(node, Lanes(classes, fixed))

    def _stored(self, array: NDArray[np.generic]) -> Lanes | None:
        """The channels of a constant."""
        if not array.size:
            return None
        flat = np.moveaxis(array, 1, 0).reshape(array.shape[1], -1).astype(np.float64)
        same = (flat == flat[:, :1]).all(1)
        return Lanes(self._new(len(flat)), np.where(same, flat[:, 0], np.nan))

    def pool(self, node: ir.Node) -> bool:
        """The channels stay."""
        source = self._read(node.inputs[0])
        if source is None:
            return False
        counts = node.op_type == "AveragePool" and integer(node, "count_include_pad", 0)
        if node.op_type in {"LpPool", "GlobalLpPool", "ReduceL2", "ReduceSum"} or counts:
            source = source.zeros_only()
        return self._keep(node, source)

    def reduction(self, node: ir.Node) -> bool:
        """Over height and width only."""
        source, axes = node.inputs[0], integers(node, "axes", 1)
        if source is None or source.shape is None or not axes:
            return False
        rank = source.shape.rank()
        return all(axis % rank > 1 for axis in axes) and self.pool(node)

    def slice(self, node: ir.Node) -> bool:
        """Of pixels only."""
        source, axes = node.inputs[0], integers(node, "axes", 3)
        if source is None or source.shape is None or not axes:
            return False
        rank = source.shape.rank()
        return all(axis % rank != 1 for axis in axes) and self.pool(node)

    def padding(self, node: ir.Node) -> bool:
        """Zeros at the borders of images, and channels of zeros."""
        source, pads = self._read(node.inputs[0]), integers(node, "pads", 1)
        half = len(pads) // 2
        if source is None or half < 2 or has(node, 3) or pads[0] or pads[half]:
            return False
        before, after = pads[1], pads[half + 1]
        widens, zeros = bool(before or after), pads_zeros(node)
        if min(before, after) < 0 or (widens and not zeros):
            return False
        constants = (
            "mode" not in node.attributes or node.attributes["mode"].as_string() == "constant"
        )
        if any(pads[axis] for axis in range(len(pads)) if axis % half > 1) and constants:
            source = source.zeros_only() if zeros else source.varying()
        if not widens:
            return self._keep(node, source)
        first, last = self._new(before), self._new(after)
        self.edits.append(Padding(node, first, last))
        classes = np.concatenate([first, source.classes, last])
        fixed = np.concatenate([np.zeros(before), source.fixed, np.zeros(after)])
        return self._keep(node, Lanes(classes, fixed))

    def flatten(self, node: ir.Node) -> bool:
        """Images to features: as many to a channel as an image has pixels."""
        value, result = node.inputs[0], node.outputs[0].shape
        source = self._read(value)
        if source is None or value is None or value.shape is None or result is None:
            return False
        pixels = [size for size in value.shape.dims[2:] if isinstance(size, int)]
        if result.rank() != 2 or len(pixels) < value.shape.rank() - 2:
            return False
        width = prod(pixels)
        if result[1] != source.size * width:
            return False
        lanes = Lanes(np.repeat(source.classes, width), np.repeat(source.fixed, width))
        if node.op_type == "Reshape":
            if constant(node.inputs[1]) is None:
                return False
            self.edits.append(Target(node, lanes.classes))
        return self._keep(node, lanes)


_RULES: dict[str, Callable[[Flow, ir.Node], bool]] = {
    **dict.fromkeys(UNARY | BINARY | TRANSPARENT, Flow.pointwise),
    **dict.fromkeys(POOLS, Flow.pool),
    **dict.fromkeys(REDUCTIONS, Flow.reduction),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze"), Flow.flatten),
    "BatchNormalization": Flow.norm,
    "Concat": Flow.concat,
    "Conv": Flow.convolution,
    "Dropout": Flow.pool,
    "Gemm": Flow.dense,
    "MatMul": Flow.dense,
    "Pad": Flow.padding,
    "Slice": Flow.slice,
}
