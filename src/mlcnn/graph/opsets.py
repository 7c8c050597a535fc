"""Older opsets to opset 20, node by node.

Each rule rewrites one operator whose meaning or form changed with a version; every other change
between opsets 9 and 20 only admits more (types, attributes with the old meaning as default).
onnx's own converter is not used: it turns a ``Resize`` of opset 10 into one that samples
elsewhere, gives half-precision clips single-precision bounds, and drops the metadata of nodes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from mlcnn.errors import UnsupportedError
from mlcnn.graph.names import constant, layer_name

__all__ = ["OPSET", "upgrade"]

OPSET = 20
_REDUCTIONS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
)
_BODIES = ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS


@dataclass(slots=True)
class _Site:
    """One node under conversion, in the graph or function that holds it."""

    node: ir.Node
    container: ir.Graph | ir.Function
    added: int = field(default=0)

    def attribute(self, name: str) -> ir.Attr | None:
        """Take an attribute off the node; None if it has none."""
        found = self.node.attributes.pop(name, None)
        if found is not None and found.is_ref():
            raise UnsupportedError(
                f"{self.node.op_type} {layer_name(self.node)!r} takes its attribute {name!r} from "
                f"the call of a function: convert the model to opset {OPSET} first"
            )
        return found

    def insert(
        self, op_type: str, inputs: Sequence[ir.Value | None], *attributes: ir.Attr
    ) -> ir.Value:
        """A new node before this one; returns its output."""
        self.added += 1
        base = next((output.name for output in self.node.outputs if output.name), "value")
        name = f"{base}/{op_type}_{self.added}"
        node = ir.Node(
            "",
            op_type,
            inputs,
            attributes,
            name=f"{self.node.name or base}/{op_type}_{self.added}",
            metadata_props=dict(self.node.metadata_props),
        )
        node.outputs[0].name = name
        self.container.insert_before(self.node, node)
        return node.outputs[0]

    def constant(self, array: np.ndarray) -> ir.Value:
        """A new constant before the node."""
        tensor = ir.tensor(array)
        value = self.insert("Constant", [], ir.AttrTensor("value", tensor))
        value.shape, value.dtype = ir.Shape(tensor.shape.numpy()), tensor.dtype
        return value

    def integers(self, name: str) -> ir.Value | None:
        """An attribute of integers as a constant; None if the node has none."""
        found = self.attribute(name)
        return None if found is None else self.constant(np.asarray(found.as_ints(), np.int64))

    def number(self, name: str) -> ir.Value | None:
        """An attribute that is one float, as a constant of the type of the node's input."""
        found = self.attribute(name)
        if found is None:
            return None
        source = self.node.inputs[0]
        dtype = None if source is None else source.dtype
        if dtype is None or not dtype.is_floating_point():
            dtype = ir.DataType.FLOAT
        return self.constant(np.asarray(found.as_float(), dtype.numpy()))

    def inputs(self, *inputs: ir.Value | None) -> None:
        """Give the node these inputs."""
        self.node.resize_inputs(len(inputs))
        for index, value in enumerate(inputs):
            self.node.replace_input_with(index, value)


_Rule = Callable[[_Site], None]
_RULES: dict[tuple[str, int], _Rule] = {}


def _rule(version: int, *op_types: str) -> Callable[[_Rule], _Rule]:
    """Register a rule for nodes of an opset older than ``version``."""

    def register(rule: _Rule) -> _Rule:
        for op_type in op_types:
            _RULES[op_type, version] = rule
        return rule

    return register


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


@_rule(10, "Slice")
def _slice(site: _Site) -> None:
    starts, ends, axes = (site.integers(name) for name in ("starts", "ends", "axes"))
    site.inputs(site.node.inputs[0], starts, ends, axes)


@_rule(10, "TopK")
def _top_k(site: _Site) -> None:
    count = site.attribute("k")
    value = site.constant(np.asarray([count.as_int() if count else 0], np.int64))
    site.inputs(site.node.inputs[0], value)


@_rule(10, "Upsample")
def _upsample(site: _Site) -> None:
    site.node.op_type = "Resize"


@_rule(11, "Resize")
def _resize(site: _Site) -> None:
    scales = _input(site.node, 1)
    factors = constant(scales)
    shrinks = factors is not None and bool((factors <= 1).all() and (factors < 1).any())
    site.inputs(site.node.inputs[0], None, scales)
    attributes = site.node.attributes
    attributes["coordinate_transformation_mode"] = ir.AttrString(
        "coordinate_transformation_mode", "asymmetric"
    )
    attributes["nearest_mode"] = ir.AttrString("nearest_mode", "ceil" if shrinks else "floor")


@_rule(13, "Resize")
def _resize_by_sizes(site: _Site) -> None:
    # With sizes, opset 11 still wanted scales: an empty tensor, which opset 13 forbids.
    if _input(site.node, 3) is not None:
        site.node.replace_input_with(2, None)


@_rule(11, "Clip")
def _clip(site: _Site) -> None:
    low, high = site.number("min"), site.number("max")
    site.inputs(site.node.inputs[0], low, high)


@_rule(11, "Pad")
def _pad(site: _Site) -> None:
    pads, value = site.integers("pads"), site.number("value")
    site.inputs(site.node.inputs[0], pads, value)


