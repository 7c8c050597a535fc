"""Ways to cut a layer into tiles, one by one and many as arrays."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mlcnn.accelerators.array.axis import AxisTiles

__all__ = ["Amounts", "Choices", "Indices", "Place", "Spots", "Tiling", "Tilings"]

Amounts = np.ndarray[tuple[int, ...], np.dtype[Any]]
"""Numbers, whole or not."""
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
    """Tiles of positions, in the order in which they come: repeats, rows, columns.

    All are alike, but for the last row and column of them: a tile is of the class 2 r + c, with r
    where it lies in the last row and that is smaller, c so for the column.

    Attributes:
        images: of a tile.
        rows: how the height is cut.
        columns: how the width is cut.
        repeats: images one after the other, where a tile has part of one.
        down: rows of tiles in each; groups of images, where a tile has whole ones.
        last_images: of the last of these.
    """

    images: int
    rows: AxisTiles
    columns: AxisTiles
    repeats: int
    down: int
    last_images: int

    @property
    def tiles(self) -> int:
        """All of them."""
        return self.repeats * self.down * self.columns.tiles

    @property
    def ragged(self) -> tuple[bool, bool]:
        """Whether the last row, and the last column, are smaller."""
        down = self.rows.last_outputs, self.last_images
        whole = self.rows.outputs, self.images
        return down != whole, self.columns.last_outputs != self.columns.outputs


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
class Spots:
    """Places as arrays; of shape (places, 4), by class, where nothing else is said.

    Attributes:
        counts: tiles of the class.
        lines: rows of positions times images.
        line: positions in a row.
        outputs: final outputs, in a channel.
        passing: inputs that pass the input unit for a channel, padding among them.
        made: words of a channel that the input unit makes of these.
        stored: those that take room, shape (places,): of the largest tile.
        columns: inputs of a row that pass the input unit, shape (places,).
        tiles: all tiles, shape (places,).
        loaded: valid inputs of a channel over all tiles, shape (places,).
    """

    counts: Indices
    lines: Indices
    line: Indices
    outputs: Indices
    passing: Indices
    made: Indices
    stored: Indices
    columns: Indices
    tiles: Indices
    loaded: Indices


@dataclass(frozen=True, slots=True, eq=False)
class Tilings:
    """Tilings of one layer as arrays, one entry each.

    Attributes:
        choices: the tilings themselves.
        spots: their tiles of positions.
        place: index into ``spots``.
        output: index of the cut of the output channels.
        cuts: Tn of each of these.
        output_channels: Tn.
        last_outputs: output channels of the last tile.
        input_channels: Tm.
        last_channels: input channels of the last chunk.
        output_tiles: tiles of output channels in a group.
        input_chunks: chunks of input channels in a group.
        weights_outer: 1 where output channels are the outer loop.
        kept: 1 where an outer chunk is loaded once.
        starts: where the tilings of each tile of outputs (place, then cut) begin, and their end.
    """

    choices: Choices
    spots: Spots
    place: Indices
    output: Indices
    cuts: Indices
    output_channels: Indices
    last_outputs: Indices
    input_channels: Indices
    last_channels: Indices
    output_tiles: Indices
    input_chunks: Indices
    weights_outer: Indices
    kept: Indices
    starts: Indices

    def take(self, some: Indices) -> "Tilings":
        """Some of the tilings, in the given order; what is not by tiling stays."""
        kept = {"choices", "spots", "cuts", "starts"}
        names = [f.name for f in fields(self) if f.name not in kept]
        return replace(self, **{name: getattr(self, name)[some] for name in names})
