"""Every tiling <Tm, Tn, Tr, Tc> (and images) that the search looks at, as arrays.

The loop nest, outermost first: group, outer tile, inner tile, chunk of input channels. Outer and
inner are the output channels and the positions, in either order. A chunk of the outer operand may
be kept over all inner tiles; a chunk of the inner operand is loaded at each step. The set depends
on the layer alone, never on the machine: so a better machine has every choice of a worse one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from mlcnn.accelerators.axis import AxisTiles, Execution
from mlcnn.accelerators.work import Work

__all__ = ["Floats", "Indices", "Tiles", "Tiling", "Tilings", "tilings"]

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Indices = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

# Parts into which channels are cut. More give the same shapes after rounding, or tiles too small.
_PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512)
_CHUNKS = (1, 2, 3, 4, 6, 8, 16, 32, 64, 128, 256)
# Output channels are also cut at whole multiples of the smallest usual array.
_FEW_OUTPUTS, _ONE_ROUND, _ARRAY = 4, 9, 32


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
    grid: Indices

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
class Tiles:
    """Tiles of outputs as arrays: positions and output channels, whatever the input channels.

    Attributes:
        output_channels: Tn.
        lines: rows of positions times images.
        line: positions in a row.
        convolved: outputs of the convolution, in a channel.
        outputs: final outputs, in a channel.
    """

    output_channels: Floats
    lines: Floats
    line: Floats
    convolved: Floats
    outputs: Floats


@dataclass(frozen=True, slots=True)
class Tilings:
    """Tilings of one layer as arrays, one entry each; sizes are those of the largest tile.

    Attributes:
        choices: the tilings themselves.
        tiles: their different tiles of outputs.
        tile: index into ``tiles``.
        output_channels: Tn.
        input_channels: Tm.
        output_tiles: tiles of output channels in a group.
        input_chunks: chunks of input channels in a group.
        last_channels: input channels of the last chunk.
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
        all_loaded: inputs of a channel over all places.
        row_sums: box sums of a channel that are begun and not complete at a time.
    """

    choices: _Choices
    tiles: Tiles
    tile: Indices
    output_channels: Floats
    input_channels: Floats
    output_tiles: Floats
    input_chunks: Floats
    last_channels: Floats
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
    all_loaded: Floats
    row_sums: Floats

    def take(self, some: Indices) -> "Tilings":
        """Some of the tilings, in the given order; ``choices`` and ``tiles`` stay."""
        names = [f.name for f in fields(self) if f.name not in {"choices", "tiles"}]
        return replace(self, **{name: getattr(self, name)[some] for name in names})


def _halves(size: int) -> tuple[int, ...]:
    parts = [1 << power for power in range(size.bit_length() + 1)]
    return tuple(dict.fromkeys(-(-size // part) for part in parts))


def _input_tiles(channels: int, multiple: int) -> tuple[int, ...]:
    """Balanced cuts of the input channels, rounded up to whole passes."""
    cuts = [-(-channels // part) for part in _CHUNKS if part <= channels]
    return tuple(dict.fromkeys(min(-(-cut // multiple) * multiple, channels) for cut in cuts))


def _output_tiles(channels: int) -> tuple[int, ...]:
    """Balanced cuts of the output channels, also at whole arrays."""
    cuts = [-(-channels // part) for part in _PARTS if part <= channels]
    groups = channels // _ARRAY
    cuts += [_ARRAY * -(-groups // part) for part in _PARTS if part <= groups]
    return tuple(dict.fromkeys(cuts))


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
    outputs = _output_tiles(filters)
    inputs = _input_tiles(channels, _ONE_ROUND if work.taps == 1 else 1)
    grid = np.indices((len(places), len(outputs), len(inputs), 2, 2)).reshape(5, -1)
    # With one chunk of input channels, keeping it and loading it once are the same.
    grid = grid[:, (grid[4] == 1) | (_floats(inputs)[grid[2]] < channels)]
    open_sums = work.rows.open_sums if work.execution is Execution.FUSED else 0
    table = _floats([_numbers(place, layer.N, open_sums) for place in places])
    tiles, all_loaded, row_sums, *sizes = table[grid[0]].T
    n, m = _floats(outputs)[grid[1]], _floats(inputs)[grid[2]]
    weights_outer, kept = (row.astype(np.float64) for row in grid[3:])
    output_tiles, chunks = np.ceil(filters / n), np.ceil(channels / m)
    return Tilings(
        _Choices(tuple(places), outputs, inputs, grid),
        _tiles(table, _floats(outputs)),
        grid[0] * len(outputs) + grid[1],
        n,
        m,
        output_tiles,
        chunks,
        channels - (chunks - 1) * m,
        *sizes,
        outer=np.where(weights_outer > 0, output_tiles, tiles) * layer.G,
        inner=np.where(weights_outer > 0, tiles, output_tiles),
        weights_outer=weights_outer,
        kept=kept,
        places=tiles,
        all_loaded=all_loaded,
        row_sums=row_sums,
    )


def _floats(values: Sequence[object]) -> Floats:
    return np.array(values, dtype=np.float64)


def _tiles(table: Floats, outputs: Floats) -> Tiles:
    """Every place with every cut of the output channels, in this order."""
    lines, line, convolved, finals = np.repeat(table[:, 3:7], len(outputs), axis=0).T
    return Tiles(np.tile(outputs, len(table)), lines, line, convolved, finals)


def _numbers(place: _Place, batch: int, open_sums: int) -> tuple[int, ...]:
    """Tiles, inputs of all of them, sums begun; then the sizes in the order of ``Tilings``."""
    rows, columns = place.rows, place.columns
    return (
        place.tiles,
        batch * rows.all_inputs * columns.all_inputs,
        open_sums * columns.inputs,
        place.images * rows.positions,
        columns.positions,
        place.images * rows.convolved * columns.convolved,
        place.images * rows.outputs * columns.outputs,
        place.images * rows.inputs * columns.inputs,
        place.images * rows.stored * columns.stored,
        place.images * _box_additions(rows, columns),
    )
