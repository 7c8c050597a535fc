"""Every tiling <Tm, Tn, Tr, Tc> (and images) that the search looks at, as arrays.

The loop nest, outermost first: group, outer tile, inner tile, chunk of input channels. Outer and
inner are the output channels and the positions, in either order. A chunk of the outer operand may
be kept over all inner tiles; a chunk of the inner operand is loaded at each step. The set depends
on the layer alone, never on the machine: so a better machine has every choice of a worse one.
"""

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
class _Place:
    """A tile of positions."""

    images: int
    rows: AxisTiles
    columns: AxisTiles
    tiles: int


@dataclass(frozen=True, slots=True, eq=False)
class _Choices:
    """Tilings by index, made when they are asked for."""

    places: tuple[_Place, ...]
    outputs: tuple[int, ...]
    inputs: tuple[int, ...]
    grid: np.ndarray[tuple[int, ...], np.dtype[np.int64]]

    def __len__(self) -> int:
        return self.grid.shape[1]

    def __getitem__(self, index: int) -> Tiling:
        place, n, m, outer, keep = (int(value) for value in self.grid[:, index])
        found = self.places[place]
        return Tiling(
            found.images,
            found.rows.outputs,
            found.columns.outputs,
            self.outputs[n],
            self.inputs[m],
            bool(outer),
            bool(keep),
        )


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

    choices: _Choices
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
    filters, channels = layer.K // layer.G, layer.C // layer.G
    places = _places(work)
    outputs = _channel_tiles(filters, 1)
    inputs = _channel_tiles(channels, _ONE_ROUND if work.taps == 1 else 1)
    grid = np.indices((len(places), len(outputs), len(inputs), 2, 2)).reshape(5, -1)
    # With one chunk of input channels, keeping it and loading it once are the same.
    grid = grid[:, (grid[4] == 1) | (np.array(inputs)[grid[2]] < channels)]
    place = np.array([_numbers(found) for found in places], dtype=np.float64)[grid[0]].T
    n, m = np.array(outputs, dtype=np.float64)[grid[1]], np.array(inputs, dtype=np.float64)[grid[2]]
    weights_outer, kept = grid[3].astype(np.float64), grid[4].astype(np.float64)
    tiles, *sizes = place
    output_tiles = np.ceil(filters / n)
    return Tilings(
        _Choices(tuple(places), outputs, inputs, grid),
        n,
        m,
        output_tiles,
        np.ceil(channels / m),
        *sizes,
        outer=np.where(weights_outer > 0, output_tiles, tiles) * layer.G,
        inner=np.where(weights_outer > 0, tiles, output_tiles),
        weights_outer=weights_outer,
        kept=kept,
        places=tiles,
    )


def _numbers(place: _Place) -> tuple[int, ...]:
    """Tiles; then the sizes in the order of ``Tilings``."""
    rows, columns = place.rows, place.columns
    return (
        place.tiles,
        place.images * rows.positions,
        columns.positions,
        place.images * rows.convolved * columns.convolved,
        place.images * rows.outputs * columns.outputs,
        place.images * rows.inputs * columns.inputs,
        place.images * rows.stored * columns.stored,
        place.images * _box_additions(rows, columns),
    )
