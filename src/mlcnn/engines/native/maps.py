"""Maps, one number a position, of which the masks of focused layers are made.

The nodes between what an image's features are and where a layer reads its mask compute scores,
compare them, and pool the flags. They are found from the masks backwards, as far as values have
one channel, and computed in rows side by side: in blocks, all lanes but one would be unused.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.library import Binary, Map, MapReduction, Op
from mlcnn.engines.native.program import Constant, Floats, Operation, Part, Value
from mlcnn.engines.native.reading import (
    Shape,
    constant_of,
    is_known,
    numbers_of,
    rank_of,
    shape_of,
)
from mlcnn.graph import constant, is_standard
from mlcnn.graph.operators import pool_windows
from mlcnn.nn.site import Site

__all__ = ["OPERATORS", "Makers", "map_at", "masked_of", "take"]

_PAIRS = {
    "Add": Binary.ADD, "Sub": Binary.SUB, "Mul": Binary.MUL, "Div": Binary.DIV,
    "Max": Binary.MAX, "Min": Binary.MIN, "GreaterOrEqual": Binary.AT_LEAST,
}  # fmt: skip
_REDUCES = {
    "ReduceMax": MapReduction.MAX, "ReduceMean": MapReduction.MEAN, "ReduceSum": MapReduction.SUM,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Apart:
    """How far each position is from the mean over some: nodes that are one operation.

    Attributes:
        value: the features.
        border: the weight of each position in the mean, (rows, columns).
        inside: the nodes before the last.
    """

    value: ir.Value
    border: Floats
    inside: tuple[ir.Node, ...]


@dataclass(slots=True)
class Makers:
    """The nodes that make masks.

    Attributes:
        nodes: all that give maps.
        apart: those that are the last of several.
        spread: those that are the last of three that put zeros between positions, and their input.
        inside: those before the last.
    """

    nodes: set[ir.Node] = field(default_factory=set[ir.Node])
    apart: dict[ir.Node, _Apart] = field(default_factory=dict[ir.Node, _Apart])
    spread: dict[ir.Node, ir.Value] = field(default_factory=dict[ir.Node, ir.Value])
    inside: set[ir.Node] = field(default_factory=set[ir.Node])

    @classmethod
    def of(cls, model: ir.Model) -> "Makers":
        """Of a network, every shape known."""
        found, pending = cls(), [n.inputs[0] for n in model.graph if masked_of(n) is not None]
        while pending:
            value = pending.pop()
            node = None if value is None else value.producer()
            if value is None or node is None or node in found.nodes or not _is_map(value):
                continue
            found.nodes.add(node)
            pending.extend(found._inputs(node))
        return found

    def _inputs(self, node: ir.Node) -> Iterator[ir.Value | None]:
        """What is looked at next; nodes that are one operation are put together."""
        apart = _apart_at(node)
        if apart is not None:
            self.apart[node] = apart
            self.inside.update(apart.inside)
            return
        spread = _spread_at(node)
        if spread is not None:
            self.spread[node] = spread[0]
            self.inside.update(spread[1])
            yield spread[0]
            return
        yield from node.inputs


def masked_of(node: ir.Node) -> ir.Value | None:
    """What a node keeps where a mask says so, and makes zero elsewhere; None if it is no such."""
    if node.op_type != "Where" or not is_standard(node) or node.inputs[0] is None:
        return None
    zero, given = constant(node.inputs[2]), node.inputs[1]
    plain = zero is not None and zero.size == 1 and not np.any(zero)
    return given if plain and given is not None and constant(given) is None else None


def map_at(build: Builder, value: ir.Value | None) -> Value | None:
    """A value as a map; None if it is none, or not computed yet."""
    shape = None if value is None else _sizes(value)
    if value is None or shape is None:
        return None
    if value not in build.maps:
        array = constant(value)
        blocks = build.known(value)
        if array is not None:
            build.maps[value] = _filled(build, np.broadcast_to(array, shape).astype(np.float32))
        elif blocks is None:
            return None
        else:
            build.maps[value] = build.map_of(build.shaped(blocks, shape))
    return build.maps[value]


def take(build: Builder, site: Site, makers: Makers) -> bool:
    """Lower a node if it makes masks, and they can be computed so; False if others are to."""
    shape = _sizes(site.node.outputs[0])
    if shape is None or site.node not in makers.nodes:
        return False
    apart, spread = makers.apart.get(site.node), makers.spread.get(site.node)
    if apart is not None:
        found = _distances(build, site, apart, shape)
    elif spread is not None:
        found = _spread(build, spread, shape)
    elif site.node.op_type in _PAIRS:
        found = _pairs(build, site, shape)
    else:
        rule = _RULES.get(site.node.op_type)
        found = None if rule is None else rule(build, site, shape)
    if found is None:
        return False
    build.maps[site.node.outputs[0]] = found
    return True


# -- what is recognised


def _sizes(value: ir.Value) -> Shape | None:
    """Shape of a map."""
    sizes = tuple(size for size in value.shape or () if isinstance(size, int))
    if value.shape is None or len(sizes) != len(value.shape) or 0 in sizes:
        return None
    if len(sizes) != 4 or sizes[1] != 1:
        return None
    images, channels, rows, columns = sizes
    return images, channels, rows, columns


def _is_map(value: ir.Value) -> bool:
    return _sizes(value) is not None and not is_known(value)


def _maker(value: ir.Value | None, kind: str) -> ir.Node | None:
    """What makes a value, if it is of that kind."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == kind and is_standard(node) else None


