"""Ways to cut a layer into tiles, one by one and many as arrays."""

from dataclasses import dataclass, fields, replace

import numpy as np

from mlcnn.accelerators.array.axis import AxisTiles

__all__ = ["Choices", "Floats", "Indices", "Place", "Tiles", "Tiling", "Tilings"]

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Indices = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


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

    def to_json(self) -> dict[str, int]:
        """The sizes by name."""
        return {
            "images": self.images,
            "rows": self.rows,
            "columns": self.columns,
            "output_channels": self.output_channels,
            "input_channels": self.input_channels,
        }


@dataclass(frozen=True, slots=True)
class Place:
    """A tile of positions."""

    images: int
    rows: AxisTiles
    columns: AxisTiles
    tiles: int


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """Tilings by index, made when they are asked for."""

    places: tuple[Place, ...]
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

    choices: Choices
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
