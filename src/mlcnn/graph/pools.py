"""Pools whose number of windows tools disagree about, in a form that all read alike.

ONNX's shape inference, which engines run as well when they load a file, gives some pools another
size than the kernels do (see ``mlcnn.graph.windows``). What is inferred here follows the kernels;
and where the input's size is known such a pool is written with explicit padding and without
``ceil_mode``, as far as that computes the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import onnx
import onnx.inliner
import onnx_ir as ir

from mlcnn.graph.names import STANDARD
from mlcnn.graph.operators import NodeSpec, Windows, pool_windows

__all__ = ["infer_proto", "settle_pools"]

_POOLS = frozenset({"AveragePool", "LpPool", "MaxPool"})
_COUNTED_WHOLE = 19
"""Before it, an average that counts padding divides by whole windows but for ``ceil_mode``."""

Sizes = tuple[int | None, ...]
Shapes = dict[str, Sizes]


@dataclass(frozen=True, slots=True)
class _Axis:
    """What one axis of a pool may be written as.

    Attributes:
        after: padding behind.
        rounding: the ``ceil_mode`` that this goes with; None for either.
        disputed: whether tools disagree about the number of windows as it stands.
    """

    after: int
    rounding: bool | None
    disputed: bool = False


def settle_pools(model: ir.Model) -> None:
    """Write pools so that every tool gives them the size that they have, in place.

    Only pools that tools disagree about change, and only where the size of their input is known:
    a last window that is dropped is no longer asked for, one that is kept is padded, and padding
    that depends on the size is written as numbers.

    Args:
        model: the network, with inferred shapes.
    """
    opset = model.opset_imports.get("", _COUNTED_WHOLE)
    for graph in model.graphs():
        for node in graph:
            windows = _read(node.op_type, node.domain, node.attributes.values())
            shape = node.inputs[0].shape if node.inputs and node.inputs[0] is not None else None
            if windows is None or shape is None or shape.rank() != len(windows.kernel) + 2:
                continue
            sizes = tuple(dim if isinstance(dim, int) else None for dim in shape.dims[2:])
            settled = _settled(windows, sizes, counted=_counts_padding(node, windows, opset))
            if settled is not None:
                _write(node, settled)


def _read(op_type: str, domain: str, attributes: Iterable[ir.Attr]) -> Windows | None:
    """The windows of a pool; None for another node, or for attributes that only a call knows."""
    given = {attribute.name: attribute for attribute in attributes}
    if op_type not in _POOLS or domain not in STANDARD or "kernel_shape" not in given:
        return None
    if any(attribute.is_ref() for attribute in given.values()):
        return None
    return pool_windows(NodeSpec("", op_type, 0, attributes=given))


def _counts_padding(node: ir.Node, windows: Windows, opset: int) -> bool:
    """Whether the divisor depends on how much of a window lies in the padding as it is given."""
    included = node.attributes.get("count_include_pad")
    if node.op_type != "AveragePool" or included is None or not included.as_int():
        return False
    return windows.ceil_mode or opset >= _COUNTED_WHOLE


def _settled(windows: Windows, sizes: Sizes, *, counted: bool) -> Windows | None:
    """The same windows in a form that nobody disputes; None where there is none, or no need."""
    if windows.same:
        if None in sizes or set(windows.dilations) == {1}:
            return None
        before, after = windows.pads(tuple(size or 0 for size in sizes))
        windows = replace(windows, before=before, after=after, auto_pad="NOTSET")
        return _settled(windows, sizes, counted=counted) or windows
    axes = [_axis(windows.along(axis), size, counted=counted) for axis, size in enumerate(sizes)]
    roundings = {axis.rounding for axis in axes} - {None}
    if len(roundings) > 1 or not any(axis.disputed for axis in axes):
        return None
    after = tuple(axis.after for axis in axes)
    return replace(windows, after=after, auto_pad="NOTSET", ceil_mode=True in roundings)


def _axis(windows: Windows, size: int | None, *, counted: bool) -> _Axis:
    """What the one axis of ``windows`` over ``size`` positions may be written as."""
    after, is_ceil = windows.after[0], windows.ceil_mode
    if size is None or not windows.counts((size,))[0]:
        return _Axis(after, is_ceil)
    reach, count = windows.reach((size,))[0], windows.counts((size,))[0]
    if reach > after:  # the last window is partial
        if counted or reach >= windows.kernel[0]:  # engines refuse padding as wide as a window
            return _Axis(after, rounding=True, disputed=not is_ceil)
        return _Axis(reach, None, disputed=not is_ceil)
    span = size + windows.before[0] + after - windows.extents()[0]
    if span % windows.strides[0] == 0 and count == span // windows.strides[0] + 1:
        return _Axis(after, None)
    if reach < 0:
        return _Axis(after, rounding=False, disputed=is_ceil)
    return _Axis(reach, None, disputed=is_ceil)


def _write(node: ir.Node, windows: Windows) -> None:
    pads = (*windows.before, *windows.after)
    for name in ("auto_pad", "ceil_mode", "pads"):
        node.attributes.pop(name, None)
    if any(pads):
        node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    if windows.ceil_mode:
        node.attributes["ceil_mode"] = ir.AttrInt64("ceil_mode", 1)


def infer_proto(proto: onnx.ModelProto) -> onnx.ModelProto:
    """ONNX's shape inference, with the sizes that pools have.

    Args:
        proto: the network as a message; its pools may be rewritten.

    Returns:
        The network with inferred shapes. Functions that hold a pool are inlined.

    Raises:
        onnx.shape_inference.InferenceError: the operators contradict each other.
    """
    holders = [(f.domain, f.name) for f in proto.functions if any(map(_is_pool, f.node))]
    if holders:
        proto = onnx.inliner.inline_selected_functions(proto, holders)
    pools = [node for node, _ in _walk(proto.graph, {}) if _is_pool(node)]
    windows = [
        _read(node.op_type, node.domain, [ir.from_proto(item) for item in node.attribute])
        for node in pools
    ]
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    for _ in pools:
        # A pool's size is known for sure once those of the pools before it are.
        if not _resize(pools, windows, inferred):
            break
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    return inferred


def _is_pool(node: onnx.NodeProto) -> bool:
    return node.op_type in _POOLS and node.domain in STANDARD


def _walk(graph: onnx.GraphProto, outer: Shapes) -> Iterator[tuple[onnx.NodeProto, Shapes]]:
    """Every node of a graph and of the bodies in it, with the shapes that it sees."""
    seen = dict(outer)
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            seen[value.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
    for tensor in graph.initializer:
        seen[tensor.name] = tuple(tensor.dims)
    for node in graph.node:
        yield node, seen
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _walk(body, seen)


def _resize(
    pools: Sequence[onnx.NodeProto],
    windows: Sequence[Windows | None],
    inferred: onnx.ModelProto,
) -> bool:
    """Give pools whose inferred size is wrong the padding that leads to it; whether any was."""
    found = [item for item in _walk(inferred.graph, {}) if _is_pool(item[0])]
    changed = False
    for node, window, (same, shapes) in zip(pools, windows, found, strict=True):
        before, after = (shapes.get(v, ())[2:] for v in (same.input[0], same.output[0]))
        if window is None or not len(before) == len(after) == len(window.kernel):
            continue
        axes = [_pads(window.along(axis), size) for axis, size in enumerate(before)]
        if all(count in {None, size} for (_, _, count), size in zip(axes, after, strict=True)):
            continue
        kept = [a for a in node.attribute if a.name not in {"ceil_mode", "auto_pad", "pads"}]
        pads = [start for start, _, _ in axes] + [stop for _, stop, _ in axes]
        written = [*kept, onnx.helper.make_attribute("pads", pads)]
        # The pads may stand there already, and only the rounding is wrong.
        if len(written) != len(node.attribute) or written[-1] not in node.attribute:
            del node.attribute[:]
            node.attribute.extend(written)
            changed = True
    return changed


def _pads(windows: Windows, size: int | None) -> tuple[int, int, int | None]:
    """Padding (before, after) of one axis that needs no ``ceil_mode``, and the windows there."""
    if size is None:
        return windows.before[0], windows.after[0], None
    count = windows.counts((size,))[0]
    (before,), (after,) = windows.pads((size,))
    if not count:
        return before, after, None
    reach = windows.reach((size,))[0]
    # A window that is dropped behind an input it leaves a gap to needs no padding at all.
    return before, max(reach, 0), count