def _only(node: ir.Node, readers: set[ir.Node]) -> bool:
    """Whether nothing but these reads a node."""
    result = node.outputs[0]
    return not result.is_graph_output() and {use.node for use in result.uses()} <= readers


def _apart_at(node: ir.Node) -> _Apart | None:
    """sqrt(sum over channels of (x - mean)^2), the mean over positions by a constant's weights."""
    if node.op_type != "Sqrt" or (conv := _maker(node.inputs[0], "Conv")) is None:
        return None
    square = _maker(conv.inputs[0], "Mul")
    ones = constant(conv.inputs[1])
    if square is None or ones is None or not np.all(ones == 1) or ones.shape[2:] != (1, 1):
        return None
    if len(conv.inputs) > 2 or len(ones) != 1 or square.inputs[0] is not square.inputs[1]:
        return None
    minus = _maker(square.inputs[0], "Sub")
    mean = None if minus is None else _maker(minus.inputs[1], "ReduceSum")
    weighed = None if mean is None else _maker(mean.inputs[0], "Mul")
    if minus is None or mean is None or weighed is None or weighed.inputs[0] is not minus.inputs[0]:
        return None
    value, border = minus.inputs[0], constant(weighed.inputs[1])
    sizes = None if value is None else value.shape
    plain = border is not None and sizes is not None and border.shape == (1, 1, *sizes.dims[2:])
    if value is None or border is None or not plain or _axes(mean) != (2, 3):
        return None
    chain = (weighed, mean, minus, square, conv)
    behind = ({mean}, {minus}, {square}, {conv}, {node})
    alone = all(map(_only, chain, behind))
    return _Apart(value, border[0, 0].astype(np.float32), chain) if alone else None


def _axes(node: ir.Node) -> tuple[int, ...] | None:
    """Axes of a reduction of a 4-D value that keeps them, in order."""
    keep = node.attributes.get("keepdims")
    given = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if given is None or (keep is not None and not keep.as_int()):
        return None
    return tuple(sorted(int(axis) % 4 for axis in given.reshape(-1)))


