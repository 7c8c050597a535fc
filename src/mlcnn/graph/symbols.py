"""Which of the sizes that inference could not name are the same.

ONNX's inference gives every dynamic height and width behind a window a new name (``unk__7``), also
where the window keeps the size, or where two branches of a residual network shrink it alike.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

__all__ = ["GENERATED", "unify_sizes"]

Dim = int | ir.SymbolicDim
Key = tuple[str, int, int, str]

GENERATED = re.compile(r"unk__(\d+)")
"""Names that inference gives to dimensions."""

_JOINING = frozenset({"Add", "Sub", "Mul", "Div", "Sum", "Mean", "Max", "Min", "Concat"})
_WINDOWED = frozenset({"Conv", "AveragePool", "MaxPool", "LpPool"})


def unify_sizes(model: ir.Model) -> None:
    """Give equal dynamic heights and widths one name, in place.

    A window of extent ``e`` and stride ``s`` over ``H`` positions with ``p`` more of padding has
    ``floor((H + p - e) / s) + 1`` outputs: the same ``H``, ``p - e`` and ``s`` give the same size.

    Args:
        model: the network, with inferred shapes.
    """
    names = _Names({_text(dim) for v in model.graph.inputs if v.shape for dim in v.shape.dims})
    sizes: dict[Key, str] = {}
    for node in model.graph:
        if node.op_type in _WINDOWED and not node.domain:
            _unify_window(node, names, sizes)
        elif node.op_type in _JOINING and not node.domain:
            _unify_join(node, names)
    if not names.known:
        return
    for node in model.graph.all_nodes():
        for value in node.outputs:
            _rename(value, names)


@dataclass(slots=True)
class _Names:
    """Which names stand for the same size.

    Attributes:
        given: names that the network's inputs have.
        known: the name to use instead, by name.
    """

    given: set[str]
    known: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        while name in self.known:
            name = self.known[name]
        return name

    def equate(self, one: str, other: str) -> None:
        """Note that two names are one size; generated names give way.

        A name that only an output has may be given carelessly: it is not believed to be the same
        as an input's.
        """
        one, other = self[one], self[other]
        if one == other:
            return
        if GENERATED.fullmatch(other):
            self.known[other] = one
        elif GENERATED.fullmatch(one) and other not in self.given:
            self.known[one] = other


def _unify_window(node: ir.Node, names: _Names, sizes: dict[Key, str]) -> None:
    source = node.inputs[0]
    before = None if source is None else source.shape
    kernel = _kernel(node)
    for value in node.outputs:
        after = value.shape
        if before is None or after is None or kernel is None:
            continue
        if before.rank() != after.rank() or after.rank() != len(kernel) + 2:
            continue
        for axis in range(len(kernel)):
            old, new = names[_text(before[axis + 2])], _text(after[axis + 2])
            if old and new:
                key = _key(node, axis, old, kernel[axis])
                keeps_size = key[1:3] == (-1, 1)
                names.equate(old if keeps_size else sizes.setdefault(key, new), new)


def _unify_join(node: ir.Node, names: _Names) -> None:
    """Where inputs agree on a size, or broadcast to it, the output has it."""
    shapes = [value.shape for value in node.inputs if value is not None]
    after = node.outputs[0].shape
    if after is None or any(shape is None for shape in shapes):
        return
    joined = node.attributes["axis"].as_int() if node.op_type == "Concat" else None
    for axis in range(after.rank()):
        behind = axis - after.rank()
        if joined in {axis, behind}:
            continue
        before = {
            names[_text(dim)]
            for shape in shapes
            if shape is not None and shape.rank() >= -behind and (dim := shape[behind]) != 1
        }
        known = before.pop() if len(before) == 1 else ""
        if known and _text(after[axis]):
            names.equate(known, _text(after[axis]))


def _text(dim: Dim) -> str:
    return dim.value or "" if isinstance(dim, ir.SymbolicDim) else ""


def _kernel(node: ir.Node) -> Sequence[int] | None:
    given = node.attributes.get("kernel_shape")
    if given is not None and not given.is_ref():
        return given.as_ints()
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    shape = None if weight is None else weight.shape
    return shape.numpy()[2:] if shape is not None and shape.is_static() else None


def _ints(node: ir.Node, name: str, index: int, default: int) -> int:
    given = node.attributes.get(name)
    values = () if given is None else given.as_ints()
    return values[index] if index < len(values) else default


def _key(node: ir.Node, axis: int, size: str, kernel: int) -> Key:
    """The size of the input, padding less extent, stride, and how the result is rounded."""
    attributes = node.attributes
    rank = len(_kernel(node) or ())
    stride = _ints(node, "strides", axis, 1)
    auto_pad = attributes["auto_pad"].as_string() if "auto_pad" in attributes else "NOTSET"
    extent = (kernel - 1) * _ints(node, "dilations", axis, 1) + 1
    if auto_pad in {"SAME_UPPER", "SAME_LOWER"}:
        # A pool is padded as if it had no dilation, and loses outputs by that.
        return size, (0 if node.op_type == "Conv" else kernel - extent) - 1, stride, "same"
    pads = _ints(node, "pads", axis, 0) + _ints(node, "pads", axis + rank, 0)
    padding = pads if auto_pad == "NOTSET" else 0
    is_ceil = "ceil_mode" in attributes and attributes["ceil_mode"].as_int() and stride > 1
    # Rounding up depends on the padding behind as well: such sizes are alike only in full.
    rounding = f"{kernel} {pads} {_ints(node, 'pads', axis, 0)}" if is_ceil else ""
    return size, padding - extent, stride, rounding


def _rename(value: ir.Value, names: _Names) -> None:
    shape = value.shape
    if shape is not None and any(_text(dim) in names.known for dim in shape.dims):
        value.shape = ir.Shape(names[_text(dim)] or dim for dim in shape.dims)
