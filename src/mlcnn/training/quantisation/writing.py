"""A network with its weights as codes, and ``QuantizeLinear``/``DequantizeLinear`` pairs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import (
    DEQUANTIZE,
    QUANTIZE,
    clone,
    constant,
    free_name,
    infer_shapes,
    pad_codes,
    value_names,
)
from mlcnn.training.quantisation.grid import Floats, Grid
from mlcnn.training.quantisation.placement import is_fused_mean

__all__ = ["LayerCodes", "mark", "read_value", "write"]


@dataclass(frozen=True, slots=True, eq=False)
class LayerCodes:
    """The weights of a layer as codes; ``steps * codes``.

    Attributes:
        codes: shaped as the weight.
        steps: one for each filter, or one for all.
        axis: of the filters.
        bias: in floats, shape (filters,); None where the layer has none.
        index: which input of the node is the weight; the bias is the next one.
        own_steps: whether sums are in steps of the weights alone, so that the bias stays in floats.
    """

    codes: NDArray[np.int8]
    steps: Floats
    axis: int
    bias: Floats | None
    index: int = 1
    own_steps: bool = False


def write(
    model: ir.Model,
    grids: Mapping[str, Grid],
    layers: Mapping[str, LayerCodes],
    *,
    rounded_biases: bool = True,
    only_for: Collection[str] | None = None,
    for_sums: bool = False,
) -> ir.Model:
    """The quantised network.

    Args:
        model: the network in floats; it is not changed.
        grids: of the values that are rounded, by name.
        layers: by the name of the layer's output.
        rounded_biases: store biases as int32 codes in steps of input and weight, as engines that
            compute in integers round them anyway; else in floats.
        only_for: names of the outputs of the nodes that read rounded values; None for all nodes.
            Biases are added behind the layers then: ONNX Runtime would round them to steps of the
            products, which are coarse where codes have few bits.
        for_sums: whether, with ``only_for``, all others read rounded values too, so that nothing
            but codes lies in memory.
    """
    writer = _Writer(clone(model))
    values = {v.name or "": v for v in writer.model.graph.inputs}
    values |= {v.name or "": v for node in writer.model.graph for v in node.outputs}
    nodes = {n.outputs[0].name or "": n for n in writer.model.graph}
    read = {name: read_value(nodes[name], grids) for name in layers}
    for name, codes in layers.items():
        rounded = rounded_biases and only_for is None and not codes.own_steps
        value = read[name] if rounded else None
        writer.put_layer(nodes[name], codes, None if value is None else grids[value].step)
    for name, grid in grids.items():
        writer.put_rounding(values[name], grid, None if for_sums else only_for)
    if only_for is not None:
        for name, codes in layers.items():
            writer.add_bias_behind(nodes[name], codes.index + 1)
    written = pad_codes(writer.model)
    infer_shapes(written)
    return written


def mark(
    model: ir.Model, names: Collection[str], only_for: Collection[str] | None = None
) -> tuple[ir.Model, dict[str, str]]:
    """A network with ``Identity`` where values would be rounded.

    Args:
        model: the network in floats; it is not changed.
        names: of the values.
        only_for: see ``write``.

    Returns:
        The network, and the name of the ``Identity``'s output for each value.
    """
    writer = _Writer(clone(model))
    values = {v.name or "": v for v in writer.model.graph.inputs}
    values |= {v.name or "": v for node in writer.model.graph for v in node.outputs}
    marks = {name: writer.put_mark(values[name], only_for) for name in names}
    return writer.model, marks


def read_value(node: ir.Node, names: Collection[str]) -> str | None:
    """Which of these a layer reads, through what only moves codes; None if it reads no such."""
    value = node.inputs[0]
    while value is not None:
        if value.name in names:
            return value.name
        maker = value.producer()
        value = None if maker is None else maker.inputs[0]
    return None


def _readers(value: ir.Value, only_for: Collection[str] | None) -> list[tuple[ir.Node, int]]:
    """Who reads a value, and as which input; all, or those whose outputs have these names."""
    return [
        (use.node, use.idx)
        for use in value.uses()
        if only_for is None or use.node.outputs[0].name in only_for
    ]


class _Writer:
    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._taken = value_names(model)
        self._stored: dict[tuple[str, int], ir.Value] = {}

    def _constant(self, array: NDArray[np.generic], wanted: str) -> ir.Value:
        name = free_name(wanted, self._taken)
        value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        self.model.graph.register_initializer(value)
        return value

    def _node(self, kind: str, inputs: list[ir.Value], name: str, **attributes: int) -> ir.Node:
        given = [ir.AttrInt64(key, number) for key, number in attributes.items()]
        node = ir.Node("", kind, inputs, given, name=name)
        node.outputs[0].name = free_name(name, self._taken)
        return node

    def _dequantised(
        self, codes: NDArray[np.generic], steps: Floats, axis: int, wanted: str, before: ir.Node
    ) -> ir.Value:
        zeros = np.zeros(steps.shape, codes.dtype)
        inputs = [
            self._constant(codes, f"{wanted}_quantized"),
            self._constant(steps, f"{wanted}_scale"),
            self._constant(zeros, f"{wanted}_zero_point"),
        ]
        attributes = {"axis": axis} if steps.ndim else {}
        node = self._node(DEQUANTIZE, inputs, f"{wanted}_{DEQUANTIZE}", **attributes)
        self.model.graph.insert_before(before, node)
        node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        node.outputs[0].shape = ir.Shape(codes.shape)
        return node.outputs[0]

    def put_layer(self, node: ir.Node, codes: LayerCodes, step: float | None) -> None:
        """Store a layer's weights as codes, and its bias if ``step``, that of its input, is."""
        at = codes.index
        weight = node.inputs[at]
        wanted = "" if weight is None else weight.name or ""
        key = wanted, codes.axis
        if key not in self._stored:
            self._stored[key] = self._dequantised(
                codes.codes, codes.steps, codes.axis, wanted, self._first(weight, node)
            )
        node.replace_input_with(at, self._stored[key])
        self._drop(weight)
        if codes.bias is None:
            return
        bias = codes.bias
        before = node.inputs[at + 1] if len(node.inputs) > at + 1 else None
        named = f"{wanted.removesuffix('weight')}bias" if before is None else before.name or ""
        if len(node.inputs) < at + 2:
            node.resize_inputs(at + 2)
        node.replace_input_with(at + 1, self._bias(codes.steps, bias, step, named, node))
        self._drop(before)

    def _bias(
        self, steps: Floats, bias: Floats, step: float | None, named: str, node: ir.Node
    ) -> ir.Value:
        if step is None:
            return self._constant(bias, named)
        scales = np.broadcast_to(np.float32(step) * steps, bias.shape).astype(np.float32)
        rounded = np.rint(bias.astype(np.float64) / scales)
        if np.abs(rounded).max(initial=0) >= 2**31:  # a filter of weights near 0
            return self._constant(bias, named)
        return self._dequantised(rounded.astype(np.int32), scales, 0, named, node)

    def add_bias_behind(self, node: ir.Node, at: int) -> None:
        """Let an operator of its own add the bias of a layer, which is this input of it."""
        value = node.inputs[at] if len(node.inputs) > at else None
        bias, shape = constant(value), node.outputs[0].shape
        beta = node.attributes.get("beta")
        scaled = beta is not None and beta.as_float() != 1
        if bias is None or value is None or shape is None or scaled:
            return
        spread = bias.reshape(-1, *[1] * (shape.rank() - 2))
        output = node.outputs[0]
        name = output.name or ""
        output.name = free_name(f"{name}_without_bias", self._taken)
        node.resize_inputs(at)
        self._drop(value)
        added = ir.Node("", "Add", [output, self._constant(spread, value.name or f"{name}_bias")])
        added.outputs[0].name = name
        added.outputs[0].type, added.outputs[0].shape = output.type, shape
        added.metadata_props.update(node.metadata_props)
        ir.convenience.replace_all_uses_with(output, added.outputs[0], True)
        added.replace_input_with(0, output)
        self.model.graph.insert_after(node, added)

    def put_rounding(
        self, value: ir.Value, grid: Grid, only_for: Collection[str] | None = None
    ) -> None:
        """Round a value for those that read it."""
        name, readers = value.name or "", _readers(value, only_for)
        step = self._constant(np.array(grid.step, np.float32), f"{name}_scale")
        zero = self._constant(np.array(grid.zero, np.uint8), f"{name}_zero_point")
        source, nodes = value, list[ir.Node]()
        if grid.bits < 8:
            ends = [
                self._constant(np.array(end, np.float32), f"{name}_{kind}")
                for kind, end in (("least", grid.low), ("most", grid.high))
            ]
            nodes.append(self._node("Clip", [value, *ends], f"{name}_Clip"))
            source = nodes[-1].outputs[0]
            source.type, source.shape = value.type, value.shape
        enter = self._node(QUANTIZE, [source, step, zero], f"{name}_{QUANTIZE}")
        enter.outputs[0].type = ir.TensorType(ir.DataType.UINT8)
        leave = self._node(DEQUANTIZE, [enter.outputs[0], step, zero], f"{name}_{DEQUANTIZE}")
        leave.outputs[0].type = value.type
        for made in (enter, leave):
            made.outputs[0].shape = value.shape
        self._insert(value, [*nodes, enter, leave], readers)

    def put_mark(self, value: ir.Value, only_for: Collection[str] | None) -> str:
        """Let an ``Identity`` stand where a value would be rounded; the name of its output."""
        readers = _readers(value, only_for)
        node = self._node("Identity", [value], f"{value.name}_mark")
        node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
        self._insert(value, [node], readers)
        return node.outputs[0].name or ""

    def _insert(
        self, value: ir.Value, nodes: Sequence[ir.Node], readers: Sequence[tuple[ir.Node, int]]
    ) -> None:
        """Nodes behind a value; those that read it read the last one."""
        for node, index in readers:
            node.replace_input_with(index, nodes[-1].outputs[0])
        producer = value.producer()
        if producer is not None and is_fused_mean(producer):
            for node in nodes:  # inside of a layer: they belong to it
                node.metadata_props.update(producer.metadata_props)
        if producer is None:
            first = next(iter(self.model.graph))
            self.model.graph.insert_before(first, nodes)
        else:
            self.model.graph.insert_after(producer, nodes)

    def _first(self, weight: ir.Value | None, node: ir.Node) -> ir.Node:
        """Where a weight is read first: layers may share it."""
        readers = set() if weight is None else {use.node for use in weight.uses()}
        return next((each for each in self.model.graph if each in readers), node)

    def _drop(self, value: ir.Value | None) -> None:
        """Take out a constant that nothing reads any more."""
        if value is None or constant(value) is None or value.uses() or value.is_graph_output():
            return
        if value.is_initializer():
            del self.model.graph.initializers[value.name or ""]
