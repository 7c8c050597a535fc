"""A lower bound of the cycles of a tiling, in few operations.

It rules out most tilings, so that the exact search looks at few; where compute hides everything
else it is exact.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.cycles import NEVER, held_bytes, leave_time, rounds_of, split_slices
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.tiling import Floats, Indices, Tilings
from mlcnn.accelerators.array.work import Work

__all__ = ["Bounds", "Needs", "needs"]


# A reciprocal is rounded; so much less keeps the bound below.
_BELOW = 1 - 1e-12


@dataclass(frozen=True, slots=True)
class Needs:
    """What the tilings of a layer need whatever the machine; one entry each.

    Attributes:
        dram: DRAM bytes, edge tiles exact.
        held: bytes of the buffer.
        row: bytes of the row buffer.
        first: DRAM bytes of the first load.
        box_additions: additions of the input unit, all tiles as large as the largest.
        tile_bytes: DRAM bytes of a finished tile; one entry for each tile of outputs.
    """

    dram: Floats
    held: Floats
    row: Floats
    first: Floats
    box_additions: Floats
    tile_bytes: Floats


def needs(work: Work) -> Needs:
    """The needs of all tilings of a layer."""
    return _needs(replace(work, scaled=False))


@lru_cache(maxsize=512)
def _needs(work: Work) -> Needs:
    t, layer = tilings(work), work.layer
    kept, outer = t.kept > 0, t.weights_outer > 0
    input_reloads = np.where(kept & ~outer, 1, t.output_tiles)
    inputs = t.all_loaded * layer.C * input_reloads
    weights = layer.weights * np.where(kept & outer, 1, t.places)
    outputs = layer.N * layer.K * math.prod(layer.pooled)
    chunk = t.output_channels * layer.kernel_area * work.weight_bits + t.loaded * work.loaded_bits
    bits = inputs * work.loaded_bits + weights * work.weight_bits + outputs * work.output_bits
    return Needs(
        dram=bits / 8,
        held=held_bytes(work, t),
        row=t.row_sums * work.row_bits / 8,
        first=chunk * t.input_channels / 8,
        box_additions=t.places * input_reloads * layer.C * t.additions,
        tile_bytes=t.tiles.outputs * t.tiles.output_channels * work.output_bits / 8,
    )


class Bounds:
    """Lower bounds of the cycles of all tilings of a layer on several machines.

    All steps compute, behind the first load and before the last store; and DRAM and the input unit
    have all that the layer needs to do. First come bounds of whole tiles of outputs, over all ways
    to cut the input channels and to order the loops; then those of the tilings of one tile.
    """

    def __init__(self, work: Work, p: Parameters) -> None:
        """Bound the tiles.

        Args:
            work: the layer.
            p: the machines, shape (machines, 1).
        """
        t, self._needs, self._p = tilings(work), needs(work), p
        tile_bytes = self._needs.tile_bytes
        self._round = split_slices(work, t.tiles, p).round
        store = np.ceil(tile_bytes / p.dram_bytes_per_cycle)
        store = np.maximum(store, work.execution.returning_cycles(t.tiles, p))
        self._store = np.maximum(leave_time(work, t.tiles, p), store)
        self._rounds = _all_rounds(work, t, _alike(p))
        self._per_byte = _BELOW / p.dram_bytes_per_cycle
        self._adds = bool(self._needs.box_additions.any())
        self._starts = np.searchsorted(t.tile, np.arange(len(tile_bytes) + 1))

    def of_tiles(self) -> Floats:
        """Bounds of the tiles, shape (machines, tiles); infinite where none fits."""

        def least(values: Floats) -> Floats:
            return np.minimum.reduceat(values, self._starts[:-1], axis=-1)

        fixed, p = self._needs, self._p
        bound = self._round * least(self._rounds) + self._store
        bound += least(fixed.first) * self._per_byte
        np.maximum(bound, least(fixed.dram) * self._per_byte, out=bound)
        if self._adds:
            np.maximum(bound, least(fixed.box_additions) * _BELOW / p.input_adders, out=bound)
        no_room = least(fixed.held) > p.buffer_bytes
        bound[no_room | (least(fixed.row) > p.row_buffer_bytes) | (bound >= NEVER)] = np.inf
        return bound

    def first(self, tile: int) -> int:
        """Index of the first tiling of a tile."""
        return int(self._starts[tile])

    def of_tilings(self, machines: Indices, tile: int) -> Floats:
        """Bounds of the tilings of one tile, shape (machines, tilings of the tile).

        Args:
            machines: rows of the parameters.
            tile: index of the tile.
        """
        some = slice(self._starts[tile], self._starts[tile + 1])
        fixed, p = self._needs, self._p
        rounds = self._rounds if len(self._rounds) == 1 else self._rounds[machines]
        per_byte = self._per_byte[machines]
        bound = self._round[machines, tile, None] * rounds[:, some]
        bound += self._store[machines, tile, None]
        bound += fixed.first[some] * per_byte
        np.maximum(bound, fixed.dram[some] * per_byte, out=bound)
        if self._adds:
            boxes = fixed.box_additions[some] * _BELOW / p.input_adders[machines]
            np.maximum(bound, boxes, out=bound)
        no_room = fixed.held[some] > p.buffer_bytes[machines]
        no_room |= fixed.row[some] > p.row_buffer_bytes[machines]
        bound[no_room | (bound >= NEVER)] = np.inf
        return bound


def _all_rounds(work: Work, t: Tilings, p: Parameters) -> Floats:
    """Sets of weights of the whole layer; shape (machines or 1, tilings)."""
    whole = (t.input_chunks - 1) * rounds_of(work, t.input_channels, p)
    return (whole + rounds_of(work, t.last_channels, p)) * (t.outer * t.inner)


def _alike(p: Parameters) -> Parameters:
    """One row where all machines pass weights alike."""
    multipliers, wide_bits = _one_row(p.multipliers), _one_row(p.wide_bits)
    return replace(p, multipliers=multipliers, wide_bits=wide_bits)


def _one_row(values: Floats) -> Floats:
    return values[:1] if np.all(values == values[0]) else values
