"""Convolutions most of whose weights are zero, as steps of ``sparse.h``.

Planes of the input are copied so that positions fill vectors: once for each column of the kernel,
where rows are whole vectors or nearly, else once for each tap; or, where filters share a few
kernels, the convolutions with those take the place of copies. Each weight that is not zero is kept
with the vector that it multiplies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from mlcnn.engines.native.geometry import Geometry
from mlcnn.engines.native.library import Library, Op
from mlcnn.engines.native.packing import Shared
from mlcnn.engines.native.program import Constant, Floats, Operation, Part, Value

__all__ = ["Layout", "add_zeros_skipped", "layout_of"]

_BAND_BYTES = 512 << 10  # of copies and sums, that stay in the outer caches
_PART_BYTES = 40 << 10  # of copies, that stay in the innermost cache with the sums of some filters
_TILE = 8  # vectors, as in sparse.h
_COPY = 1.5  # multiply-adds that copying takes the time of
_ADDRESSED = 1 << 16  # vectors of a part's copies: what an entry can name
_BETWEEN = 9  # vectors, or fewer, from the end of a copy to the next one


class Copies(IntEnum):
    """What is copied of a plane, as in ``sparse.h``."""

    SHIFTED = 0
    TAPS = 1
    BASES = 2


@dataclass(frozen=True, slots=True)
class Layout:
    """How the kernel goes through a layer.

    Attributes:
        copies: what is copied.
        pitch: positions from row to row.
        band: rows of the result at a time.
        parts: of a block of channels, whose copies are read at a time.
        vectors: of a filter's results, of all rows.
        copied: vectors that are written as copies of a channel, or convolutions with bases.
    """

    copies: Copies
    pitch: int
    band: int
    parts: int
    vectors: int
    copied: int


def layout_of(geometry: Geometry, block: int) -> Layout:
    """The layout that should take the least time."""
    if geometry.bases:
        return _layout(geometry, block, Copies.BASES)
    both = [_layout(geometry, block, Copies.TAPS)]
    if (geometry.strides, geometry.dilations[0]) == ((1, 1), 1):
        both.append(_layout(geometry, block, Copies.SHIFTED))
    weights = (geometry.nonzeros or 0) / geometry.channels
    return min(both, key=lambda one: weights * one.vectors + _COPY * one.copied)


def _copies_of(geometry: Geometry, copies: Copies) -> int:
    """How many of a channel."""
    height, width = geometry.kernel
    if copies is Copies.BASES:
        return geometry.bases
    return width if copies is Copies.SHIFTED else height * width


def _layout(geometry: Geometry, block: int, copies: Copies) -> Layout:
    height, width = geometry.kernel
    across = -(-geometry.columns // block)
    pitch = across * block if copies is Copies.SHIFTED else geometry.columns
    each = _copies_of(geometry, copies)
    halo = height - 1 if copies is Copies.SHIFTED else 0
    row_bytes = 4 * pitch * (block * each + geometry.filters)
    most = _BAND_BYTES // row_bytes - halo * block * each * pitch * 4 // row_bytes
    bands = -(-geometry.rows // max(1, most))
    band = -(-geometry.rows // bands)
    lines = geometry.rows + halo * bands
    taps = height * width if copies is Copies.BASES else 1
    tile = min(_TILE, -(-band * pitch // block)) * block + halo * pitch
    lane_vectors = each * ((band + halo) * pitch // block + _BETWEEN)
    lanes = max(1, min(_PART_BYTES // (4 * each * tile), _ADDRESSED // lane_vectors))
    return Layout(
        copies,
        pitch,
        band,
        -(-block // lanes),
        -(-geometry.rows * pitch // block),
        lines * across * each * taps,
    )


def add_zeros_skipped(
    operation: Operation,
    geometry: Geometry,
    weight: Floats,
    shared: Shared | None,
    library: Library,
) -> None:
    """Complete a convolution's operation by what the kernel needs.

    Args:
        operation: input, output, geometry and biases are known.
        geometry: what it computes.
        weight: (filters, channels, rows, columns); not read where kernels are shared.
        shared: kernels that filters share, and their coefficients.
        library: the kernels.
    """
    layout = layout_of(geometry, library.block)
    operation.op = Op.SPARSE
    operation.fields |= {
        "mode": layout.copies, "pitch": layout.pitch, "bunch": layout.band, "chunk": layout.parts,
        "bases": geometry.bases, "outputs": geometry.filters,
    }  # fmt: skip
    floats, length = library.sparse(operation.fields)
    height, width = geometry.kernel
    taps = np.arange(height * width)
    offsets = taps * length
    if layout.copies is Copies.SHIFTED:
        offsets = taps % width * length + taps // width * (layout.pitch // library.block)
    if shared is not None:
        weight = shared.coefficients
        offsets = np.arange(geometry.bases) * length
        operation.constants["basis"] = shared.basis
    flat = weight.reshape(*weight.shape[:2], -1)
    each = length * _copies_of(geometry, layout.copies)
    operation.constants |= _listed(flat, geometry.lanes, layout.parts, library.block, offsets, each)
    operation.scratch = Part(Value(1, (library.block,), 1, -(-floats // library.block)))


def _listed(  # noqa: PLR0917 - one call's worth of a layer
    weight: Floats, lanes: Sequence[int], parts: int, block: int, offsets: np.ndarray, channel: int
) -> dict[str, Constant]:
    """The weights that are not zero, by part of a block and by filter.

    Args:
        weight: (filters, channels, copies).
        lanes: channels in each block of the input.
        parts: of a block.
        block: channels of one.
        offsets: vectors from a channel's first copy to what each weight multiplies.
        channel: vectors from one channel's copies to the next one's.
    """
    places = [(index, lane) for index, count in enumerate(lanes) for lane in range(count)]
    blocks, lane = np.array(places, np.int64).T
    part = ((lane + 1) * parts - 1) // block
    lane -= block * part // parts  # from the first of its part on
    part += blocks * parts
    filters = -(-len(weight) // block) * block
    rows, channels, copies = np.nonzero(weight)
    order = np.lexsort((copies, channels, rows, part[channels]))
    rows, channels, copies = rows[order], channels[order], copies[order]
    counts = np.bincount(part[channels] * filters + rows, minlength=len(lanes) * parts * filters)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    entries = (lane[channels] * channel + offsets[copies]).astype(np.uint16)
    return {
        "starts": starts,
        "entries": np.pad(entries, (0, len(entries) % 2)).view(np.int16),
        "weights": np.ascontiguousarray(weight[rows, channels, copies]),
    }
