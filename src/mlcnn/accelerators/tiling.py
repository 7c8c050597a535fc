"""Every tiling <Tm, Tn, Tr, Tc> (and images) that the search looks at, as arrays.

The loop nest, outermost first: group, outer tile, inner tile, chunk of input channels. Outer and
inner are the output channels and the positions, in either order. A chunk of the outer operand may
be kept over all inner tiles; a chunk of the inner operand is loaded at each step. The set depends
on the layer alone, never on the machine: so a better machine has every choice of a worse one.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mlcnn.accelerators.axis import AxisTiles
from mlcnn.accelerators.work import Work

__all__ = ["Floats", "Tiling", "Tilings", "tilings"]

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

# Parts into which channels are cut. More give the same shapes after rounding, or tiles too small.
_PARTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)
_FEW_OUTPUTS, _ONE_ROUND = 4, 9


@dataclass(frozen=True, slots=True)
class Tiling:
    """One tiling.

    Attributes:
        images: images of a tile.
        rows: output rows of a tile (Tr), behind the pool.
        columns: output columns of a tile (Tc), behind the pool.
        output_channels: Tn, of one group.
        input_channels: Tm, of one group.
        weights_outer: whether output channels are the outer loop and positions the inner.
        keep: whether all chunks of the outer operand stay while the inner loop runs.
    """

    images: int
    rows: int
    columns: int
    output_channels: int
    input_channels: int
    weights_outer: bool
    keep: bool


@dataclass(frozen=True, slots=True)
class Tilings:
    """Tilings of one layer as arrays, one entry each; sizes are those of the largest tile.

    Attributes:
        choices: the tilings themselves.
        output_channels: Tn.
        input_channels: Tm.
        output_tiles: tiles of output channels in a group.
        input_chunks: chunks of input channels in a group.
        lines: rows of positions times images in a tile.
        line: positions in a row.
        convolved: outputs of the convolution in a tile and channel.
        outputs: final outputs in a tile and channel.
        loaded: inputs loaded for a tile and channel.
        stored: words stored of them.
        additions: additions of box sums in a tile and channel.
        outer: iterations of the outer loop, groups included.
        inner: iterations of the inner loop.
        weights_outer: 1 where output channels are the outer loop.
        kept: 1 where an outer chunk is loaded once.
        places: all tiles of positions of the layer, images included.
    """

    choices: tuple[Tiling, ...]
    output_channels: Floats
    input_channels: Floats
    output_tiles: Floats
    input_chunks: Floats
    lines: Floats
    line: Floats
    convolved: Floats
    outputs: Floats
    loaded: Floats
    stored: Floats
    additions: Floats
    outer: Floats
    inner: Floats
    weights_outer: Floats
    kept: Floats
    places: Floats


@dataclass(frozen=True, slots=True)
class _Place:
    """A tile of positions."""

    images: int
    rows: AxisTiles
    columns: AxisTiles
    tiles: int


def _halves(size: int) -> tuple[int, ...]:
    parts = [1 << power for power in range(size.bit_length() + 1)]
    return tuple(dict.fromkeys(-(-size // part) for part in parts))


def _channel_tiles(channels: int, multiple: int) -> tuple[int, ...]:
    """Balanced cuts of ``channels``, rounded up to whole passes."""
    cuts = [-(-channels // part) for part in _PARTS if part <= channels]
    return tuple(dict.fromkeys(min(-(-cut // multiple) * multiple, channels) for cut in cuts))


def _places(work: Work) -> list[_Place]:
    """Whole maps of one or more images, or parts of one image."""
    rows, columns, batch = work.rows, work.columns, work.layer.N
    whole = rows.tiles(rows.outputs), columns.tiles(columns.outputs)
    found = [_Place(n, *whole, -(-batch // n)) for n in _halves(batch)]
    for height in rows.sizes():
        narrow = height <= _FEW_OUTPUTS
        for width in columns.sizes() if narrow else columns.sizes()[:1]:
            if (height, width) != (rows.outputs, columns.outputs):
                cut = rows.tiles(height), columns.tiles(width)
                found.append(_Place(1, *cut, batch * cut[0].tiles * cut[1].tiles))
    return found


def _box_additions(rows: AxisTiles, columns: AxisTiles) -> int:
    """Down the columns first, then along the rows of what came out."""
    return rows.additions * columns.inputs + rows.stored * columns.additions


@lru_cache(maxsize=512)
def tilings(work: Work) -> Tilings:
    """All tilings of a layer in one execution."""
    layer = work.layer
    outputs = _channel_tiles(layer.K // layer.G, 1)
    inputs = _channel_tiles(layer.C // layer.G, _ONE_ROUND if work.taps == 1 else 1)
    table = [
        (place, n, m, weights_outer, keep)
        for place in _places(work)
        for n in outputs
        for m in inputs
        for weights_outer in (False, True)
        for keep in ((True,) if m == layer.C // layer.G else (False, True))
    ]
    columns = [_numbers(work, *row) for row in table]
    choices = tuple(
        Tiling(place.images, place.rows.outputs, place.columns.outputs, n, m, outer, keep)
        for place, n, m, outer, keep in table
    )
    return Tilings(choices, *np.array(columns, dtype=np.float64).T)


def _numbers(
    work: Work, place: _Place, n: int, m: int, weights_outer: bool, keep: bool
) -> tuple[float, ...]:
    layer, rows, columns = work.layer, place.rows, place.columns
    output_tiles = math.ceil(layer.K // layer.G / n)
    outer, inner = (output_tiles, place.tiles) if weights_outer else (place.tiles, output_tiles)
    area = rows.inputs * columns.inputs
    return (
        n,
        m,
        output_tiles,
        math.ceil(layer.C // layer.G / m),
        place.images * rows.positions,
        columns.positions,
        place.images * rows.convolved * columns.convolved,
        place.images * rows.outputs * columns.outputs,
        place.images * area,
        place.images * rows.stored * columns.stored,
        place.images * _box_additions(rows, columns),
        outer * layer.G,
        inner,
        weights_outer,
        keep,
        place.tiles,
    )
