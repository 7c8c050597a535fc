"""One axis (height or width) of a layer, cut into tiles of outputs.

Positions are counted as sets, tile by tile, so that strides, dilations, padding, windows that
overlap or leave gaps, and tiles at the border are exact. What passes the input unit is counted with
its padding: so it depends on the size of a tile alone, not on where it lies.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

from mlcnn.workload import ConvLayer

__all__ = ["AxisTiles", "Cut", "Loops", "Span", "Tile", "TiledAxis", "axis_of"]

Tile = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Span:
    """What a tile of so many outputs takes along an axis, wherever it lies.

    Attributes:
        positions: that the slices work on (Winograd: transform tiles; else final outputs).
        stored: words that the input unit makes of the inputs.
        sums: of each input that passes the input unit, padding among them, in order: additions to
            sums that it is not the first of, and sums that it completes.
    """

    positions: int
    stored: int
    sums: tuple[tuple[int, int], ...]

    @property
    def extent(self) -> int:
        """Inputs that pass the input unit, padding among them."""
        return len(self.sums)


@runtime_checkable
class Cut(Protocol):
    """What a tile of an axis holds, in one way of running a layer."""

    def tile(self, axis: "TiledAxis", outputs: range) -> Tile:
        """One tile: convolved, inputs, stored, additions; see ``AxisTiles``."""
        ...

    def span(self, axis: "TiledAxis", outputs: int) -> Span:
        """A tile of so many outputs, with its padding."""
        ...


@dataclass(frozen=True, slots=True)
class AxisTiles:
    """What the tiles of one axis hold. All are as large as the first, but for the last.

    Attributes:
        tiles: number of tiles.
        outputs: final outputs of a tile.
        last_outputs: of the last one.
        whole: a tile with its padding.
        last: the last one.
        convolved: outputs of the convolution in the largest tile (before the pool).
        all_convolved: the same over all tiles.
        inputs: valid inputs in the largest tile.
        all_inputs: the same over all tiles; tiles that share inputs count them each.
        stored: words that the input unit makes of them, in the largest tile.
        all_stored: the same over all tiles.
        additions: additions that form box sums along this axis of valid inputs, in the largest
            tile.
        all_additions: the same over all tiles.
    """

    tiles: int
    outputs: int
    last_outputs: int
    whole: Span
    last: Span
    convolved: int
    all_convolved: int
    inputs: int
    all_inputs: int
    stored: int
    all_stored: int
    additions: int
    all_additions: int

    @property
    def all_positions(self) -> int:
        """Positions that the slices work on, over all tiles."""
        return (self.tiles - 1) * self.whole.positions + self.last.positions


@dataclass(frozen=True, slots=True)
class Loops:
    """What the two axes and the loops of a tiling come to.

    Attributes:
        rows: of the height.
        columns: of the width.
        places: tiles of positions, images included.
        output_tiles: tiles of output channels in a group.
        input_reloads: how often each input comes in.
        weight_reloads: how often each weight comes in.
        rounds: sets of weights of all input channels of a group, one after the other; on average
            over the filters.
        turns: groups of output channels that take turns on the slices, over all tiles of a group.
    """

    rows: AxisTiles
    columns: AxisTiles
    places: int
    output_tiles: int
    input_reloads: int
    weight_reloads: int
    rounds: float
    turns: int


@dataclass(frozen=True, slots=True)
class TiledAxis:
    """Geometry of one axis.

    Attributes:
        size: valid inputs.
        kernel: taps.
        stride: of the convolution.
        dilation: of the convolution.
        before: zeros in front of the input.
        convolved: outputs of the convolution.
        outputs: outputs behind the pool, if there is one.
        window: pool window (1: none).
        pool_stride: of the pool.
        pool_before: zeros in front of the pool's input.
        cut: what a tile of it holds, in the way in which the layer runs.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    convolved: int
    outputs: int
    window: int
    pool_stride: int
    pool_before: int
    cut: Cut

    def convolution_outputs(self, outputs: range) -> set[int]:
        """Outputs of the convolution that a range of final outputs is made of."""
        return {one for one in self.under(outputs) if 0 <= one < self.convolved}

    def under(self, outputs: range) -> set[int]:
        """The same with those that are padding of the pool."""
        firsts = (output * self.pool_stride - self.pool_before for output in outputs)
        return {first + offset for first in firsts for offset in range(self.window)}

    def taps(self, convolved: Iterable[int]) -> set[int]:
        """Inputs of outputs of the convolution; some may be padding."""
        return {
            output * self.stride - self.before + tap * self.dilation
            for output in convolved
            for tap in range(self.kernel)
        }

    def box_starts(self, outputs: range) -> set[int]:
        """First input of each box sum that a range of pooled outputs needs; may be padding."""
        step = self.stride * self.pool_stride
        lead = self.stride * self.pool_before + self.before
        return {
            o * step - lead + tap * self.dilation for o in outputs for tap in range(self.kernel)
        }

    def box(self, start: int) -> range:
        """Inputs of one box sum; some may be padding."""
        return range(start, start + self.window * self.stride, self.stride)

    def valid(self, positions: Iterable[int]) -> set[int]:
        """Those inputs that are not padding."""
        return {position for position in positions if 0 <= position < self.size}

    def box_inputs(self, start: int) -> set[int]:
        """Valid inputs of one box sum."""
        return self.valid(self.box(start))

    def plain_inputs(self, convolved: Iterable[int]) -> set[int]:
        """Valid inputs of outputs of the convolution."""
        return self.valid(self.taps(convolved))

    def tiles(self, size: int) -> AxisTiles:
        """Cut the axis into tiles of ``size`` final outputs."""
        return _tiles(self, size)

    def sizes(self) -> tuple[int, ...]:
        """Sizes of balanced cuts: whole, halves, quarters, ... down to one output."""
        parts = [1]
        while parts[-1] < self.outputs:
            parts.append(parts[-1] * 2)
        return tuple(dict.fromkeys(-(-self.outputs // part) for part in parts))


@lru_cache(maxsize=65536)
def _tiles(axis: TiledAxis, size: int) -> AxisTiles:
    starts = range(0, axis.outputs, size)
    ranges = [range(start, min(start + size, axis.outputs)) for start in starts]
    tiles = [axis.cut.tile(axis, one) for one in ranges]
    pairs = [value for column in zip(*tiles, strict=True) for value in (max(column), sum(column))]
    first, last = len(ranges[0]), len(ranges[-1])
    whole, smaller = axis.cut.span(axis, first), axis.cut.span(axis, last)
    return AxisTiles(len(tiles), first, last, whole, smaller, *pairs)


def axis_of(layer: ConvLayer, index: int, cut: Cut) -> TiledAxis:
    """Axis ``index`` (0 height, 1 width) of ``layer``, cut as ``cut`` says."""
    pool = layer.pool
    return TiledAxis(
        size=(layer.H, layer.W)[index],
        kernel=(layer.R, layer.S)[index],
        stride=layer.strides[index],
        dilation=layer.dilations[index],
        before=layer.pads[index],
        convolved=(layer.P, layer.Q)[index],
        outputs=layer.pooled[index],
        window=1 if pool is None else pool.kernel[index],
        pool_stride=1 if pool is None else pool.strides[index],
        pool_before=0 if pool is None else pool.pads[index],
        cut=cut,
    )