@_rule(11, "Scatter")
def _scatter(site: _Site) -> None:
    site.node.op_type = "ScatterElements"


@_rule(12, "Dropout")
def _dropout(site: _Site) -> None:
    ratio = site.number("ratio")
    site.inputs(site.node.inputs[0], ratio)


@_rule(13, "Softmax", "LogSoftmax", "Hardmax")
def _softmax(site: _Site) -> None:
    """Until opset 13 the axes from ``axis`` on were flattened into one."""
    node, given = site.node, site.attribute("axis")
    axis = 1 if given is None else given.as_int()
    source = node.inputs[0]
    shape = None if source is None else source.shape
    if shape is not None:
        axis += shape.rank() if axis < 0 else 0
        if all(size == 1 for size in shape.dims[axis + 1 :]):
            node.attributes["axis"] = ir.AttrInt64("axis", axis)
            return
    if axis < 0:
        raise UnsupportedError(
            f"{node.op_type} {layer_name(node)!r} has axis {axis} and an input of unknown rank: "
            f"convert the model to opset {OPSET} first"
        )
    node.attributes["axis"] = ir.AttrInt64("axis", -1)
    dimensions = site.insert("Shape", [source])
    flat = site.insert("Flatten", [source], ir.AttrInt64("axis", axis))
    node.replace_input_with(0, flat)
    _append_reshape(site, dimensions)


def _append_reshape(site: _Site, dimensions: ir.Value) -> None:
    """Give the node's output back the shape it had; the output keeps its name."""
    node = site.node
    copy = ir.Node(
        "",
        node.op_type,
        node.inputs,
        list(node.attributes.values()),
        name=node.name,
        metadata_props=dict(node.metadata_props),
    )
    copy.outputs[0].name = f"{node.outputs[0].name}/flat"
    site.container.insert_before(node, copy)
    node.op_type = "Reshape"
    node.name = f"{node.name}/Reshape" if node.name else None  # two of one name: engines refuse
    node.attributes.clear()
    site.inputs(copy.outputs[0], dimensions)


@_rule(13, "Squeeze", "Unsqueeze", "ReduceSum")
@_rule(18, *_REDUCTIONS)
def _axes(site: _Site) -> None:
    axes = site.integers("axes")
    if axes is not None:
        site.inputs(site.node.inputs[0], axes)


@_rule(13, "Split")
def _split(site: _Site) -> None:
    sizes = site.integers("split")
    if sizes is not None:
        site.inputs(site.node.inputs[0], sizes)


@_rule(18, "Split")
def _split_evenly(site: _Site) -> None:
    if _input(site.node, 1) is None:
        count = len(site.node.outputs)
        site.node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", count)


@_rule(14, "BatchNormalization")
def _batch_norm(site: _Site) -> None:
    node = site.node
    used = [output for output in node.outputs[1:] if output.uses() or output.is_graph_output()]
    if used:
        raise UnsupportedError(
            f"BatchNormalization {layer_name(node)!r} is in training mode (its output "
            f"{used[0].name!r} is used); export the network for inference: module.eval()"
        )
    node.resize_outputs(1)


@_rule(16, "RoiAlign")
def _roi_align(site: _Site) -> None:
    name = "coordinate_transformation_mode"
    site.node.attributes.setdefault(name, ir.AttrString(name, "output_half_pixel"))


@_rule(20, "GridSample")
def _grid_sample(site: _Site) -> None:
    renamed = {"bilinear": "linear", "bicubic": "cubic"}
    mode = site.attribute("mode")
    text = "linear" if mode is None else renamed.get(mode.as_string(), mode.as_string())
    site.node.attributes["mode"] = ir.AttrString("mode", text)


@_rule(20, "DFT")
def _dft(site: _Site) -> None:
    axis = site.attribute("axis")
    value = site.constant(np.asarray(1 if axis is None else axis.as_int(), np.int64))
    site.inputs(site.node.inputs[0], _input(site.node, 1), value)


def upgrade(model: ir.Model) -> None:
    """Bring a network of opset 9 to 19 to opset 20, in place; a newer one stays as it is.

    Operators of other domains are not touched; bodies of ``If``, ``Loop`` and ``Scan`` and
    functions are converted too.

    Args:
        model: the network, with inferred shapes.

    Raises:
        UnsupportedError: a node cannot be expressed in opset 20; names it.
    """
    opset = model.opset_imports.get("", OPSET)
    if opset < OPSET:
        _upgrade_nodes(model.graph, opset)
    for function in model.functions.values():
        version = function.opset_imports.get("", opset)
        if version < OPSET:
            _upgrade_nodes(function, version)
            function.opset_imports[""] = OPSET
    model.opset_imports[""] = max(opset, OPSET)


def _upgrade_nodes(container: ir.Graph | ir.Function, opset: int) -> None:
    for node in tuple(container):
        for attribute in node.attributes.values():
            if attribute.is_ref() or attribute.type not in _BODIES:
                continue
            is_one = attribute.type == ir.AttributeType.GRAPH
            for graph in [attribute.as_graph()] if is_one else attribute.as_graphs():
                _upgrade_nodes(graph, opset)
        if node.domain == "":
            node.version = None
            for version in range(opset + 1, OPSET + 1):
                rule = _RULES.get((node.op_type, version))
                if rule is not None:
                    rule(_Site(node, container))
