"""Which of the sizes that inference could not name are the same.

ONNX's inference gives every dynamic height and width behind a window a new name (``unk__7``), also
where the window keeps the size, or where two branches of a residual network shrink it alike.
"""

import re
from dataclasses import dataclass, field

import onnx_ir as ir

from mlcnn.graph.operators import Windows, windows_of

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
    before, windows = None if source is None else source.shape, _windows(node)
    for value in node.outputs:
        after = value.shape
        if before is None or after is None or windows is None:
            continue
        if before.rank() != after.rank() or after.rank() != len(windows.kernel) + 2:
            continue
        for axis in range(len(windows.kernel)):
            old, new = names[_text(before[axis + 2])], _text(after[axis + 2])
            if old and new:
                key = _key(windows.along(axis), old)
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


def _windows(node: ir.Node) -> Windows | None:
    """The windows of a convolution or pool; None where its window is not known."""
    if node.op_type != "Conv":
        return windows_of(node) if "kernel_shape" in node.attributes else None
    weight = node.inputs[1]
    sizes = () if weight is None or weight.shape is None else weight.shape.dims[2:]
    kernel = tuple(size for size in sizes if isinstance(size, int))
    return windows_of(node, kernel) if kernel and len(kernel) == len(sizes) else None


def _key(windows: Windows, size: str) -> Key:
    """The size of the input, padding less extent, stride, and how the result is rounded.

    Args:
        windows: of one axis.
        size: the name of that axis's size.
    """
    (extent,), (stride,) = windows.extents(), windows.strides
    if windows.same:
        return size, windows.fitted()[0] - extent - 1, stride, "same"
    (before,), (after,) = windows.before, windows.after
    # Rounding up depends on the padding in front as well: such sizes are alike only in full.
    is_ceil = windows.ceil_mode and stride > 1
    rounding = f"{extent} {before + after} {before}" if is_ceil else ""
    return size, before + after - extent, stride, rounding


def _rename(value: ir.Value, names: _Names) -> None:
    shape = value.shape
    if shape is not None and any(_text(dim) in names.known for dim in shape.dims):
        value.shape = ir.Shape(names[_text(dim)] or dim for dim in shape.dims)
