"""Comparator layers as they stand in a network: which two taps of a channel each map compares.

Two forms are read: that of ``mlcnn optimize``, a slice for each tap in use, and the body of
``mlcnn::ComparatorConv``, which gathers all windows. Both end in two ``Gather`` nodes, ``Greater``
and what makes floats of its results; what stands behind is a layer like others.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.codes import refused
from mlcnn.engines.native.comparator_steps import Pairs
from mlcnn.graph import is_standard
from mlcnn.nn.site import Site

__all__ = ["Compared", "find"]

Ints = NDArray[np.int64]
_RANK = 4
_ROWS, _COLUMNS = 2, 4  # axes of the images from which a body gathers rows, then columns
_WINDOWS = (0, 1, 2, 4, 3, 5)  # images, channels, rows and columns of the kernel, of the result


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Nodes that compare.

    Attributes:
        source: the images.
        result: the bits, as floats.
        inside: the nodes, but the last one.
        pairs: what is compared.
    """

    source: ir.Value
    result: ir.Value
    inside: tuple[ir.Node, ...]
    pairs: Pairs


@dataclass(frozen=True, slots=True, eq=False)
class _Taps:
    """A value whose channels are taps of windows.

    Attributes:
        source: what the windows are of.
        channels: of each channel, that of the source.
        places: its row and column in the window (channels, 2).
        strides: of the windows.
        nodes: that make it.
    """

    source: ir.Value
    channels: Ints
    places: Ints
    strides: tuple[int, int]
    nodes: tuple[ir.Node, ...]


def find(build: Builder, model: ir.Model) -> dict[ir.Node, Compared]:
    """The comparator layers of a network by their last node, the cast.

    Raises:
        UnsupportedError: channels of gathered taps are compared in another way.
    """
    found = dict[ir.Node, Compared]()
    for node in model.graph:
        if node.op_type != "Greater" or not is_standard(node):
            continue
        gathers = [each for value in node.inputs if (each := _maker(value, "Gather")) is not None]
        if len(gathers) < len(node.inputs) or any(_axis(each) != 1 for each in gathers):
            continue
        read = _read(build, node, [build.site(each) for each in gathers])
        if isinstance(read, str):
            raise refused(
                build.site(node), f"it compares gathered channels, and {read}",
                "lower comparator layers with `mlcnn optimize`, or use engine 'onnxruntime'",
            )  # fmt: skip
        found[read[0]] = read[1]
    return found


