"""The operations of a network as they are put together, node by node."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from math import prod

import numpy as np
import onnx_ir as ir

from mlcnn.engines.native.activations import FUNCTIONS, Activation, function_of, gate_of
from mlcnn.engines.native.algorithms import Chooser
from mlcnn.engines.native.choice import Asked
from mlcnn.engines.native.codes import Coded
from mlcnn.engines.native.comparator_steps import Comparison
from mlcnn.engines.native.convolution import implement
from mlcnn.engines.native.geometry import Geometry, geometry_of, rows_fit
from mlcnn.engines.native.kinds import Kind
from mlcnn.engines.native.library import Library, Map, Op
from mlcnn.engines.native.packing import Group, Packing
from mlcnn.engines.native.planes import keep_planes
from mlcnn.engines.native.program import Floats, Operation, Part, Value, standard_lanes
from mlcnn.engines.native.reading import (
    MAP_RANK,
    Shape,
    bounds_of,
    constant_of,
    dense_strides,
    padded,
    refusal,
    shape_of,
    sizes_of,
)
from mlcnn.errors import UnsupportedError
from mlcnn.graph import QUANTIZE, constant, is_quantiser, is_standard, layer_name
from mlcnn.graph.operators import conv_windows
from mlcnn.nn.site import Site, site_of
from mlcnn.workload import operand_bits

__all__ = ["Builder", "Rule"]

_DENSE = 4  # channels of an input that is not laid out in blocks,
_IN_WEIGHTS = -2  # as a buffer: an array among the weights, as in kernels.c
_LARGE = 4096  # and its positions: below, blocks stay in the cache (LeNet-5 is slower without)
_ACTIVATING = frozenset({
    Op.CONV, Op.DEPTHWISE, Op.KEEP, Op.MAP, Op.MIX, Op.ROWS, Op.WINOGRAD
})  # fmt: skip


class Builder:
    """What is known while a network is lowered.

    A network's value stands for numbers in dense order, in blocks of any shape: reshaped ones
    stay as they are until blocks of their own shape are needed.

    Attributes:
        library: the kernels.
        choose: the algorithms of the convolutions.
        integers: whether layers between quantisers are computed in integers.
        rounded_means: whether means of codes that a convolution reads are rounded to codes.
        block: channels of a block.
        packing: how the kernels read weights.
        operations: those that are made so far.
        done: nodes that an operation before them computes along.
        codes: what values are, that are codes or stand for them.
        maps: what values are that have one number a position; see ``maps``.
        arrays: inputs that only a quantiser reads, as buffers: they are rounded as they lie there.
        compared: comparisons that make bits, by the value of these; see ``comparator``.
        uncoded: why values that quantisers make are no codes here.
        declined: why layers between quantisers are not computed in their codes, or not in few bits.
    """

    def __init__(
        self, model: ir.Model, library: Library, choose: Chooser, *,
        integers: bool = True, rounded_means: bool = False,
    ) -> None:  # fmt: skip
        """Begin with a network's inputs."""
        self.library, self.choose = library, choose
        self.integers, self.rounded_means = integers, rounded_means
        self.block, self.packing = library.block, Packing(library.block, library.group)
        self.operations: list[Operation] = []
        self.done: set[ir.Node] = set()
        self.codes: dict[ir.Value, Coded] = {}
        self.maps: dict[ir.Value, Value] = {}
        self.arrays: dict[ir.Value, int] = {}
        self.compared: dict[Value, Comparison] = {}
        self.uncoded: dict[ir.Value, str] = {}
        self.declined: dict[ir.Node, str] = {}
        self._opsets = model.opset_imports
        self._outputs = list(model.graph.outputs)
        self._values: dict[ir.Value, Value] = {}
        self._convolutions: list[tuple[Asked, Callable[[Kind, float], None]]] = []
        self._inputs = [value for value in model.graph.inputs if not value.is_initializer()]
        for index, value in enumerate(self._inputs):
            if value.dtype == ir.DataType.BOOL and len(value.shape or ()) == MAP_RANK:
                self.maps[value] = self._flags(value, index)
                continue
            if self._is_quantised(value) and value.consumers()[0].graph is model.graph:
                self.arrays[value] = index
            else:
                self._pack(value, index)

    def finish(self) -> list[Operation]:
        """All operations, with those that write the network's outputs."""
        kinds = self.choose([asked for asked, _ in self._convolutions])
        for kind, ratio, (_, complete) in zip(
            kinds, self.choose.ratios, self._convolutions, strict=True
        ):
            complete(kind, ratio)
        for index, value in enumerate(self._outputs, len(self._inputs)):
            self._move(Op.UNPACK, self.value_of(value, f"output {value.name!r}"), index)
        keep_planes(self.operations, self.block)
        for node, reason in self.declined.items():  # layers that have no choice
            self.choose.notes.append(f"native: {layer_name(node)} is computed in floats: {reason}")
        return self.operations

    def convolution(self, site: Site, operation: Operation, part: Group) -> None:
        """Say that an operation is a convolution, whose algorithm is chosen when all are known."""
        geometry = geometry_of(operation, part)
        self.choice(
            site, geometry,
            lambda kind, ratio: implement(operation, geometry, part, kind, self.library, ratio),
        )  # fmt: skip

    def choice(
        self, site: Site, geometry: Geometry, complete: Callable[[Kind, float], None]
    ) -> None:
        """Say that a layer has several algorithms; ``complete`` is told which one is taken."""
        reason = self.declined.pop(site.node, "")
        few = geometry.few
        bits = operand_bits(site.node)
        if few is not None and not bits.sums:
            bits = few.numbers
        asked = Asked(layer_name(site.node), geometry, bits, reason)
        self._convolutions.append((asked, complete))

    def decline(self, site: Site, reason: str) -> bool:
        """Say why a layer is not computed in codes, or in few bits; nothing where it is empty.

        Returns:
            False: see the rules of quantised layers.
        """
        if reason:
            self.declined[site.node] = reason
        return False

    def site(self, node: ir.Node) -> Site:
        """A node of this network."""
        return site_of(node, self._opsets)

    # -- values

    def _pack(self, value: ir.Value, buffer: int) -> None:
        """Lay an input out in blocks."""
        packed = self._values[value] = self._input(value)
        self._move(Op.PACK, packed, buffer)

    def _input(self, value: ir.Value) -> Value:
        """An input of few channels stays dense if most lanes of blocks would be of no use.

        That is if it is large, or read by few filters.
        """
        shape = shape_of(value, f"input {value.name!r}")
        readers = [self.site(reader) for reader in value.consumers()]
        plain = all(
            reader.node.op_type == "Conv" and reader.spec.integer("group", 1) == 1
            for reader in readers
        )
        if not (readers and plain) or shape[1] > _DENSE or value in self._outputs:
            return self.new(shape)
        large = shape[2] * shape[3] >= _LARGE
        if not large and not all(self._few_filters(reader, shape) for reader in readers):
            return self.new(shape)
        made = self.new(shape, (1,) * shape[1])
        made.dense = True
        return made

    def _flags(self, value: ir.Value, buffer: int) -> Value:
        """An input of flags, a byte each."""
        sizes = tuple(size for size in value.shape or () if isinstance(size, int))
        if len(sizes) != MAP_RANK or sizes[1] != 1 or 0 in sizes:
            raise UnsupportedError(
                f"native: input {value.name!r}: flags of shape {value.shape or '?'}; it takes "
                "masks (N, 1, H, W); use engine 'onnxruntime'"
            )
        images, _, rows, columns = sizes
        made = Value(images, (1,), rows, columns, dense=True)
        self.operations.append(Operation(Op.MAPS, None, Part(made), None, {
            "mode": Map.FLAGS, "images": images, "rows": rows, "columns": columns,
            "buffer": buffer,
        }, strides=dense_strides(made.shape)))  # fmt: skip
        return made

    def _few_filters(self, site: Site, shape: Shape) -> bool:
        """Whether the results of a row are lanes in a convolution of an input."""
        weight = constant(site.node.inputs[1])
        if weight is None or len(weight.shape) != 4:
            return False
        windows = conv_windows(site.spec, weight.shape[2:])
        columns = windows.counts(shape[2:])[1]
        return rows_fit(weight.shape[0], columns, windows.strides[1], self.block)

    def new(self, shape: Shape, lanes: tuple[int, ...] | None = None) -> Value:
        """A value in blocks; by default all but the last are full."""
        images, channels, rows, columns = shape
        return Value(images, lanes or standard_lanes(channels, self.block), rows, columns)

    def put(self, site: Site, result: ir.Value, made: Value) -> None:
        """Say what a network's value stands for: as many numbers as its shape says."""
        sizes = sizes_of(result, site.spec.where)
        if prod(sizes) != prod(made.shape):
            raise refusal(site, f"shape {list(made.shape)} where {list(sizes)} is expected")
        self._values[result] = made

    def value_of(self, value: ir.Value | None, where: str) -> Value:
        """What a network's value stands for."""
        found = None if value is None else self._values.get(value)
        if found is None and value in self.maps:
            given = self.maps[value]
            found = self._values[value] = self.new(given.shape)
            self._move(Op.PACK, found, -1, given)
        if found is None and value in self.codes:
            found = self._values[value] = self._numbers(self.codes[value])
        if found is None:
            what = "nothing" if value is None else "a constant"
            raise UnsupportedError(
                f"native: {where}: it reads {what} where images are needed; use engine "
                "'onnxruntime'"
            )
        return found

    def _numbers(self, coded: Coded) -> Value:
        """What codes stand for, as floats."""
        source = coded.value
        made = self.new(source.shape, source.lanes)
        self.operations.append(Operation(Op.DEQUANTISE, Part(source), Part(made), None, {
            "images": source.images, "blocks": len(source.lanes), "rows": source.rows,
            "columns": source.columns, "zero": coded.coding.zero, "ratio": coded.coding.step,
            "mode": int(source.item_bytes > 1),
        }))  # fmt: skip
        return made

    def map_of(self, value: Value) -> Value:
        """The same numbers, of one channel, in rows side by side."""
        made = Value(value.images, (1,), value.rows, value.columns, dense=True)
        self._move(Op.UNPACK, value, -1, made)
        return made

    def known(self, value: ir.Value | None) -> Value | None:
        """The same, None where it is not computed yet."""
        return None if value is None else self._values.get(value)

    def blocked(self, site: Site, index: int) -> Value:
        """A node's input in blocks of its own shape."""
        value = site.value(index)
        found = self.value_of(value, site.spec.where)
        if value is not None:
            found = self._values[value] = self.shaped(found, shape_of(value, site.spec.where))
        return found

    def shaped(self, value: Value, shape: Shape) -> Value:
        """The same numbers in blocks of another shape."""
        return value if value.shape == shape else self.rearranged(value, shape)

    def _move(
        self, op: Op, value: Value, buffer: int, scratch: Value | None = None,
        strides: Shape | None = None,
    ) -> None:  # fmt: skip
        """Between blocks and a dense array: a buffer, or a value of our own."""
        part, array = Part(value), None if scratch is None else Part(scratch)
        operation = Operation(
            op, x=part if op == Op.UNPACK else None, y=part if op == Op.PACK else None, z=array,
            fields={
                "images": value.images, "blocks": len(value.lanes), "buffer": buffer,
                "rows": value.rows, "columns": value.columns,
            },
            strides=strides or dense_strides(value.shape),
            constants={"lanes": np.array(value.lanes, np.int32)},
        )  # fmt: skip
        self.operations.append(operation)

    def rearranged(
        self, value: Value, shape: Shape, lanes: tuple[int, ...] | None = None,
        strides: Shape | None = None,
    ) -> Value:  # fmt: skip
        """The same numbers in another shape, order or other blocks.

        Args:
            value: what to copy.
            shape: the result's.
            lanes: the result's; by default full blocks.
            strides: of the result's axes in the dense order of ``value``, 0 along those that
                repeat it; by default the dense order stays.
        """
        made = self.new(shape, lanes)
        self._rearrange(value, made, strides)
        return made

    def _rearrange(self, value: Value, made: Value, strides: Shape | None = None) -> None:
        scratch = Value(1, (self.block,), 1, -(-prod(value.shape) // self.block))
        self._move(Op.UNPACK, value, -1, scratch)
        self._move(Op.PACK, made, -1, scratch, strides)

    def array(self, site: Site, index: int) -> Value:
        """A node's input, a constant too."""
        array = constant_of(site.value(index))
        if array is None:
            return self.value_of(site.value(index), site.spec.where)
        made = self.new(padded(sizes_of(site.value(index), site.spec.where)))
        self._move(Op.PACK, made, _IN_WEIGHTS)
        self.operations[-1].constants["weights"] = array
        return made

    def copy(self, value: Value, made: Value) -> None:
        """Write a value's numbers to another one, in its blocks."""
        if (value.shape, value.lanes) == (made.shape, made.lanes) and not value.root()[0].dense:
            self.operations.append(self.map(Part(value), Part(made)))
        else:
            self._rearrange(value, made)

    @contextmanager
    def scope(self) -> Generator[None]:
        """What is computed inside may not be there outside."""
        values, codes = dict(self._values), dict(self.codes)
        yield
        self._values, self.codes = values, codes

    def copied(self, value: Value) -> Value:
        """A copy in the same blocks."""
        made = self.new(value.shape, value.lanes)
        self.operations.append(self.map(Part(value), Part(made)))
        return made

    # -- operations

    def only_reader(self, value: ir.Value) -> ir.Node | None:
        """The node that reads a value, where nothing else does."""
        readers = value.consumers()
        return readers[0] if len(readers) == 1 and value not in self._outputs else None

    def is_output(self, value: ir.Value) -> bool:
        """Whether a value is a result of the network."""
        return value in self._outputs

    def _is_quantised(self, value: ir.Value) -> bool:
        """Whether a value is rounded to codes, and nothing else is done with it."""
        reader = self.only_reader(value)
        return reader is not None and is_quantiser(reader, QUANTIZE)

    def gate(self, site: Site) -> Activation | None:
        """SiLU or HardSwish, if a node is a part of it; see ``gate_of``."""
        return gate_of(site, self._outputs)

    def activation(self, result: ir.Value) -> Activation | None:
        """What is done with a value that nothing else reads, if its maker can do it."""
        if result in self._outputs:
            return None
        readers = [self.site(reader) for reader in result.consumers()]
        if len(readers) == 2:  # a gate, and its product with the value
            found = next(filter(None, map(self.gate, readers)), None)
            nodes = {reader.node for reader in readers}
            return found if found is not None and set(found.nodes) == nodes else None
        if len(readers) != 1 or not is_standard(readers[0].node):
            return None
        (reader,) = readers
        bounded = bounds_of(reader) is not None
        if not bounded and reader.node.op_type not in FUNCTIONS:
            return None
        if bounded and self.integers and self._is_quantised(reader.node.outputs[0]):
            return None  # whoever rounds it needs to know the bounds of the codes
        return Activation((reader.node,), reader.node.outputs[0], function_of(reader))

    def end(self, site: Site, operation: Operation, result: ir.Value, made: Value) -> None:
        """Add a node's last operation, and let it do what only is done with the result."""
        found = self.activation(result)
        if found is not None and (operation.op in _ACTIVATING or "low" in found.fields):
            operation.fields |= found.fields
            self.done.update(found.nodes)
            result = found.result
        self.operations.append(operation)
        self.put(site, result, made)

    def map(
        self, x: Part, y: Part, fields: dict[str, int | float] | None = None,
        scale: Floats | None = None, shift: Floats | None = None,
    ) -> Operation:  # fmt: skip
        """f(scale x + shift); it is not added yet."""
        lanes, channels = x.value.lanes, x.value.channels
        ones = np.ones(channels, np.float32) if scale is None else scale
        zeros = np.zeros(channels, np.float32) if shift is None else shift
        return Operation(Op.MAP, x, y, None, {
            "images": x.value.images, "blocks": len(lanes),
            "rows": x.value.rows, "columns": x.value.columns, **(fields or {}),
        }, {
            "weights": self.packing.per_lane(ones, lanes),
            "biases": self.packing.per_lane(zeros, lanes),
        })  # fmt: skip


Rule = Callable[[Builder, Site], None]
"""Lowers one node."""
