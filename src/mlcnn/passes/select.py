"""``select``: behind a head, layers compute the channels that its candidate classes need.

The head stands in the network as ``exit1``. The fewest classes with so much probability together
are candidates, and each mask is the union of their rows in a table [SeFAct 2019].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.graph import check, clone, infer_shapes, is_standard, layer_name
from mlcnn.graph import constant as constant_of
from mlcnn.ops import Convolution, Emitter, read_convolution
from mlcnn.ops.selected import KIND, SELECTED, read, select
from mlcnn.ops.selected.forms import Gathered
from mlcnn.passes.focus_forms import with_forms
from mlcnn.passes.rewriting import emitter_for, install, opset_of
from mlcnn.workload import RECORD_KEY, Record
from mlcnn.workload.sizes import with_sizes

__all__ = [
    "HEAD",
    "Place",
    "Selected",
    "for_one",
    "places",
    "selectable",
    "with_masks",
    "with_scales",
    "with_selection",
]

Flags = NDArray[np.bool_]

_ZERO_STAYS_ZERO = frozenset({"Identity", "LeakyRelu", "Relu"})
HEAD = "exit1"
"""Name of the head, an output."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where channels are masked.

    Attributes:
        value: name of the value.
        reader: the one layer that reads it so; empty where everything does.
    """

    value: str
    reader: str = ""


@dataclass(frozen=True, slots=True)
class Selected:
    """A convolution that can compute some of its channels.

    Attributes:
        layer: its name.
        reads: where its inputs are masked.
        writes: where its outputs are.
    """

    layer: str
    reads: Place
    writes: Place


def selectable(model: ir.Model, at: str) -> tuple[Selected, ...]:
    """The convolutions without groups behind a value.

    What one convolution alone reads has one mask, for it and for the layer that gives it.

    Args:
        model: the network, batch norms folded.
        at: name of the value.
    """
    layers = {layer.node: layer for layer in _behind(model, at)}
    found: list[Selected] = []
    alone: dict[ir.Node, Place] = {}
    for node, layer in layers.items():
        given = _given(node)
        (use, *others) = given.uses() or [None]
        place = Place(given.name or "")
        if use is not None and not others and use.node in layers and use.idx == 0:
            alone[use.node] = place
        else:
            place = Place(node.outputs[0].name or "")
        source = node.inputs[0]
        reads = alone.get(node) or Place("" if source is None else source.name or "", layer.name)
        found.append(Selected(layer.name, reads, place))
    return tuple(found)


def places(found: Sequence[Selected]) -> tuple[Place, ...]:
    """Where they are masked, each place once."""
    return tuple(dict.fromkeys(p for item in found for p in (item.reads, item.writes)))


def _behind(model: ir.Model, at: str) -> list[Convolution]:
    inside, found = set[ir.Value](), list[Convolution]()
    for node in model.graph:
        read_ = [value for value in node.inputs if value is not None]
        if any(value in inside or value.name == at for value in read_):
            inside.update(node.outputs)
            layer = read_convolution(node) if _is_conv(node) else ""
            if isinstance(layer, Convolution) and layer.groups == 1:
                found.append(layer)
    return found


def _is_conv(node: ir.Node) -> bool:
    return node.op_type == "Conv" and is_standard(node)


def _given(node: ir.Node) -> ir.Value:
    """What others read of a convolution, behind an activation that leaves zeros alone."""
    value = node.outputs[0]
    while len(value.uses()) == 1 and not value.is_graph_output():
        following = next(iter(value.uses())).node
        if following.op_type not in _ZERO_STAYS_ZERO or not is_standard(following):
            break
        value = following.outputs[0]
    return value


def with_scales(model: ir.Model, found: Sequence[Place]) -> ir.Model:
    """A network with an input ``scale<i>``, shape (N, C, 1, 1), for each place, which it scales.

    The derivative of anything by a scale of 1 is the relevance of the channel for it, and scales of
    0 and 1 are masks.

    Args:
        model: the network, or what of it stands behind a value.
        found: the places.
    """
    copied = clone(model)
    values = _values(copied)
    batch = copied.graph.inputs[0].shape
    # Those of all readers go last, so that they come in front of those of one.
    for place in sorted(found, key=lambda item: not item.reader):
        value = values[place.value]
        scale = ir.Value(
            name=f"scale{found.index(place)}",
            shape=ir.Shape([None if batch is None else batch.dims[0], _channels(value), 1, 1]),
            type=value.type,
        )
        product = ir.node("Mul", [value, scale], name=f"scaled{found.index(place)}")
        product.outputs[0].name = product.name
        product.outputs[0].shape, product.outputs[0].type = value.shape, value.type
        readers = [use for use in value.uses() if use.node is not product]
        for node, index in readers:
            if not place.reader or layer_name(node) == place.reader:
                node.replace_input_with(index, product.outputs[0])
        producer = value.producer()
        if producer is None:
            copied.graph.insert_before(copied.graph[0], product)
        else:
            copied.graph.insert_after(producer, product)
        copied.graph.inputs.append(scale)
    inputs = {value.name: value for value in copied.graph.inputs}
    first = copied.graph.inputs[0]
    copied.graph.inputs[:] = [first, *(inputs[f"scale{i}"] for i in range(len(found)))]
    check(copied)
    return copied


def with_selection(
    model: ir.Model, found: Sequence[Selected], tables: Mapping[Place, Flags], beta: float
) -> ir.Model:
    """A network whose layers compute what the candidates of its head ``exit1`` need.

    Args:
        model: the network with a head.
        found: the layers.
        tables: which channels each class needs, shape (classes, channels).
        beta: the candidates' probability together, above 0, at most 1.

    Raises:
        InputError: there is no head, or beta is no such share.
    """
    if not 0 < beta <= 1:
        raise InputError(f"beta {beta:g}: a share above 0 and at most 1 is required")
    copied = clone(model)
    head = next((v for v in copied.graph.outputs if v.name == HEAD), None)
    if head is None:
        raise InputError(f"select: there is no head {HEAD!r} whose classes could be candidates")
    emitter = Emitter(opset_of(copied), _dtype(head), "select")
    candidates = _candidates(emitter, head, beta)
    candidates.name = "select/candidates"
    masks = _masks(emitter, candidates, tables)
    _add(copied, emitter)
    scores = copied.graph.outputs[0]
    last = _last(copied, scores)
    by_name = {layer.name: layer for layer in map(read_convolution, _convolutions(copied))
               if isinstance(layer, Convolution)}  # fmt: skip
    for item in found:
        _select(copied, by_name[item.layer], masks[item.writes], masks[item.reads])
    if last is not None:
        _select(copied, by_name[last], candidates, None)
    _only(copied, candidates)
    return _settled(copied)


def with_masks(
    model: ir.Model, found: Sequence[Selected], masks: Mapping[Place, Flags]
) -> ir.Model:
    """A network whose layers compute the same channels of every image.

    Args:
        model: the network.
        found: the layers.
        masks: which channels, shape (channels,).
    """
    copied = clone(model)
    values: dict[Place, ir.Value] = {}
    for index, (place, mask) in enumerate(masks.items()):
        name = f"select/mask{index}"
        values[place] = _constant(copied, name, mask[None])
    by_name = {layer.name: layer for layer in map(read_convolution, _convolutions(copied))
               if isinstance(layer, Convolution)}  # fmt: skip
    for item in found:
        _select(copied, by_name[item.layer], values[item.writes], values[item.reads])
    return _settled(copied)


def for_one(model: ir.Model) -> ir.Model:
    """A network of standard operators for one image, which computes selected channels alone."""
    form, one = Gathered.name, with_sizes(model, batch=1)
    return with_forms(one, form, method=SELECTED, reading=read)


def _settled(model: ir.Model) -> ir.Model:
    model.graph.sort()
    infer_shapes(model)
    check(model)
    return model


def _convolutions(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if _is_conv(node)]


def _values(model: ir.Model) -> dict[str, ir.Value]:
    made = (value for node in model.graph for value in node.outputs)
    return {value.name or "": value for value in (*model.graph.inputs, *made)}


def _channels(value: ir.Value) -> int:
    size = None if value.shape is None else value.shape.dims[1]
    if not isinstance(size, int):
        raise InputError(f"select: {value.name}: the number of its channels is required")
    return size


def _dtype(value: ir.Value) -> np.dtype:
    return np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()


def _constant(model: ir.Model, name: str, array: Flags) -> ir.Value:
    value = ir.Value(
        name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape(array.shape),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
    )  # fmt: skip
    model.graph.register_initializer(value)
    return value


def _candidates(emitter: Emitter, head: ir.Value, beta: float) -> ir.Value:
    """The fewest classes with so much probability together, boolean, shape (N, classes).

    A class counts while those in front of it are too little; of equal ones all.
    """
    classes = _channels(head)
    axis = emitter.integers([1], "axis")
    shares = emitter.op("Softmax", [head], axis=1)
    count = emitter.integers([classes], "classes")
    ranked = emitter.add(ir.node("TopK", [shares, count], {"axis": 1}, num_outputs=2))
    place = emitter.integers([1], "along")
    before = emitter.op("CumSum", [ranked, emitter.op("Squeeze", [place])], exclusive=1)
    whole = emitter.op("ReduceSum", [shares, axis], keepdims=1)
    wanted = emitter.op("Mul", [whole, emitter.weight(np.asarray(beta), "beta")])
    needed = emitter.op("Less", [before, wanted])
    most = emitter.weight(np.asarray(2.0), "never")
    least = emitter.op("ReduceMin", [emitter.op("Where", [needed, ranked, most]), axis], keepdims=1)
    return emitter.op("GreaterOrEqual", [shares, least])


def _masks(
    emitter: Emitter, candidates: ir.Value, tables: Mapping[Place, Flags]
) -> dict[Place, ir.Value]:
    """Of each place the channels that any candidate needs, boolean, shape (N, channels)."""
    whole = np.concatenate([*tables.values()], 1)
    table = emitter.weight(whole[None], "table")
    column = emitter.op("Unsqueeze", [candidates, emitter.integers([2], "column")])
    rows = emitter.op("Where", [column, table, emitter.weight(np.zeros(()), "none")])
    axis = emitter.integers([1], "over")
    any_ = emitter.op("Greater", [emitter.op("ReduceMax", [rows, axis], keepdims=0),
                                  emitter.weight(np.zeros(()), "zero")])  # fmt: skip
    ends = np.cumsum([0, *(each.shape[1] for each in tables.values())])
    found: dict[Place, ir.Value] = {}
    for index, (place, first, end) in enumerate(zip(tables, ends[:-1], ends[1:], strict=True)):
        bounds = [emitter.integers([int(n)], "bound") for n in (first, end)]
        found[place] = emitter.op("Slice", [any_, *bounds, axis])
        found[place].name = f"select/mask{index}"
    return found


def _add(model: ir.Model, emitter: Emitter) -> None:
    for value in emitter.weights:
        model.graph.register_initializer(value)
    for node in emitter.nodes:
        for value in node.outputs:
            value.name = value.name or f"{node.name}.{value.index()}"
    model.graph.extend(emitter.nodes)


def _select(
    model: ir.Model, layer: Convolution, outputs: ir.Value, inputs: ir.Value | None
) -> None:
    """The operator in place of a convolution."""
    emitter, output = emitter_for(model, layer), layer.node.outputs[0]
    names = (outputs.name or "", "" if inputs is None else inputs.name or "")
    emitter.metadata[RECORD_KEY] = Record(
        output.name or "", layer.nest, KIND, parameters=layer.parameters,
        weight_bytes=layer.weight_bytes, density=layer.density, channels=names,
    ).text()  # fmt: skip
    if inputs is None:
        every = np.ones((1, layer.channels), bool)
        inputs = _constant(model, f"{layer.name}/every", every)
    install(model, emitter, output, select(emitter, layer, outputs, inputs), anchor=layer.node)


def _last(model: ir.Model, scores: ir.Value) -> str | None:
    """Makes the dense layer that gives the scores a convolution, and returns its name."""
    node = scores.producer()
    if node is None or node.op_type != "Gemm" or not is_standard(node):
        return None
    weight, bias = constant_of(node.inputs[1]), None
    if len(node.inputs) > 2:
        bias = constant_of(node.inputs[2])
    plain = all(
        name not in node.attributes or node.attributes[name].as_float() == 1.0
        for name in ("alpha", "beta")
    )
    turned = "transB" in node.attributes and bool(node.attributes["transB"].as_int())
    crossed = "transA" in node.attributes and bool(node.attributes["transA"].as_int())
    if weight is None or crossed or not plain or (bias is not None and bias.ndim != 1):
        return None
    rows = weight if turned else weight.T
    emitter = Emitter(opset_of(model), weight.dtype, layer_name(node), dict(node.metadata_props))
    place = emitter.integers([2, 3], "place")
    source = emitter.op("Unsqueeze", [node.inputs[0], place])
    kernel = emitter.weight(np.ascontiguousarray(rows)[:, :, None, None], "rows")
    source.shape = ir.Shape([scores.shape.dims[0] if scores.shape else None, rows.shape[1], 1, 1])
    source.type = scores.type
    sums = emitter.op("Conv", [source, kernel, node.inputs[2] if bias is not None else None],
                      kernel_shape=(1, 1))  # fmt: skip
    flat = emitter.op("Squeeze", [sums, place])
    convolution = emitter.nodes[1]
    install(model, emitter, scores, flat, anchor=node)
    return layer_name(convolution)


def _only(model: ir.Model, candidates: ir.Value) -> None:
    """The scores of other classes become the least number there is."""
    scores, name = model.graph.outputs[0], model.graph.outputs[0].name
    emitter = Emitter(opset_of(model), _dtype(scores), "select/scores")
    least = emitter.weight(np.asarray(np.finfo(_dtype(scores)).min), "least")
    chosen = emitter.op("Where", [candidates, scores, least])
    scores.name, chosen.name = f"{name}/all", name
    chosen.shape, chosen.type = scores.shape, scores.type
    _add(model, emitter)
    model.graph.outputs[0] = chosen
