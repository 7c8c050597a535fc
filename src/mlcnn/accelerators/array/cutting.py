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

from mlcnn.accelerators.array.tiling import Choices, Place, Spots, Tilings
from mlcnn.accelerators.array.work import Work

__all__ = ["tilings"]

# Parts into which channels are cut. More give the same shapes after rounding, or tiles too small.
_PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512)
_CHUNKS = (1, 2, 3, 4, 6, 8, 16, 32, 64, 128, 256)
# Output channels are also cut at whole multiples of the smallest usual array, input channels only
# at whole sets, and longer chunks at whole beats of wide and of narrow words.
_FEW_OUTPUTS, _ARRAY, _SET, _BEATS = 4, 32, 8, (16, 64)


def _halves(size: int) -> tuple[int, ...]:
    parts = [1 << power for power in range(size.bit_length() + 1)]
    return tuple(dict.fromkeys(-(-size // part) for part in parts))


def _input_tiles(channels: int, whole: bool) -> tuple[int, ...]:
    """Balanced cuts of the input channels, rounded up to whole sets and beats."""
    cuts = [-(-channels // part) for part in _CHUNKS if part <= channels]
    if whole:
        cuts = [
            -(-cut // multiple) * multiple
            for cut in cuts
            for multiple in ([by for by in _BEATS if by <= cut] or [_SET])
        ]
    return tuple(dict.fromkeys(min(cut, channels) for cut in cuts))


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
    found: list[Place] = []
    for images in _halves(batch):
        groups = -(-batch // images)
        found.append(Place(images, *whole, 1, groups, batch - (groups - 1) * images))
    for height in rows.sizes():
        # A position of blocks takes many accumulators: only narrow tiles have many rows there.
        narrow = height <= _FEW_OUTPUTS or work.execution.block > 1
        for width in columns.sizes() if narrow else columns.sizes()[:1]:
            if (height, width) != (rows.outputs, columns.outputs):
                cut = rows.tiles(height), columns.tiles(width)
                found.append(Place(1, *cut, batch, cut[0].tiles, 1))
    return found


def tilings(work: Work) -> Tilings:
    """All tilings of a layer in one execution."""
    return _tilings(replace(work, scaled=False))


@lru_cache(maxsize=512)
def _tilings(work: Work) -> Tilings:
    layer = work.layer
    filters, channels = layer.K // layer.G, layer.C // layer.G
    places = _places(work)
    outputs = _output_tiles(filters)
    inputs = _input_tiles(channels, whole=work.execution.in_sets)
    grid = np.indices((len(places), len(outputs), len(inputs), 2, 2)).reshape(5, -1)
    # With one chunk of input channels, keeping it and loading it once are the same.
    grid = grid[:, (grid[4] == 1) | (np.array(inputs)[grid[2]] < channels)]
    n, m = np.array(outputs)[grid[1]], np.array(inputs)[grid[2]]
    output_tiles, chunks = -(-filters // n), -(-channels // m)
    tile = grid[0] * len(outputs) + grid[1]
    return Tilings(
        choices=Choices(tuple(places), outputs, inputs, grid),
        spots=_spots(places),
        place=grid[0],
        output=grid[1],
        cuts=np.array(outputs),
        output_channels=n,
        last_outputs=filters - (output_tiles - 1) * n,
        input_channels=m,
        last_channels=channels - (chunks - 1) * m,
        output_tiles=output_tiles,
        input_chunks=chunks,
        weights_outer=grid[3],
        kept=grid[4],
        starts=np.searchsorted(tile, np.arange(len(places) * len(outputs) + 1)),
    )


def _spots(places: Sequence[Place]) -> Spots:
    """The places as arrays."""
    classes = [_classes(place) for place in places]
    # in the order of ``Spots``
    by_class = np.array(classes, np.int64).transpose(2, 0, 1)
    single = np.array(
        [
            (
                place.images * place.rows.stored * place.columns.stored,
                place.columns.whole.extent,
                place.tiles,
                _images(place) * place.rows.all_inputs * place.columns.all_inputs,
            )
            for place in places
        ],
        np.int64,
    )
    return Spots(*by_class, *single.T)


def _images(place: Place) -> int:
    """All images."""
    if place.rows.tiles * place.columns.tiles > 1:
        return place.repeats
    return place.repeats * ((place.down - 1) * place.images + place.last_images)


def _classes(place: Place) -> list[tuple[int, ...]]:
    """The numbers of each of the four classes of tiles."""
    rows, columns = place.rows, place.columns
    down = (
        (place.images, rows.outputs, rows.whole),
        (place.last_images, rows.last_outputs, rows.last),
    )
    along = (columns.outputs, columns.whole), (columns.last_outputs, columns.last)
    smaller = place.ragged
    many = (place.down - smaller[0], int(smaller[0]))
    beside = (columns.tiles - smaller[1], int(smaller[1]))
    return [
        (
            place.repeats * many[r] * beside[c],
            images * height.positions,
            width.positions,
            images * high * wide,
            images * height.extent * width.extent,
            images * height.stored * width.stored,
        )
        for r, (images, high, height) in enumerate(down)
        for c, (wide, width) in enumerate(along)
    ]