def _maker(value: ir.Value | None, *kinds: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and is_standard(node) and node.op_type in kinds else None


def _axis(node: ir.Node) -> int:
    found = node.attributes.get("axis")
    return 0 if found is None else found.as_int()


def _read(build: Builder, greater: ir.Node, gathers: list[Site]) -> tuple[ir.Node, Compared] | str:
    every = [gather.value(0) for gather in gathers]
    at = [gather.tensor(1) for gather in gathers]
    if every[0] is None or every[0] is not every[1] or at[0] is None or at[1] is None:
        return "both do not gather from one value, by constants"
    cast = build.only_reader(greater.outputs[0])
    if cast is None or not _is_number(build, cast):
        return "its results do not become 0 and 1 for one reader"
    taps = _windows(build, every[0]) or _slices(build, every[0])
    if taps is None:
        return "what it gathers from is made of no slices of one input"
    indices = [one.numpy().reshape(-1) for one in at if one is not None]
    source, pads, padding = _unpadded(build, taps.source)
    channels = None if source.shape is None else source.shape[1]
    if not isinstance(channels, int) or any(
        len(one) % channels or (taps.channels[one] != np.arange(len(one)) % channels).any()
        for one in indices
    ):
        return "map p C + c does not compare taps of channel c"
    inside = (*padding, *taps.nodes, *(gather.node for gather in gathers), greater)
    idle = _others(inside, cast)
    if idle is None:
        return "others read its taps"
    first, second = (taps.places[one] for one in indices)
    pairs = Pairs(first, second, taps.strides, pads)
    return cast, Compared(source, cast.outputs[0], (*inside, *idle), pairs)


def _is_number(build: Builder, node: ir.Node) -> bool:
    """Whether a node makes 0 and 1 of booleans."""
    if node.op_type == "Cast":
        return node.attributes["to"].as_int() == ir.DataType.FLOAT
    ends = [build.site(node).tensor(index) for index in (1, 2)]
    numbers = [None if end is None or end.numel() > 1 else float(end) for end in ends]
    return node.op_type == "Where" and numbers == [1, 0]


def _others(inside: tuple[ir.Node, ...], last: ir.Node) -> tuple[ir.Node, ...] | None:
    """Who else reads what nodes make, for nothing; None where that is for something."""
    known, values = {*inside, last}, [value for node in inside for value in node.outputs]
    idle = [node for value in values for node in value.consumers() if node not in known]
    made = [value for node in idle for value in node.outputs]
    used = any(value.consumers() or value.is_graph_output() for value in made)
    return None if used or any(value.is_graph_output() for value in values) else tuple(idle)


def _unpadded(
    build: Builder, value: ir.Value
) -> tuple[ir.Value, tuple[int, int, int, int], tuple[ir.Node, ...]]:
    """What edges are repeated of, and how far."""
    node = _maker(value, "Pad")
    site = None if node is None else build.site(node)
    given = None if site is None else site.tensor(1)
    if node is None or site is None or given is None or site.spec.has_input(3):
        return value, (0, 0, 0, 0), ()
    pads, source = [int(one) for one in given.flatten().tolist()], node.inputs[0]
    rest = [*pads[:2], *pads[4:6]] if len(pads) == 2 * _RANK else [1]
    if site.spec.text("mode", "constant") != "edge" or any(rest) or min(pads) < 0 or source is None:
        return value, (0, 0, 0, 0), ()
    return source, (pads[2], pads[3], pads[6], pads[7]), (node,)


def _slices(build: Builder, every: ir.Value) -> _Taps | None:
    """Slices of one value side by side."""
    joined = _maker(every, "Concat")
    values = [every] if joined is None else list(joined.inputs)
    nodes = [_maker(value, "Slice") for value in values]
    made = [None if node is None else _slice(build, node) for node in nodes]
    found = [one for one in made if one is not None]
    if len(found) < len(made) or (joined is not None and _axis(joined) not in {1, 1 - _RANK}):
        return None
    first = found[0]
    if any((one.source, one.strides) != (first.source, first.strides) for one in found):
        return None
    together = () if joined is None else (joined,)
    return _Taps(
        first.source, np.concatenate([one.channels for one in found]),
        np.concatenate([one.places for one in found]), first.strides,
        (*(node for one in found for node in one.nodes), *together),
    )  # fmt: skip


def _slice(build: Builder, node: ir.Node) -> _Taps | None:
    """A slice of rows and columns: what all windows have at one tap."""
    site, source = build.site(node), node.inputs[0]
    given = [site.tensor(index) for index in range(1, 5)]
    if source is None or source.shape is None or len(source.shape) != _RANK or None in given:
        return None
    starts, _, axes, steps = ([int(n) for n in one.tolist()] for one in given if one is not None)
    place, strides = [0, 0], [1, 1]
    for start, axis, step in zip(starts, axes, steps, strict=True):
        if axis % _RANK < _RANK - 2 or start < 0 or step < 1:
            return None
        place[axis % _RANK - 2], strides[axis % _RANK - 2] = start, step
    channels = source.shape[1]
    if not isinstance(channels, int):
        return None
    places = np.broadcast_to(np.array(place), (channels, 2))
    return _Taps(source, np.arange(channels), places, (strides[0], strides[1]), (node,))


def _windows(build: Builder, every: ir.Value) -> _Taps | None:
    """All taps of windows, gathered along rows and columns."""
    nodes = list(_chain(every))
    if len(nodes) != len(_BODY):
        return None
    _, turned, columns, rows = (build.site(node) for node in nodes)
    source, given = rows.value(0), [one.tensor(1) for one in (rows, columns)]
    axes = (_axis(rows.node), _axis(columns.node))
    if axes != (_ROWS, _COLUMNS) or turned.spec.integers("perm") != _WINDOWS:
        return None
    found = [None if one is None else _steps(one.numpy()) for one in given]
    if source is None or source.shape is None or found[0] is None or found[1] is None:
        return None
    (down, stride), (across, step) = found[0], found[1]
    channels = source.shape[1]
    if not isinstance(channels, int):
        return None
    window = np.stack(np.meshgrid(down, across, indexing="ij"), -1).reshape(-1, 2)
    return _Taps(
        source, np.repeat(np.arange(channels), len(window)), np.tile(window, (channels, 1)),
        (stride, step), tuple(reversed(nodes)),
    )  # fmt: skip


_BODY = ("Reshape", "Transpose", "Gather", "Gather")


def _chain(value: ir.Value | None) -> Iterator[ir.Node]:
    for kind in _BODY:
        node = _maker(value, kind)
        if node is None:
            return
        yield node
        value = node.inputs[0]


def _steps(indices: Ints) -> tuple[Ints, int] | None:
    """Taps and stride of indices (taps, results); None of others."""
    if indices.ndim != 2 or indices[0, 0] != 0:
        return None
    taps = indices[:, 0]
    stride = int(indices[0, 1]) if indices.shape[1] > 1 else 1
    whole = taps[:, None] + stride * np.arange(indices.shape[1])
    return (taps, stride) if stride > 0 and np.array_equal(whole, indices) else None
