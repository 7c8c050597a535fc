"""Every tiling <Tm, Tn, Tr, Tc> (and images) that the search looks at, as arrays.

The loop nest, outermost first: group, outer tile, inner tile, chunk of input channels. Outer and
inner are the output channels and the positions, in either order. A chunk of the outer operand may
be kept over all inner tiles; a chunk of the inner operand is loaded at each step. The set depends
on the layer alone, never on the machine: so a better machine has every choice of a worse one.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from mlcnn.accelerators.array.axis import AxisTiles
from mlcnn.accelerators.array.tiling import Choices, Floats, Place, Tiles, Tilings
from mlcnn.accelerators.array.work import Work

__all__ = ["tilings"]

# Parts into which channels are cut. More give the same shapes after rounding, or tiles too small.
_PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512)
_CHUNKS = (1, 2, 3, 4, 6, 8, 16, 32, 64, 128, 256)
# Output channels are also cut at whole multiples of the smallest usual array.
_FEW_OUTPUTS, _ONE_ROUND, _ARRAY = 4, 9, 32


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


def _places(work: Work) -> list[Place]:
    """Whole maps of one or more images, or parts of one image."""
    rows, columns, batch = work.rows, work.columns, work.layer.N
    whole = rows.tiles(rows.outputs), columns.tiles(columns.outputs)
    found = [Place(n, *whole, -(-batch // n)) for n in _halves(batch)]
    for height in rows.sizes():
        # A position of blocks takes many accumulators: only narrow tiles have many rows there.
        narrow = height <= _FEW_OUTPUTS or work.execution.block > 1
        for width in columns.sizes() if narrow else columns.sizes()[:1]:
            if (height, width) != (rows.outputs, columns.outputs):
                cut = rows.tiles(height), columns.tiles(width)
                found.append(Place(1, *cut, batch * cut[0].tiles * cut[1].tiles))
    return found


def _box_additions(rows: AxisTiles, columns: AxisTiles) -> int:
    """Down the columns first, then along the rows of what came out."""
    return rows.additions * columns.inputs + rows.stored * columns.additions


def tilings(work: Work) -> Tilings:
    """All tilings of a layer in one execution."""
    return _tilings(replace(work, scaled=False))


@lru_cache(maxsize=512)
def _tilings(work: Work) -> Tilings:
    layer = work.layer
    filters, channels = layer.K // layer.G, layer.C // layer.G
    places = _places(work)
    outputs = _output_tiles(filters)
    inputs = _input_tiles(channels, _ONE_ROUND if work.taps == 1 else 1)
    grid = np.indices((len(places), len(outputs), len(inputs), 2, 2)).reshape(5, -1)
    # With one chunk of input channels, keeping it and loading it once are the same.
    grid = grid[:, (grid[4] == 1) | (_floats(inputs)[grid[2]] < channels)]
    open_sums = work.execution.open_sums(work.rows)
    table = _floats([_numbers(place, layer.N, open_sums) for place in places])
    tiles, all_loaded, row_sums, *sizes = table[grid[0]].T
    n, m = _floats(outputs)[grid[1]], _floats(inputs)[grid[2]]
    weights_outer, kept = (row.astype(np.float64) for row in grid[3:])
    output_tiles, chunks = np.ceil(filters / n), np.ceil(channels / m)
    return Tilings(
        Choices(tuple(places), outputs, inputs, grid),
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


def _numbers(place: Place, batch: int, open_sums: int) -> tuple[int, ...]:
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