def _spread_at(node: ir.Node) -> tuple[ir.Value, tuple[ir.Node, ...]] | None:
    """A map with zeros between its positions: axes behind its own, which are padded."""
    pad = _maker(node.inputs[0], "Pad") if node.op_type == "Reshape" else None
    apart = None if pad is None else _maker(pad.inputs[0], "Unsqueeze")
    if pad is None or apart is None or apart.inputs[0] is None:
        return None
    axes, pads = constant(apart.inputs[1]), constant(pad.inputs[1])
    source, result = _sizes(apart.inputs[0]), _sizes(node.outputs[0])
    if axes is None or pads is None or source is None or result is None:
        return None
    behind = (result[2] // source[2] - 1, 0, result[3] // source[3] - 1)
    plain = axes.reshape(-1).tolist() == [3, 5] and pads.tolist() == [*(0,) * 9, *behind]
    alone = _only(apart, {pad}) and _only(pad, {node})
    return (apart.inputs[0], (apart, pad)) if plain and alone else None


# -- how it is computed


def _new(  # noqa: PLR0917 - one call's worth of an operation
    build: Builder, shape: Shape, mode: Map, x: Part | None, z: Part | None = None,
    fields: Mapping[str, int | float] | None = None,
    constants: Mapping[str, Constant] | None = None, scratch: int = 0,
) -> Value:  # fmt: skip
    """A map that an operation gives."""
    images, _, rows, columns = shape
    made = Value(images, (1,), rows, columns, dense=True)
    own = Part(Value(1, (build.block,), 1, -(-scratch // build.block))) if scratch else None
    build.operations.append(Operation(Op.MAPS, x, Part(made), z, {
        "mode": mode, "images": images, "rows": rows, "columns": columns, **(fields or {}),
    }, dict(constants or {}), own))  # fmt: skip
    return made


def _filled(build: Builder, array: Floats) -> Value:
    """A constant."""
    images, channels, rows, columns = array.shape
    shape = images, channels, rows, columns
    return _new(build, shape, Map.FILL, None, None, None, {"weights": np.ascontiguousarray(array)})


def _of_blocks(build: Builder, value: Value, shape: Shape, mode: Map,
               constants: Mapping[str, Constant]) -> Value:  # fmt: skip
    lanes = {"lanes": np.array(value.lanes, np.int32)}
    fields = {"blocks": len(value.lanes)}
    floats = build.block * len(value.lanes)
    return _new(build, shape, mode, Part(value), None, fields, {**lanes, **constants}, floats)


def _distances(build: Builder, site: Site, apart: _Apart, shape: Shape) -> Value:
    where = site.spec.where
    value = build.shaped(build.value_of(apart.value, where), shape_of(apart.value, where))
    return _of_blocks(build, value, shape, Map.APART, {"weights": apart.border})


def _pairs(build: Builder, site: Site, shape: Shape) -> Value | None:
    """Two operands, or more, number by number."""
    found = _operand(build, site.value(0), shape)
    for value in site.node.inputs[1:]:
        other = _operand(build, value, shape)
        if found is None or other is None:
            return None
        found = _pair(build, _PAIRS[site.node.op_type], found, other, shape)
    return found if isinstance(found, Value) else None


def _operand(build: Builder, value: ir.Value | None, shape: Shape) -> Value | float | None:
    """A number, or a map of this shape or of one number for each image."""
    array = constant_of(value)
    if array is not None and array.size == 1:
        return float(array.reshape(-1)[0])
    found = map_at(build, value)
    fits = found is not None and (found.shape == shape or found.shape == (shape[0], 1, 1, 1))
    return found if fits else None


def _pair(
    build: Builder, function: Binary, x: Value | float, z: Value | float, shape: Shape
) -> Value | None:
    if not isinstance(x, Value):
        if not isinstance(z, Value) or function > Binary.MIN:
            return None
        return _pair_of(build, function, z, x, shape, turned=True)
    return _pair_of(build, function, x, z, shape)


def _pair_of(build: Builder, function: Binary, x: Value, z: Value | float, shape: Shape, *,
             turned: bool = False) -> Value:  # fmt: skip
    fields: dict[str, int | float] = {"function": function, "zero": int(turned)}
    if not isinstance(z, Value):
        fields["alpha"] = z
    second = _read(z, shape) if isinstance(z, Value) else None
    return _new(build, shape, Map.PAIR, _read(x, shape), second, fields)


def _read(value: Value, shape: Shape) -> Part:
    """An operand; one number is repeated."""
    return Part(value, column_step=int(value.shape == shape))


def _reduced(build: Builder, site: Site, shape: Shape) -> Value | None:
    axes, source = _axes(site.node), site.value(0)
    if axes == (1,) and site.node.op_type == "ReduceSum" and rank_of(site) == 4:
        return _of_blocks(build, build.blocked(site, 0), shape, Map.SUM, {})
    found = map_at(build, source)
    if found is None or axes not in {(2, 3), (1, 2, 3)}:
        return None
    return _new(build, shape, Map.REDUCE, Part(found), None, {
        "function": _REDUCES[site.node.op_type],
        "input_rows": found.rows, "input_columns": found.columns,
    })  # fmt: skip


def _pooled(build: Builder, site: Site, shape: Shape) -> Value | None:
    found, windows = map_at(build, site.value(0)), pool_windows(site.spec)
    if found is None or len(windows.kernel) != 2:
        return None
    sizes = found.rows, found.columns
    before, after = windows.pads(sizes)
    if min(*before, *after) < 0:
        return None
    mean = site.node.op_type == "AveragePool"
    # Windows of the last row and column may end behind the pads.
    reach = (shape[3] - 1) * windows.strides[1] + (windows.kernel[1] - 1) * windows.dilations[1]
    right = max(after[1], reach + 1 - sizes[1] - before[1])
    if mean and site.spec.integer("count_include_pad", 0) and site.spec.integer("ceil_mode", 0):
        return None
    return _new(build, shape, Map.MEAN_POOL if mean else Map.MAX_POOL, Part(found), None, {
        "input_rows": sizes[0], "input_columns": sizes[1], "top": before[0], "left": before[1],
        "right": right, "kernel_rows": windows.kernel[0], "kernel_columns": windows.kernel[1],
        "stride_rows": windows.strides[0], "stride_columns": windows.strides[1],
        "dilation_rows": windows.dilations[0], "dilation_columns": windows.dilations[1],
        "paired": site.spec.integer("count_include_pad", 0),
    }, None, before[1] + sizes[1] + right + 2 * build.block)  # fmt: skip


def _placed(build: Builder, site: Site, shape: Shape) -> Value | None:
    """Zeros around a map; negative ones cut."""
    found, pads = map_at(build, site.value(0)), numbers_of(site, 1, "pads")
    value = site.tensor(2)
    zero = not site.spec.has_input(2) or (value is not None and not bool(value.any()))
    plain = zero and site.spec.text("mode", "constant") == "constant" and len(site.node.inputs) < 4
    if found is None or pads is None or not plain or any((*pads[:2], *pads[4:6])):
        return None
    (top, left), (bottom, right) = pads[2:4], pads[6:8]
    rows, columns = found.rows + min(top, 0) + min(bottom, 0), found.columns + min(left, 0)
    columns += min(right, 0)
    if min(rows, columns) < 1:
        return None
    return _put(build, Part(found, 0, max(-top, 0), max(-left, 0)), (rows, columns), shape,
                (max(top, 0), max(left, 0)), (1, 1))  # fmt: skip


def _spread(build: Builder, value: ir.Value, shape: Shape) -> Value | None:
    found = map_at(build, value)
    if found is None:
        return None
    steps = shape[2] // found.rows, shape[3] // found.columns
    return _put(build, Part(found), (found.rows, found.columns), shape, (0, 0), steps)


def _put(  # noqa: PLR0917 - see above
    build: Builder, x: Part, sizes: tuple[int, int], shape: Shape, corner: tuple[int, int],
    steps: tuple[int, int],
) -> Value:  # fmt: skip
    """Some rows and columns of a map, apart in zeros."""
    made = _new(build, shape, Map.PLACE, x, None, {
        "top": corner[0], "left": corner[1], "stride_rows": steps[0], "stride_columns": steps[1],
        "input_rows": shape[2], "input_columns": shape[3],
    })  # fmt: skip
    build.operations[-1].fields |= {"rows": sizes[0], "columns": sizes[1]}
    return made


def _cast(build: Builder, site: Site, shape: Shape) -> Value | None:
    """Flags are 0 and 1 already."""
    found, to = map_at(build, site.value(0)), site.node.attributes["to"].as_int()
    source = site.value(0)
    if found is None or source is None:
        return None
    if to == ir.DataType.BOOL and source.dtype != ir.DataType.BOOL:
        return _pair_of(build, Binary.UNEQUAL, found, 0.0, shape)
    return found if to in {ir.DataType.FLOAT, ir.DataType.BOOL} else None


def _bounded(build: Builder, site: Site, shape: Shape) -> Value | None:
    found = map_at(build, site.value(0))
    return None if found is None else _pair_of(build, Binary.MAX, found, 0.0, shape)


def _roots(build: Builder, site: Site, shape: Shape) -> Value | None:
    found = map_at(build, site.value(0))
    return None if found is None else _new(build, shape, Map.SQRT, Part(found))


_RULES: Mapping[str, Callable[[Builder, Site, Shape], Value | None]] = {
    "AveragePool": _pooled,
    "Cast": _cast,
    "MaxPool": _pooled,
    "Pad": _placed,
    "Relu": _bounded,
    "Sqrt": _roots,
    **dict.fromkeys(_REDUCES, _reduced),
}
OPERATORS = frozenset({*_RULES, *_PAIRS})
"""Operators that make masks."""
